"""The transport that stations and monitors use: paho-mqtt on the event loop.

Connecting happens in a worker thread; from then on the event loop reads, writes and pings. paho never reconnects by
itself, and it acknowledges nothing by itself.
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
from edge_sdk.mqtt.outgoing import Batch
from edge_sdk.mqtt.packet import publish_packet, publish_properties
from edge_sdk.mqtt.paho_client import (
    SEND_WINDOW,
    Client,
    Session,
    connect,
    failure,
    make_client,
    refusal,
    remedy,
    say_goodbye,
)
from edge_sdk.mqtt.transport import BrokerAddress, Message

if TYPE_CHECKING:
    from typing_extensions import Self

_QOS_0_LIMIT = 10_000
_WAITING_LIMIT = 2 * SEND_WINDOW
_TICK_S = 1.0
_GOODBYE_S = 2.0
_HURRY_S = 0.002  # by then a broker has answered all that it has; TCP by itself would take 0.04 s


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
        self._lost: str | None = None
        self._connected, self._closed, self._room = anyio.Event(), anyio.Event(), anyio.Event()
        self._room_is_awaited = False
        self._inbox: deque[Message] = deque()
        self._arrived = anyio.Event()
        self._subscribing: dict[int, Batch] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._hurries = False

    async def __aenter__(self) -> Self:
        """Connect and wait for CONNACK. Raises TransportError, with the stage that failed."""
        try:
            with anyio.fail_after(3 * self._session.connect_timeout_s):
                self._client = await anyio.to_thread.run_sync(self._open, abandon_on_cancel=True)
                self._attend(self._client)
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
        batch = self._subscribing[mid] = Batch(1)
        await batch.done.wait()
        self._raise_for(batch, f"subscribe to {', '.join(filters)}")

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish all and wait until the broker has acknowledged each (QoS 1); several calls may be under way."""
        batch = Batch(sum(message.qos > 0 for message in messages))
        at = 0
        while at < len(messages):
            room = await self._wait_for_room()
            client = self._alive()
            with client.burst():
                client.outgoing.add(messages[at : at + room], batch, self._packed)
            at += room
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

    # ---- the connection's life

    def _open(self) -> Client:
        """In a worker thread."""
        client = make_client(self.address, self._session, self._credentials)
        connect(client, self.address, self._session)
        if self._lost is not None:  # nobody has waited for it
            say_goodbye(client, with_will=False)
            client.cut()
        return client

    def _attend(self, client: Client) -> None:
        """From here on everything happens on the event loop."""
        loop, sock = asyncio.get_running_loop(), client.socket()
        if sock is None:
            raise failure(self.address, "TCP", "the connection ended at once. Is it an MQTT broker?")

        def wrote(*_: object) -> None:
            loop.remove_writer(sock)

        def closes(*_: object) -> None:
            loop.remove_reader(sock)
            loop.remove_writer(sock)
            self._closed.set()

        def read() -> None:
            client.loop_read()
            if client.has_more_to_read:
                loop.call_soon(read)
            elif len(client.outgoing) and not self._hurries:
                self._hurries = True
                loop.call_later(_HURRY_S, hurry)

        def hurry() -> None:
            self._hurries = False
            if len(client.outgoing):
                client.acknowledge_now()

        def tick() -> None:
            if client.socket() is not None:
                client.loop_misc()
                self._ticking = loop.call_later(_TICK_S, tick)

        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_arrived = self._on_arrived
        client.on_acknowledged = self._on_acknowledged
        client.on_subscribe = self._on_subscribe
        client.on_socket_register_write = lambda *_: loop.add_writer(sock, client.loop_write)
        client.on_socket_unregister_write = wrote
        client.on_socket_close = closes
        loop.add_reader(sock, read)
        if client.want_write():
            loop.add_writer(sock, client.loop_write)
        tick()

    async def _close(self, *, with_will: bool) -> None:
        self._fall("The connection was closed.")
        client, self._client = self._client, None
        if client is None:
            return
        if client.socket() is not None:
            say_goodbye(client, with_will)
            with anyio.CancelScope(shield=True), anyio.move_on_after(_GOODBYE_S):
                await self._closed.wait()
            client.cut()  # where the network does not take our goodbye
        if self._ticking is not None:
            self._ticking.cancel()

    # ---- what paho tells

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            self._fall(str(failure(self.address, "MQTT", f"it refused us: {reason}. {remedy(str(reason))}")))
        elif isinstance(client, Client):
            self.window = min(SEND_WINDOW, getattr(properties, "ReceiveMaximum", SEND_WINDOW))
            client.outgoing.window = self.window
            self.packet_limit_bytes = getattr(properties, "MaximumPacketSize", None)
            self._alias_limit = getattr(properties, "TopicAliasMaximum", 0) if self._wants_aliases else 0
        self.session_present = bool(flags.session_present)
        self._connected.set()

    def _on_disconnect(self, client: paho.Client, userdata: Any, flags: Any, reason: ReasonCode, props: Any) -> None:
        self._fall(str(failure(self.address, "MQTT", f"the connection ended: {reason}.")))

    def _on_arrived(self, topic: bytes, payload: bytes, qos: int, retain: bool, mid: int) -> None:
        if qos == 0 and len(self._inbox) > _QOS_0_LIMIT:
            self.dropped += 1
            return
        name = topic.decode("utf-8", "replace")
        self._inbox.append(Message(name, payload, qos, retain, token=(self._client, mid)))
        self._arrived.set()

    def _on_acknowledged(self, finished: Sequence[Batch]) -> None:
        for batch in finished:
            batch.done.set()
        if self._room_is_awaited:
            self._room_is_awaited = False
            self._room.set()
            self._room = anyio.Event()

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, reasons: list[ReasonCode], props: Any
    ) -> None:
        if batch := self._subscribing.pop(mid, None):
            batch.left = 0
            batch.refused = next((reason.value for reason in reasons if reason.is_failure), None)
            batch.done.set()

    # ---- parts of these

    def _fall(self, why: str) -> None:
        """The connection is gone: everybody who waits learns it."""
        if self._lost is None:
            self._lost = why
        concerned = self._client.outgoing.abandon() if self._client is not None else set()
        for batch in {*concerned, *self._subscribing.values()}:
            batch.done.set()
        self._subscribing.clear()
        self._arrived.set()
        self._room.set()
        self._connected.set()

    def _alive(self) -> Client:
        if self._lost is not None:
            raise TransportError(self._lost)
        if self._client is None:
            raise TransportError(f"The connection to {self.address.host}:{self.address.port} is not open.")
        return self._client

    def _raise_for(self, batch: Batch, what: str) -> None:
        if batch.left:
            raise TransportError(self._lost or "The connection is gone.")
        if batch.refused is not None:
            raise TransportError(
                f"Broker {self.address.host}:{self.address.port} refused to {what}: {refusal(batch.refused)}."
                " Check what this user may do there."
            )

    async def _wait_for_room(self) -> int:
        """How many messages may be handed to the client, which keeps what the broker does not allow yet."""
        while (room := _WAITING_LIMIT - len(self._alive().outgoing)) <= 0:
            self._room_is_awaited = True
            await self._room.wait()
        return room

    def _packed(self, message: Message, number: int) -> bytes:
        """The packet as it goes out; a topic that has an alias is not named again."""
        topic = message.topic.encode()
        if self.address.version != "5":
            return publish_packet(message, topic, number, b"")
        if not self._alias_limit:
            return publish_packet(message, topic, number, publish_properties(message, None))
        alias = self._aliases.get(message.topic)
        if alias is not None:
            topic = b""
        elif len(self._aliases) < self._alias_limit:
            alias = self._aliases[message.topic] = len(self._aliases) + 1
        return publish_packet(message, topic, number, publish_properties(message, alias))
