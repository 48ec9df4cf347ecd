"""The web server: uvicorn as one named task among the monitor's, on a socket that is bound first."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from edge_sdk.base.errors import ConfigError
from edge_sdk.monitor.web.guard import App


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the program's."""
        yield


@dataclass(slots=True)
class WebServer:
    """Serves an application until told to stop.

    Attributes:
        app: What is served.
        host: Address to bind.
        port: 0 = a free one.
        certificate_file: Serve by TLS with this certificate.
        key_file: Its private key.
    """

    app: App
    host: str
    port: int
    certificate_file: Path | None = None
    key_file: Path | None = None
    name: str = "web"
    _socket: socket.socket = field(init=False)
    _server: _Server = field(init=False)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((self.host, self.port))
        except OSError as error:
            self._socket.close()
            raise ConfigError(
                f"The web page cannot listen on {self.host}:{self.port}: {error.strerror}. Give another --listen."
            ) from error
        self._socket.listen(128)
        config = uvicorn.Config(
            self.app,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=2,
            ws="none",
            server_header=False,
            proxy_headers=False,
            ssl_certfile=self.certificate_file,
            ssl_keyfile=self.key_file,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"The page's TLS files cannot be used: {error}.") from error
        self._server = _Server(config)

    @property
    def url(self) -> str:
        """Where it really serves."""
        scheme = "https" if self.certificate_file else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self._socket.getsockname()[1]}"

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._server.should_exit

    async def run(self) -> None:
        """Serve; the socket listens already, so a client that comes early waits."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """Answer what is under way, then let `run` return."""
        self._server.should_exit = True
