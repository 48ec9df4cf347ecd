"""Sinks: where alerts are sent. Each is a plug-in of the group ``edge_sdk.alert_sinks``."""

from __future__ import annotations

import smtplib
import urllib.error
import urllib.request
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Protocol

import anyio
import msgspec

from edge_sdk.base.errors import ConfigError, TransportError
from edge_sdk.monitor.alerts.book import AlertNotice
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress, Message

TIMEOUT_S = 10.0


class Sink(Protocol):
    """Tells somebody. Blocking; the caller brings a thread.

    A sink is a msgspec struct: its fields are what the configuration may say.
    """

    def send(self, notice: AlertNotice) -> None:
        """Send one notice.

        Raises:
            TransportError: It could not be sent; it is tried again later.
        """


class Webhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST the notice as JSON.

    Attributes:
        url: ``http://`` or ``https://``.
        token_file: File with a token for ``Authorization: Bearer``.
    """

    url: str
    token_file: Path | None = None

    def __post_init__(self) -> None:
        _check_url(self.url)

    def send(self, notice: AlertNotice) -> None:
        """See `Sink.send`."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": notice.id}
        if self.token_file is not None:
            headers["Authorization"] = f"Bearer {_secret(self.token_file)}"
        _post(self.url, msgspec.json.encode(notice), headers)


class Ntfy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST the text, as ntfy and its like take it.

    Attributes:
        url: Server and topic, ``https://ntfy.example/edge``.
        token_file: File with an access token.
    """

    url: str
    token_file: Path | None = None

    def __post_init__(self) -> None:
        _check_url(self.url)

    def send(self, notice: AlertNotice) -> None:
        """See `Sink.send`."""
        headers = {
            "Title": notice.title,
            "Priority": {"error": "high", "warning": "default"}.get(notice.severity, "low"),
        }
        if self.token_file is not None:
            headers["Authorization"] = f"Bearer {_secret(self.token_file)}"
        _post(self.url, notice.text.encode(), headers)


class Email(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Send a mail by SMTP.

    Attributes:
        host: The mail server.
        port: Its port.
        sender: The address it comes from.
        to: The addresses it goes to.
        starttls: Whether to encrypt; refused servers are an error.
        username: None = no login.
        password_file: File that holds the password.
    """

    host: str
    sender: str
    to: tuple[str, ...]
    port: int = 587
    starttls: bool = True
    username: str | None = None
    password_file: Path | None = None

    def send(self, notice: AlertNotice) -> None:
        """See `Sink.send`."""
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = notice.title, self.sender, ", ".join(self.to)
        mail["Message-ID"] = f"<{notice.id}@{self.sender.rpartition('@')[2]}>"
        mail.set_content(notice.text)
        try:
            with smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S) as server:
                if self.starttls:
                    server.starttls()
                if self.username is not None and self.password_file is not None:
                    server.login(self.username, _secret(self.password_file))
                server.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            raise TransportError(f"Mail server {self.host}:{self.port}: {error}.") from error


class Mqtt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Publish the notice as JSON under ``<topic>/<rule>``.

    Attributes:
        url: The broker, ``mqtt://HOST[:PORT]`` or ``mqtts://…``.
        topic: Where; not below ``edge/v1``, which belongs to stations.
        username: None = anonymous.
        password_file: File that holds the password, one line.
    """

    url: str
    topic: str = "edge-alerts"
    username: str | None = None
    password_file: Path | None = None

    def send(self, notice: AlertNotice) -> None:
        """See `Sink.send`."""
        address = BrokerAddress.parse(self.url, username=self.username, password_file=self.password_file)
        message = Message(f"{self.topic}/{notice.rule}", msgspec.json.encode(notice))

        async def publish() -> None:
            with anyio.fail_after(TIMEOUT_S):
                async with PahoTransport(address, client_id=f"edge-alerts-{notice.id}"[:60]) as transport:
                    await transport.publish([message])

        try:
            anyio.run(publish)
        except TimeoutError as error:
            raise TransportError(f"{self.url} did not answer within {TIMEOUT_S:g} s.") from error


def open_sink(kind: str, options: dict[str, Any], *, directory: Path) -> Sink:
    """The sink of that kind with these options.

    Raises:
        PluginError: There is no such kind.
        ConfigError: It does not take these options.
    """
    from edge_sdk.base import plugins
    from edge_sdk.base.yaml import convert

    made: Sink = convert(
        options, plugins.load("edge_sdk.alert_sinks", kind), source=f"sink {kind}", directory=directory
    )
    return made


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"url is {url!r}; wanted is http:// or https://")


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file {path} cannot be read: {error}.") from error


def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - checked when configured
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            answer.read(1024)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise TransportError(f"{url}: {error}.") from error
