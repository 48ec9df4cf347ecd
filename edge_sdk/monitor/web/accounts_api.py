"""Accounts: logging in and out, and who you are."""

from __future__ import annotations

import anyio
import anyio.to_thread
import msgspec
from fastapi import FastAPI, HTTPException, Request, Response

from edge_sdk.base.clock import Clock
from edge_sdk.monitor.accounts import ANYBODY, SESSION_NS, Account, Accounts
from edge_sdk.monitor.web.document import answers, body_of, json_of, read
from edge_sdk.monitor.web.guard import COOKIE, Attempts, session_token


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of ``/api/me``.

    Attributes:
        name: Who you are; empty where there are no accounts.
        role: ``viewer``, ``operator`` or ``admin``.
        login: Whether there is somebody to log out.
    """

    name: str
    role: str
    login: bool


class Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``/api/login`` takes."""

    name: str
    password: str


def add_accounts(app: FastAPI, accounts: Accounts, clock: Clock, *, is_secure: bool) -> None:
    """Add these paths."""
    attempts = Attempts()
    one_at_a_time = anyio.CapacityLimiter(1)  # a hash takes 19 MiB

    @app.get("/api/me", tags=["accounts"], responses=answers(Me))
    async def me(request: Request) -> Response:
        """Who you are and what you may do."""
        account: Account = request.state.account
        return json_of(Me(name=account.name, role=account.role.name.lower(), login=account is not ANYBODY))

    @app.post(
        "/api/login",
        tags=["accounts"],
        status_code=204,
        responses={401: {"description": "Wrong."}, 429: {"description": "Wait."}},
        openapi_extra=body_of(Credentials),
    )
    async def log_in(request: Request) -> Response:
        """Open a session: JSON ``{"name", "password"}``; the answer sets a cookie."""
        given = read(await request.body(), Credentials)
        if not attempts.allow(request.client.host if request.client else "", clock.monotonic_ns() / 1e9):
            raise HTTPException(429, "Too many attempts. Wait a minute.", headers={"Retry-After": "60"})
        token = await anyio.to_thread.run_sync(
            lambda: accounts.log_in(given.name, given.password, now_ns=clock.wall_ns()), limiter=one_at_a_time
        )
        if token is None:
            raise HTTPException(401, "No user of that name has that password.")
        response = Response(status_code=204)
        response.set_cookie(
            COOKIE, token, max_age=SESSION_NS // 10**9, httponly=True, samesite="strict", secure=is_secure
        )
        return response

    @app.post("/api/logout", tags=["accounts"], status_code=204)
    async def log_out(request: Request) -> Response:
        """End the session."""
        if token := session_token(request.headers.get("cookie", "")):
            await anyio.to_thread.run_sync(accounts.log_out, token)
        response = Response(status_code=204)
        response.delete_cookie(COOKIE)
        return response
