"""A broker in memory, and its transport: for tests and trials without a network; it promises what a real one does."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel

from edge_sdk.base.errors import TransportError
from edge_sdk.contract.topics import matches
from edge_sdk.mqtt.transport import Message

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass
class _Session:
    """What the broker keeps of one client id."""

    client_id: str
    filters: list[str] = field(default_factory=list)
    waiting: deque[Message] = field(default_factory=deque)
    unacked: dict[int, Message] = field(default_factory=dict)
    transport: MemoryTransport | None = None
    expires: bool = True


class MemoryBroker:
    """Topics, retained messages, wills, sessions, QoS 1 and shared subscriptions, within one process.

    Attributes:
        running: Whether it accepts connections; see `stop`.
    """

    def __init__(self) -> None:
        self.running = True
        self._sessions: dict[str, _Session] = {}
        self._retained: dict[str, Message] = {}
        self._turns: dict[str, itertools.count[int]] = {}
        self._tokens = itertools.count(1)

    def connect(
        self,
        *,
        client_id: str,
        will: Message | None = None,
        clean_start: bool = True,
        session_expiry_s: int = 0,
        receive_window: int = 1000,
    ) -> MemoryTransport:
        """A transport to this broker, not yet open. The arguments are those of `PahoTransport`."""
        return MemoryTransport(
            self,
            client_id=client_id,
            will=will,
            clean_start=clean_start,
            session_expiry_s=session_expiry_s,
            receive_window=receive_window,
        )

    def stop(self, *, forget: bool = False) -> None:
        """Break every connection, as a killed broker does; with `forget`, as one without persistence."""
        self.running = False
        for session in list(self._sessions.values()):
            if session.transport is not None:
                self._detach(session.transport, "the broker is gone", with_will=False)
        if forget:
            self._sessions.clear()
            self._retained.clear()

    def start(self) -> None:
        """Accept connections again."""
        self.running = True

    def cut(self, client_id: str) -> None:
        """Break one connection, as a bad network does: the will goes out."""
        session = self._sessions.get(client_id)
        if session is not None and session.transport is not None:
            self._detach(session.transport, "the network was cut", with_will=True)

    # ---- for its transports

    def _attach(self, transport: MemoryTransport) -> _Session:
        if not self.running:
            raise TransportError("Memory broker, TCP: nobody listens there. Call start().")
        old = self._sessions.get(transport.client_id)
        if old is not None and old.transport is not None:
            self._detach(old.transport, "another connection took the client id", with_will=True)
        old = self._sessions.get(transport.client_id)
        if old is None or transport.clean_start:
            old = self._sessions[transport.client_id] = _Session(transport.client_id)
        else:
            transport.session_present = True
        old.transport = transport
        old.expires = transport.session_expiry_s == 0
        old.waiting.extendleft(reversed(old.unacked.values()))
        old.unacked.clear()
        self._pump(old)
        return old

    def _detach(self, transport: MemoryTransport, why: str, *, with_will: bool) -> None:
        session = self._sessions.get(transport.client_id)
        transport._fall(f"Memory broker, MQTT: {why}.")
        if session is None or session.transport is not transport:
            return
        session.transport = None
        if session.expires:
            del self._sessions[transport.client_id]
        if with_will and transport.will is not None:
            self._publish(transport.will)

    def _subscribe(self, session: _Session, filters: Sequence[str]) -> None:
        for name in filters:
            if name not in session.filters:
                session.filters.append(name)
            if not name.startswith("$share/"):
                session.waiting.extend(
                    replace(message, retain=True) for topic, message in self._retained.items() if matches(name, topic)
                )
        self._pump(session)

    def _publish(self, message: Message) -> None:
        if message.retain:
            if message.payload:
                self._retained[message.topic] = message
            else:
                self._retained.pop(message.topic, None)
        passed_on = replace(message, retain=False)
        groups: dict[str, list[_Session]] = {}
        for session in self._sessions.values():
            for name in session.filters:
                if name.startswith("$share/"):
                    if matches(name.split("/", 2)[2], message.topic):
                        groups.setdefault(name, []).append(session)
                elif matches(name, message.topic):
                    session.waiting.append(passed_on)
                    self._pump(session)
                    break
        for name, members in groups.items():
            awake = [member for member in members if member.transport is not None] or members
            chosen = awake[next(self._turns.setdefault(name, itertools.count())) % len(awake)]
            chosen.waiting.append(passed_on)
            self._pump(chosen)

    def _pump(self, session: _Session) -> None:
        transport = session.transport
        if transport is None:
            return
        while session.waiting and (session.waiting[0].qos == 0 or len(session.unacked) < transport.receive_window):
            message = session.waiting.popleft()
            token = next(self._tokens)
            message = replace(message, token=token)
            if message.qos:
                session.unacked[token] = message
            transport._take(message)

    def _ack(self, session: _Session, messages: Sequence[Message]) -> None:
        for message in messages:
            if isinstance(message.token, int):
                session.unacked.pop(message.token, None)
        self._pump(session)


class MemoryTransport:
    """One connection to a `MemoryBroker`; made by its `connect`."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        client_id: str,
        will: Message | None,
        clean_start: bool,
        session_expiry_s: int,
        receive_window: int,
    ) -> None:
        self.packet_limit_bytes: int | None = None
        self.window = 100
        self.client_id = client_id
        self.will = will
        self.clean_start = clean_start
        self.session_expiry_s = session_expiry_s
        self.receive_window = receive_window
        self.session_present = False
        self._broker = broker
        self._session: _Session | None = None
        self._lost: str | None = None
        self._inbox: deque[Message] = deque()
        self._arrived = anyio.Event()

    async def __aenter__(self) -> Self:
        """Connect. Raises TransportError while the broker is stopped."""
        await anyio.lowlevel.checkpoint()
        self._session = self._broker._attach(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; the will is published when an error is passing."""
        self._broker._detach(self, "the connection was closed", with_will=isinstance(error, Exception))

    async def subscribe(self, *filters: str) -> None:
        """Subscribe, and get what is retained."""
        await anyio.lowlevel.checkpoint()
        self._broker._subscribe(self._alive(), filters)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish all."""
        for message in messages:
            self._alive()
            self._broker._publish(message)
        await anyio.lowlevel.checkpoint()
        self._alive()

    async def receive(self) -> Sequence[Message]:
        """Wait for messages; give all that are there."""
        await anyio.lowlevel.checkpoint()
        while not self._inbox:
            self._alive()
            await self._arrived.wait()
        messages = tuple(self._inbox)
        self._inbox.clear()
        self._arrived = anyio.Event()
        return messages

    def ack(self, messages: Sequence[Message]) -> None:
        """Let the broker forget them."""
        self._broker._ack(self._alive(), messages)

    def is_outdated(self) -> bool:
        """Never."""
        return False

    def _take(self, message: Message) -> None:
        self._inbox.append(message)
        self._arrived.set()

    def _fall(self, why: str) -> None:
        self._lost = self._lost or why
        self._arrived.set()

    def _alive(self) -> _Session:
        if self._lost is not None:
            raise TransportError(self._lost)
        if self._session is None:
            raise TransportError("The connection to the memory broker is not open.")
        return self._session
