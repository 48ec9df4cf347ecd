"""What a transport promises: one connection to one MQTT broker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit

from edge_sdk.base.errors import ConfigError

if TYPE_CHECKING:
    from typing_extensions import Self


MqttVersion = Literal["5", "3.1.1"]


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS settings; certificates are checked always.

    Attributes:
        ca_file: Whom to believe; None = the system's store.
        certificate_file: Our certificate, for mutual TLS.
        key_file: Its private key.
    """

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker is and who we are there.

    Attributes:
        host: Name or address.
        port: 1883, or 8883 with TLS.
        tls: None = plain TCP.
        username: None = anonymous.
        password_file: File that holds the password, one line.
        version: Of MQTT. With 3.1.1 there are no expiry, no content types, no aliases and no limits that the broker
            tells; what is promised of results holds all the same.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    tls: Tls | None = None
    username: str | None = None
    password_file: Path | None = None
    version: MqttVersion = "5"

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        tls: Tls | None = None,
        username: str | None = None,
        password_file: Path | None = None,
        version: MqttVersion = "5",
    ) -> BrokerAddress:
        """Read ``mqtt://host[:port]`` or ``mqtts://host[:port]``.

        Raises:
            ConfigError: It is no such URL, or holds a password, which belongs into a file.
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or port == -1 or parts.path not in {"", "/"}:
            raise ConfigError(f"Broker {url!r} is no broker URL; wanted is mqtt://HOST[:PORT] or mqtts://HOST[:PORT].")
        if parts.password:
            raise ConfigError("The broker URL holds a password. Put it into a file and name that as password_file.")
        secure = parts.scheme == "mqtts"
        return cls(
            host=parts.hostname,
            port=port or (8883 if secure else 1883),
            tls=(tls or Tls()) if secure else None,
            username=username or parts.username,
            password_file=password_file,
            version=version,
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT message.

    Attributes:
        topic: Where.
        payload: What.
        qos: 0 or 1.
        retain: To publish: keep it for later subscribers. Received: it was kept.
        expiry_s: To publish: how long the broker may keep it for those who are away; None = for ever.
        content_type: What the payload is, for readers that are not ours; None = not said.
        traceparent: To publish: W3C trace context, as a user property of MQTT 5; None = not said.
        token: The transport's own handle of a received message, for `ack`.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_s: int | None = None
    content_type: str | None = None
    traceparent: str | None = None
    token: object = field(default=None, compare=False)


class Transport(Protocol):
    """One MQTT connection, opened and closed by ``async with``; never reconnects by itself.

    Everything raises TransportError once the connection is gone.
    """

    @property
    def packet_limit_bytes(self) -> int | None:
        """Largest packet that the broker said it takes; None = it did not say."""

    @property
    def window(self) -> int:
        """Messages that may be under way at once; what is published beyond waits in the transport."""

    async def __aenter__(self) -> Self:
        """Connect and wait for CONNACK. Raises TransportError, with the stage that failed."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say DISCONNECT, so that the will is not sent, unless an error is passing; cancellation is none."""

    async def subscribe(self, *filters: str) -> None:
        """Subscribe at QoS 1 and wait for SUBACK. A filter that the broker refuses is a TransportError."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish all and wait until the broker has acknowledged each (QoS 1); several calls may be under way."""

    async def receive(self) -> Sequence[Message]:
        """Wait for messages; give all that are there, in order. At QoS 1 they are acknowledged by `ack` alone."""

    def ack(self, messages: Sequence[Message]) -> None:
        """Acknowledge received messages, in the order they came; the broker then forgets them."""

    def is_outdated(self) -> bool:
        """Whether it would be better to connect anew: a certificate or password file has changed since, or so."""
