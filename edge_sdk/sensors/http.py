"""Values that a web server in the neighbourhood tells: a JSON document or a plain number, polled."""

from __future__ import annotations

import http.client
import math
import ssl
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, SensorError
from edge_sdk.sensors.pick import Pick
from edge_sdk.sensors.poll import Polled, PollOptions

_LARGEST_BYTES = 1_000_000
_CURES = {
    401: "Give username and password_file.",
    403: "This user may not read it.",
    404: "Check the path in the URL.",
    429: "Ask less often: lower rate_hz.",
}


class Http(Polled):
    """A document from a web server (Shelly, ESPHome, Tasmota, a gateway's REST API): values at paths of its JSON."""

    class Options(PollOptions, frozen=True, kw_only=True):
        """Where to ask, where the values are."""

        url: Annotated[str, Meta(description="http://HOST[:PORT]/PATH or https://…; without password.")]
        channels: Annotated[
            dict[str, str],
            Meta(
                min_length=1, description="Channel: path of its value, as StatusSNS.AM2301.Temperature; '' = all of it."
            ),
        ]
        rate_hz: Annotated[float, Meta(gt=0, le=100, description="Samples a second.")] = 0.1
        timeout_s: Annotated[float, Meta(gt=0, le=60, description="How long an answer may take.")] = 2.0
        username: Annotated[str | None, Meta(description="Who we are there; default: nobody.")] = None
        password_file: Annotated[Path | None, Meta(description="File with the password, one line.")] = None
        ca_file: Annotated[Path | None, Meta(description="Certificates to believe; default: the system's.")] = None

    def __init__(self, name: str, options: Options, *, clock: Clock) -> None:
        units = ("",) * len(options.channels)
        super().__init__(name, options, channels=tuple(options.channels), units=units, clock=clock)
        self._options = options
        self._address = _address(options)

    def open(self) -> _Client:
        """Read password and certificates. Raises SensorError."""
        return _Client(self._address, self._options, self.counters)


class _Address(msgspec.Struct, frozen=True):
    """A URL in parts."""

    secure: bool
    host: str
    port: int
    path: str


class _Client:
    """A connection that is kept open between the polls, and made anew when the server has closed it."""

    def __init__(self, address: _Address, options: Http.Options, counters: Counter[str]) -> None:
        self._address, self._counters = address, counters
        self._pick = Pick(options.channels, counters=counters)
        self._headers = {"Accept": "application/json, text/plain", "User-Agent": "edge-sdk"}
        if options.username is not None:
            password = options.password_file.read_text(encoding="utf-8").strip() if options.password_file else ""
            word = b64encode(f"{options.username}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {word}"
        if address.secure:
            context = ssl.create_default_context(cafile=options.ca_file)
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                address.host, address.port, timeout=options.timeout_s, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(address.host, address.port, timeout=options.timeout_s)

    def sample(self) -> Sequence[float] | None:
        """Ask once. Raises SensorError."""
        body = self._body()
        try:
            document = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            try:
                document = body.decode("utf-8")
            except UnicodeDecodeError:
                self._counters["messages.malformed"] += 1
                return None
        row = self._pick.row(document)
        return None if row is None or all(math.isnan(value) for value in row) else row

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def _body(self) -> bytes:
        was_open = self._connection.sock is not None
        try:
            return self._ask()
        except (http.client.HTTPException, OSError) as error:
            self._connection.close()
            if isinstance(error, SensorError):
                raise
            if was_open:  # the server may have closed what we kept open
                try:
                    return self._ask()
                except (http.client.HTTPException, OSError) as again:
                    self._connection.close()
                    if isinstance(again, SensorError):
                        raise
                    error = again
            words = str(error) or type(error).__name__
            raise SensorError(
                f"{self._address.host}:{self._address.port} does not answer: {words}. Is it on the network?"
            ) from error

    def _ask(self) -> bytes:
        self._connection.request("GET", self._address.path, headers=self._headers)
        with self._connection.getresponse() as answer:
            body = answer.read(_LARGEST_BYTES + 1)
            if answer.status != 200:
                cure = _CURES.get(answer.status, "")
                if answer.status in (301, 302, 303, 307, 308):
                    cure = f"It points to {answer.getheader('Location', 'somewhere else')}: write that URL."
                raise SensorError(f"{self._address.host}{self._address.path} answers {answer.status}. {cure}".strip())
            if len(body) > _LARGEST_BYTES:
                self._connection.close()
                raise SensorError(f"{self._address.host}{self._address.path} gives more than a megabyte.")
            return body


def _address(options: Http.Options) -> _Address:
    parts = urlsplit(options.url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise ConfigError(f"{options.url!r} is no URL to ask; wanted is http://HOST[:PORT]/PATH or https://….")
    if parts.username or parts.password:
        raise ConfigError("The URL holds a user or password. Give username, and the password in password_file.")
    if options.password_file is not None and options.username is None:
        raise ConfigError("password_file is given, and no username. Give both.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    secure = parts.scheme == "https"
    return _Address(secure, parts.hostname, port or (443 if secure else 80), path)
