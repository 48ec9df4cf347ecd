"""The transport that stations and monitors use: paho-mqtt in a thread of its own, bridged to anyio in batches.

paho's thread puts what arrives into deques and wakes the event loop once per batch. It never reconnects by itself,
and it acknowledges nothing by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_sdk.base.errors import TransportError
from edge_sdk.mqtt.credentials import Credentials
from edge_sdk.mqtt.paho_client import (
    SEND_WINDOW,
    Client,
    Session,
    connect,
    failure,
    make_client,
    publish_properties,
    remedy,
    say_goodbye,
)
from edge_sdk.mqtt.transport import BrokerAddress, Message

if TYPE_CHECKING:
    from typing_extensions import Self

_QOS_0_LIMIT = 10_000


class PahoTransport:
    """One connection to a broker, on paho-mqtt.

    Args:
        address: The broker, and who we are there.
        client_id: Name of the session; two connections of one name throw each other out.
        will: What the broker publishes when we vanish.
        keepalive_s: A silent connection is given up after one and a half times this, on both sides.
        clean_start: Forget what an earlier session of this name left.
        session_expiry_s: How long the broker keeps our subscriptions and messages after the connection ends.
        receive_window: Messages that the broker may send ahead of our acknowledgements, 1 to 65535.
        connect_timeout_s: Limit of each stage of connecting.
        aliases: Send each topic's name once, and a number from then on: fewer bytes, more work. MQTT 5 alone.
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
        aliases: bool = False,
    ) -> None:
        self.address = address
        self.packet_limit_bytes: int | None = None
        self.window = SEND_WINDOW
        self.session_present = False
        self.dropped = 0
        self._session = Session(
            client_id, will, keepalive_s, clean_start, session_expiry_s, receive_window, connect_timeout_s
        )
        self._credentials = Credentials(address)
        self._wants_aliases = aliases
        self._aliases: dict[str, int] = {}
        self._alias_limit = 0
        self._client: Client | None = None
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
            with anyio.fail_after(3 * self._session.connect_timeout_s):
                self._client = client = await anyio.to_thread.run_sync(self._open, abandon_on_cancel=True)
                client.loop_start()
                with anyio.fail_after(self._session.connect_timeout_s):
                    await self._connected.wait()
        except TimeoutError:
            await self._close(with_will=False)
            raise failure(
                self.address, "MQTT", f"no CONNACK within {self._session.connect_timeout_s:g} s. Is it an MQTT broker?"
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
        wanted: Any = [(name, SubscribeOptions(qos=1) if self.address.version == "5" else 1) for name in filters]
        code, mid = client.subscribe(wanted)
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise failure(self.address, "SUBSCRIBE", paho.error_string(code))
        batch = self._subscribing[mid] = _Batch(1)
        await batch.done.wait()
        self._raise_for(batch, f"subscribe to {', '.join(filters)}")

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish all and wait until the broker has acknowledged each (QoS 1); several calls may be under way."""
        batch = _Batch(sum(message.qos > 0 for message in messages))
        waiting = deque(messages)
        while waiting:
            while len(self._unacked) >= 2 * SEND_WINDOW:  # paho holds the excess; keep it short
                self._alive()
                await self._room.wait()
            self._send_some(waiting, batch)
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
        with client.burst():
            for message in messages:
                # Those of an earlier connection are that broker session's to send again.
                if isinstance(message.token, tuple) and message.token[0] is client and message.qos:
                    client.ack(message.token[1], message.qos)

    def is_outdated(self) -> bool:
        """Whether a certificate or password file has changed since."""
        return self._credentials.have_changed()

    # ---- connecting

    def _open(self) -> Client:
        """In a worker thread."""
        client = make_client(self.address, self._session, self._credentials)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_arrived = self._on_arrived
        client.on_publish = self._on_publish
        client.on_acknowledged = self._on_acknowledged
        client.on_subscribe = self._on_subscribe
        connect(client, self.address, self._session)
        return client

    async def _close(self, *, with_will: bool) -> None:
        client, self._client = self._client, None
        self._fall("The connection was closed.")
        if client is None:
            return
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(say_goodbye, client, with_will)

    # ---- in paho's thread

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if not reason.is_failure and isinstance(client, Client):
            self.window = min(SEND_WINDOW, getattr(properties, "ReceiveMaximum", SEND_WINDOW))
            client.allow_in_flight(self.window)
            self.packet_limit_bytes = getattr(properties, "MaximumPacketSize", None)
            self._alias_limit = getattr(properties, "TopicAliasMaximum", 0) if self._wants_aliases else 0
        self._wake("connect", reason, flags.session_present)

    def _on_disconnect(self, client: paho.Client, userdata: Any, flags: Any, reason: ReasonCode, props: Any) -> None:
        self._wake("disconnect", reason, None)

    def _on_arrived(self, topic: bytes, payload: bytes, qos: int, retain: bool, mid: int) -> None:
        if qos == 0 and len(self._happened) + len(self._inbox) > _QOS_0_LIMIT:
            self.dropped += 1
            return
        name = topic.decode("utf-8", "replace")
        self._wake("message", Message(name, payload, qos, retain, token=(self._client, mid)), None)

    def _on_publish(self, client: paho.Client, userdata: Any, mid: int, reason: ReasonCode, props: Any) -> None:
        self._wake("publish", mid, str(reason) if reason.is_failure else None)

    def _on_acknowledged(self, mid: int) -> None:
        self._wake("publish", mid, None)

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
                    self._fall(str(failure(self.address, "MQTT", f"it refused us: {first}. {remedy(str(first))}")))
                if self._connected is not None:
                    self._connected.set()
            else:
                self._fall(str(failure(self.address, "MQTT", f"the connection ended: {first}.")))
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

    def _alive(self) -> Client:
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

    def _send_some(self, waiting: deque[Message], batch: _Batch) -> None:
        """Publish what there is room for."""
        client = self._alive()
        with client.burst():
            while waiting and len(self._unacked) < 2 * SEND_WINDOW:
                message = waiting.popleft()
                topic, properties = self._addressed(message)
                info = client.publish(topic, message.payload, message.qos, message.retain, properties)
                if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                    raise failure(self.address, "PUBLISH", paho.error_string(info.rc))
                if message.qos:
                    self._unacked[info.mid] = batch

    def _addressed(self, message: Message) -> tuple[str, Any]:
        """Topic and properties as they go out; a topic that has an alias is not named again."""
        if self.address.version != "5":
            return message.topic, None
        alias = self._aliases.get(message.topic)
        if alias is not None:
            return "", publish_properties(message, alias)
        if len(self._aliases) < self._alias_limit:
            alias = self._aliases[message.topic] = len(self._aliases) + 1
        return message.topic, publish_properties(message, alias)


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
