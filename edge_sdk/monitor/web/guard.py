"""The guard before the page: host names, login, roles, forged requests, headers. Plain ASGI."""

from __future__ import annotations

import ipaddress
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from edge_sdk.base.clock import Clock
from edge_sdk.monitor.accounts import ANYBODY, Account, Accounts, Role
from edge_sdk.monitor.web.rate import RateLimit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "edge_session"
OPEN_PATHS = ("/login", "/api/login", "/healthz")
_SAFE = ("GET", "HEAD", "OPTIONS")
# Nothing from outside, nothing inline: what a quarantined payload holds can never run.
_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class Attempts:
    """A bound on login attempts: so many in a minute from one address, and from all together.

    Attributes:
        of_one: From one address.
        of_all: From all.
    """

    of_one: int = 10
    of_all: int = 60
    _times: deque[tuple[float, str]] = field(default_factory=deque)

    def allow(self, address: str, now_s: float) -> bool:
        """Count one attempt; False = too many."""
        while self._times and self._times[0][0] < now_s - 60.0:
            self._times.popleft()
        if len(self._times) >= self.of_all or sum(one == address for _, one in self._times) >= self.of_one:
            return False
        self._times.append((now_s, address))
        return True


class Guard:
    """Lets a request through to the application, with ``scope["state"]["account"]`` set, or answers itself.

    Without any account the page is open, which the program allows on loopback alone. Requests that change something
    must come from the page itself (same origin), or carry an API key.
    """

    def __init__(
        self, app: App, *, accounts: Accounts, clock: Clock, only_loopback: bool, requests_per_s: float = 0.0
    ) -> None:
        self._app = app
        self._rate = RateLimit(requests_per_s)
        self._accounts = accounts
        self._clock = clock
        self._only_loopback = only_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        verdict = self._judge(scope, headers)
        if isinstance(verdict, Account):
            scope.setdefault("state", {})["account"] = verdict

            async def add_headers(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    there = {name.lower() for name, _ in message.get("headers", ())}
                    message["headers"] = [
                        *message.get("headers", ()),
                        *(header for header in _HEADERS if header[0] not in there),
                    ]
                await send(message)

            await self._app(scope, receive, add_headers)
            return
        status, detail, extra = verdict
        body = json.dumps({"detail": detail}).encode()
        fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": [*fixed, *extra, *_HEADERS]})
        await send({"type": "http.response.body", "body": body})

    def _judge(self, scope: Scope, headers: dict[str, str]) -> Account | tuple[int, str, Iterable[tuple[bytes, bytes]]]:
        path, method = scope["path"], scope["method"]
        host = headers.get("host", "")
        if self._only_loopback and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return 421, f"This monitor serves this machine alone; {host[:80]!r} is another name.", ()
        account, by_key = self._who(headers)
        if method not in _SAFE and not by_key and not _is_same_origin(headers, host):
            return 403, "The request does not come from the monitor's own page. Scripts use an API key.", ()
        if path.startswith("/api/") and (wait_s := self._rate.wait_s(self._caller(scope, account), self._now_s())):
            seconds = str(max(1, round(wait_s))).encode()
            return 429, "Too many requests. Ask less often.", [(b"retry-after", seconds)]
        if path in OPEN_PATHS or path.startswith("/static/"):
            return account or Account("", Role.VIEWER)
        if account is None:
            if path.startswith("/api/") or method not in _SAFE:
                return 401, "Log in, or send an API key as 'Authorization: Bearer KEY'.", ()
            return 303, "Log in.", [(b"location", b"/login?next=" + quote(path).encode())]
        if method not in _SAFE and account.role < Role.OPERATOR and path != "/api/logout":
            return 403, "A viewer may look and not act. Ask an operator.", ()
        return account

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    def _caller(self, scope: Scope, account: Account | None) -> str:
        """Users and keys count for themselves, others by their address."""
        if account is not None and account.name:
            return f"account {account.name}"
        client = scope.get("client")
        return str(client[0]) if client else ""

    def _who(self, headers: dict[str, str]) -> tuple[Account | None, bool]:
        """The account, and whether an API key told it."""
        if not self._accounts.exist():
            return ANYBODY, False
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._accounts.of_key(key.strip()), True
        token = session_token(headers.get("cookie", ""))
        return (self._accounts.of_session(token, now_ns=self._clock.wall_ns()) if token else None), False


def session_token(cookies: str) -> str | None:
    """The session's token among the cookies."""
    try:
        morsel = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None


def _is_same_origin(headers: dict[str, str], host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == host
