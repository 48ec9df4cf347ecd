"""The transport that stations and monitors use: paho-mqtt in a thread of its own, bridged to anyio in batches.

paho's thread puts what arrives into deques and wakes the event loop once per batch. It never reconnects by itself,
and it acknowledges nothing by itself.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_sdk.base.errors import ConfigError, TransportError
from edge_sdk.mqtt.transport import BrokerAddress, Message

if TYPE_CHECKING:
    from typing_extensions import Self

SEND_WINDOW = 1000
"""Messages under way at most, unless the broker allows fewer: 2.4 times as fast as 20."""

_QOS_0_LIMIT = 10_000
_GOODBYE_S = 2.0
_DISCONNECT_WITH_WILL = 0x04


class PahoTransport:
    """One MQTT 5 connection to a broker, on paho-mqtt.

    Args:
        address: The broker, and who we are there.
        client_id: Name of the session; two connections of one name throw each other out.
        will: What the broker publishes when we vanish.
        keepalive_s: A silent connection is given up after one and a half times this, on both sides.
        clean_start: Forget what an earlier session of this name left.
        session_expiry_s: How long the broker keeps our subscriptions and messages after the connection ends.
        receive_window: Messages that the broker may send ahead of our acknowledgements, 1 to 65535.
        connect_timeout_s: Limit of each stage of connecting.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        client_id: str,
        will: Message | None = None,
        keepalive_s: int = 30,
        clean_start: bool = True,
        session_expiry_s: int = 0,
        receive_window: int = 1000,
        connect_timeout_s: float = 10.0,
    ) -> None:
        self.address = address
        self.packet_limit_bytes: int | None = None
        self.session_present = False
        self.dropped = 0
        self._client_id = client_id
        self._will = will
        self._keepalive_s = keepalive_s
        self._clean_start = clean_start
        self._session_expiry_s = session_expiry_s
        self._receive_window = receive_window
        self._connect_timeout_s = connect_timeout_s
        self._client: paho.Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost: str | None = None
        self._connected: anyio.Event | None = None
        # Filled by paho's thread, emptied by the event loop:
        self._happened: deque[tuple[str, Any, Any]] = deque()
        self._woken = False
        # Only the event loop touches these:
        self._inbox: deque[Message] = deque()
        self._arrived = anyio.Event()
        self._unacked: dict[int, _Batch] = {}
        self._subscribing: dict[int, _Batch] = {}
        self._room = anyio.Event()

    async def __aenter__(self) -> Self:
        """Connect and wait for CONNACK. Raises TransportError, with the stage that failed."""
        self._loop = asyncio.get_running_loop()
        self._connected = anyio.Event()
        try:
            with anyio.fail_after(3 * self._connect_timeout_s):
                self._client = client = await anyio.to_thread.run_sync(self._open, abandon_on_cancel=True)
                client.loop_start()
                with anyio.fail_after(self._connect_timeout_s):
                    await self._connected.wait()
        except TimeoutError:
            await self._close(with_will=False)
            raise self._failure(
                "MQTT", f"no CONNACK within {self._connect_timeout_s:g} s. Is it an MQTT broker?"
            ) from None
        except BaseException:
            await self._close(with_will=False)
            raise
        if self._lost is not None:
            await self._close(with_will=False)
            raise TransportError(self._lost)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say DISCONNECT, so that the will is not sent, unless an error is passing; cancellation is none."""
        await self._close(with_will=isinstance(error, Exception))

    async def subscribe(self, *filters: str) -> None:
        """Subscribe at QoS 1 and wait for SUBACK. A filter that the broker refuses is a TransportError."""
        client = self._alive()
        code, mid = client.subscribe([(name, SubscribeOptions(qos=1)) for name in filters])
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise self._failure("SUBSCRIBE", paho.error_string(code))
        batch = self._subscribing[mid] = _Batch(1)
        await batch.done.wait()
        self._raise_for(batch, f"subscribe to {', '.join(filters)}")

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish all and wait until the broker has acknowledged each (QoS 1); several calls may be under way."""
        batch = _Batch(sum(message.qos > 0 for message in messages))
        for message in messages:
            while message.qos and len(self._unacked) >= 2 * SEND_WINDOW:  # paho holds the excess; keep it short
                self._alive()
                await self._room.wait()
            client = self._alive()
            info = client.publish(message.topic, message.payload, qos=message.qos, retain=message.retain)
            if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                raise self._failure("PUBLISH", paho.error_string(info.rc))
            if message.qos:
                self._unacked[info.mid] = batch
        if batch.left:
            await batch.done.wait()
        self._raise_for(batch, f"publish to {messages[0].topic}" if messages else "publish")

    async def receive(self) -> Sequence[Message]:
        """Wait for messages; give all that are there, in order. At QoS 1 they are acknowledged by `ack` alone."""
        while not self._inbox:
            self._alive()
            await self._arrived.wait()
        messages = tuple(self._inbox)
        self._inbox.clear()
        self._arrived = anyio.Event()
        return messages

    def ack(self, messages: Sequence[Message]) -> None:
        """Acknowledge received messages, in the order they came; the broker then forgets them."""
        client = self._alive()
        for message in messages:
            # Those of an earlier connection are that broker session's to send again.
            if isinstance(message.token, tuple) and message.token[0] is client and message.qos:
                client.ack(message.token[1], message.qos)

    # ---- connecting, in a worker thread

    def _open(self) -> paho.Client:
        address = self.address
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = self._connect_timeout_s
        client.max_inflight_messages = SEND_WINDOW
        client.max_queued_messages = 0
        if address.username is not None:
            client.username_pw_set(address.username, self._password())
        if address.tls is not None:
            client.tls_set_context(self._tls_context())
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, self._will.qos, self._will.retain)
        client.on_socket_open = _no_delay
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._session_expiry_s
        properties.ReceiveMaximum = self._receive_window
        try:
            socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            client.connect(
                address.host, address.port, self._keepalive_s, clean_start=self._clean_start, properties=properties
            )
        except socket.gaierror as error:
            raise self._failure(
                "DNS", f"the name is not known ({error.strerror}). Check its spelling and the network."
            ) from error
        except ssl.SSLError as error:
            raise self._failure("TLS", f"{_tls_reason(error)}") from error
        except ConnectionRefusedError as error:
            raise self._failure("TCP", "nobody listens there. Is the broker running, and is the port right?") from error
        except TimeoutError as error:
            raise self._failure("TCP", "no answer in time. Check the address, the network and firewalls.") from error
        except OSError as error:
            raise self._failure("TCP", f"{error.strerror or error}. Check the address and the network.") from error
        return client

    def _password(self) -> str | None:
        path = self.address.password_file
        if path is None:
            return None
        try:
            return path.read_text(encoding="utf-8").splitlines()[0]
        except (OSError, UnicodeDecodeError, IndexError) as error:
            raise ConfigError(f"The password file {path} cannot be read: {error}. It holds one line.") from error

    def _tls_context(self) -> ssl.SSLContext:
        tls = self.address.tls
        assert tls is not None
        try:
            context = ssl.create_default_context(cafile=str(tls.ca_file) if tls.ca_file else None)
            if tls.certificate_file is not None:
                context.load_cert_chain(tls.certificate_file, tls.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"The TLS files {tls.ca_file}, {tls.certificate_file}, {tls.key_file} cannot be used: {error}."
            ) from error
        return context

    async def _close(self, *, with_will: bool) -> None:
        client, self._client = self._client, None
        self._fall("The connection was closed.")
        if client is None:
            return
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_say_goodbye, client, with_will)

    # ---- in paho's thread

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if not reason.is_failure:
            # A broker that is given more than it allows ends the connection. paho reads the limit from its own
            # setting alone, which it lets nobody change once connected.
            allowed = getattr(properties, "ReceiveMaximum", None)
            if allowed:
                client._max_inflight_messages = min(SEND_WINDOW, allowed)
            self.packet_limit_bytes = getattr(properties, "MaximumPacketSize", None)
        self._wake("connect", reason, flags.session_present)

    def _on_disconnect(self, client: paho.Client, userdata: Any, flags: Any, reason: ReasonCode, props: Any) -> None:
        self._wake("disconnect", reason, None)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        if message.qos == 0 and len(self._happened) + len(self._inbox) > _QOS_0_LIMIT:
            self.dropped += 1
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._wake(
            "message",
            Message(topic, bytes(message.payload), message.qos, bool(message.retain), (client, message.mid)),
            None,
        )

    def _on_publish(self, client: paho.Client, userdata: Any, mid: int, reason: ReasonCode, props: Any) -> None:
        self._wake("publish", mid, str(reason) if reason.is_failure else None)

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, reasons: list[ReasonCode], props: Any
    ) -> None:
        refused = next((str(reason) for reason in reasons if reason.is_failure), None)
        self._wake("subscribe", mid, refused)

    def _wake(self, what: str, first: Any, second: Any) -> None:
        self._happened.append((what, first, second))
        if not self._woken and self._loop is not None:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._settle)
            except RuntimeError:  # the event loop has ended: nobody is left to tell
                self._loop = None

    # ---- on the event loop

    def _settle(self) -> None:
        self._woken = False
        while self._happened:
            what, first, second = self._happened.popleft()
            if what == "message":
                self._inbox.append(first)
            elif what == "publish":
                if batch := self._unacked.pop(first, None):
                    batch.one_done(second)
            elif what == "subscribe":
                if batch := self._subscribing.pop(first, None):
                    batch.one_done(second)
            elif what == "connect":
                self.session_present = bool(second)
                if first.is_failure:
                    self._fall(str(self._failure("MQTT", f"it refused us: {first}. {_remedy(str(first))}")))
                if self._connected is not None:
                    self._connected.set()
            else:
                self._fall(str(self._failure("MQTT", f"the connection ended: {first}.")))
        if self._inbox:
            self._arrived.set()
        if len(self._unacked) < 2 * SEND_WINDOW:
            self._room.set()
            self._room = anyio.Event()

    def _fall(self, why: str) -> None:
        """The connection is gone: everybody who waits learns it."""
        if self._lost is None:
            self._lost = why
        for batch in {*self._unacked.values(), *self._subscribing.values()}:
            batch.done.set()
        self._unacked.clear()
        self._subscribing.clear()
        self._arrived.set()
        self._room.set()
        if self._connected is not None:
            self._connected.set()

    def _alive(self) -> paho.Client:
        if self._lost is not None:
            raise TransportError(self._lost)
        if self._client is None:
            raise TransportError(f"The connection to {self.address.host}:{self.address.port} is not open.")
        return self._client

    def _raise_for(self, batch: _Batch, what: str) -> None:
        if batch.left:
            raise TransportError(self._lost or "The connection is gone.")
        if batch.refused is not None:
            raise TransportError(
                f"Broker {self.address.host}:{self.address.port} refused to {what}: {batch.refused}."
                " Check what this user may do there."
            )

    def _failure(self, stage: str, why: str) -> TransportError:
        return TransportError(f"Broker {self.address.host}:{self.address.port}, {stage}: {why}")


class _Client(paho.Client):
    """paho's client, which forgets to close a socket whose TLS handshake fails: a station that retries would leak."""

    def _ssl_wrap_socket(self, tcp_sock: socket.socket) -> ssl.SSLSocket:
        assert self._ssl_context is not None
        wrapped = self._ssl_context.wrap_socket(tcp_sock, server_hostname=self._host, do_handshake_on_connect=False)
        try:
            wrapped.settimeout(self.connect_timeout)
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped


class _Batch:
    """Messages published together: how many the broker has yet to acknowledge."""

    __slots__ = ("done", "left", "refused")

    def __init__(self, left: int) -> None:
        self.left = left
        self.refused: str | None = None
        self.done = anyio.Event()

    def one_done(self, refused: str | None) -> None:
        self.left -= 1
        self.refused = self.refused or refused
        if not self.left:
            self.done.set()


def _no_delay(client: paho.Client, userdata: Any, sock: Any) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _say_goodbye(client: paho.Client, with_will: bool) -> None:
    reason = ReasonCode(PacketTypes.DISCONNECT, identifier=_DISCONNECT_WITH_WILL) if with_will else None
    client.disconnect(reason)
    thread = client._thread
    if thread is not None:
        thread.join(_GOODBYE_S)
        if thread.is_alive():  # the network does not take our goodbye
            sock = client.socket()
            if isinstance(sock, socket.socket):
                with suppress(OSError):  # it may just have gone by itself, which is what we want
                    sock.shutdown(socket.SHUT_RDWR)
            client.loop_stop()


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not believed ({error.verify_message}). Name the CA that signed it as ca_file,"
            " and call the broker by the name that is in its certificate."
        )
    return f"the handshake failed ({error.reason or error}). Is TLS spoken on that port, and with our certificate?"


def _remedy(reason: str) -> str:
    if reason in {"Not authorized", "Bad user name or password"}:
        return "Check username and password_file."
    if reason == "Client identifier not valid":
        return "Choose another client id."
    return "See the broker's log."
