"""The server: a few lines of HTTP on 127.0.0.1, for reading alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import anyio
import anyio.abc
import msgspec

from edge_sdk.base.errors import ConfigError
from edge_sdk.station.status.facts import Facts
from edge_sdk.station.status.metrics import CONTENT_TYPE, render

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_JSON = "application/json"
_HEAD_BYTES = 8192
_PATIENCE_S = 5.0
_CALLERS = 8
_NAMES = {"127.0.0.1", "localhost"}

Answer = tuple[HTTPStatus, str, bytes]


class StatusServer:
    """Answers ``GET /`` (JSON), ``/metrics`` (Prometheus) and ``/healthz`` (200, or 503 when nothing moves).

    Args:
        facts: Takes the facts, when somebody asks.
        port: Where to listen on 127.0.0.1; 0 = any free one.

    Attributes:
        name: Name of its task.
        port: Where it listens, once it does.
    """

    name = "status"

    def __init__(self, facts: Callable[[], Facts], *, port: int) -> None:
        self._facts, self.port = facts, port
        self._callers = anyio.CapacityLimiter(_CALLERS)

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled.

        Raises:
            ConfigError: Somebody else has the port.
        """
        try:
            listener = await anyio.create_tcp_listener(local_host=HOST, local_port=self.port)
        except OSError as error:
            raise ConfigError(
                f"status.port {self.port} cannot be listened on: {error.strerror}. Choose another one."
            ) from error
        async with listener:
            self.port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 (no Django)
            log.info("status endpoint listens", extra={"url": f"http://{HOST}:{self.port}"})
            task_status.started()
            await listener.serve(self._serve)

    async def _serve(self, caller: anyio.abc.SocketStream) -> None:
        async with caller, self._callers:
            try:
                with anyio.move_on_after(_PATIENCE_S):
                    answer = self._answer(await _head(caller))
                    await caller.send(_encode(*answer))
            except (anyio.BrokenResourceError, anyio.EndOfStream, OSError):
                log.debug("status caller went away")

    def _answer(self, head: list[str]) -> Answer:
        method, _, rest = (head[0] if head else "").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if not head or not rest.endswith((" HTTP/1.1", " HTTP/1.0")):
            return _refusal(HTTPStatus.BAD_REQUEST, "This is no HTTP.")
        if method != "GET":
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET: nothing can be changed here.")
        if _host(head) not in _NAMES:  # a web page elsewhere that points its own name at this machine
            return _refusal(HTTPStatus.FORBIDDEN, f"Ask for http://{HOST}:{self.port}.")
        if path not in {"/", "/metrics", "/healthz"}:
            return _refusal(HTTPStatus.NOT_FOUND, "There are /, /metrics and /healthz.")
        try:
            facts = self._facts()
        except Exception:
            log.exception("status cannot be told")  # and the station goes on
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "See the station's log.")
        if path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE, render(facts).encode()
        if path == "/healthz":
            status = HTTPStatus.OK if facts.is_working else HTTPStatus.SERVICE_UNAVAILABLE
            return status, _JSON, _json({"working": facts.is_working, "proven_age_s": round(facts.proven_age_s, 1)})
        return HTTPStatus.OK, _JSON, _json(summary(facts))


def summary(facts: Facts) -> dict[str, Any]:
    """What ``GET /`` answers."""
    return {
        "working": facts.is_working,
        "link": facts.link,
        "birth": facts.birth,
        "health": facts.health,
        "vitals": facts.vitals,
        "outbox": {"results": facts.outbox.rows, "bytes": facts.outbox.file_bytes, "quota": facts.outbox.quota_bytes},
    }


async def _head(caller: anyio.abc.SocketStream) -> list[str]:
    """The lines up to the empty one; none when they are too long."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _HEAD_BYTES:
        data += await caller.receive()
    head, end, _ = data.partition(b"\r\n\r\n")
    return head.decode("latin-1").split("\r\n") if end else []


def _host(head: list[str]) -> str:
    for line in head[1:]:
        name, _, value = line.partition(":")
        if name.strip().lower() == "host":
            return value.strip().rpartition(":")[0] or value.strip()
    return HOST  # HTTP/1.0 has none


def _json(data: object) -> bytes:
    return msgspec.json.encode(data) + b"\n"


def _refusal(status: HTTPStatus, why: str) -> Answer:
    return status, _JSON, _json({"error": why})


def _encode(status: HTTPStatus, kind: str, body: bytes) -> bytes:
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
