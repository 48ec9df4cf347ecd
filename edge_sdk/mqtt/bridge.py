"""The bridge: moves the outbox to the broker over a network that fails. The station's side of delivery."""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.abc
import anyio.to_thread

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, OutboxError, PayloadError, TransportError
from edge_sdk.contract.envelope import OutboxRow, encode_pack, encode_result
from edge_sdk.contract.events import Birth, Health, StationEvent, StationState, Status, encode_event
from edge_sdk.contract.receipt import decode_receipt, runs
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt import homeassistant
from edge_sdk.mqtt.pace import Pace
from edge_sdk.mqtt.relay import Ask, Relay
from edge_sdk.mqtt.transport import Message, Transport
from edge_sdk.outbox.base import Outbox

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

Delivery = Literal["monitor", "broker"]

_LIVE_BATCH = 256
_LIVE_UNDER_WAY = 2000
_PACKS_UNDER_WAY = 4
_ANNOUNCEMENTS = 256
_LONGEST_PACK_S = 0.1
_FIRST_RECEIPT_S = 1.0
_GOODBYE_S = 3.0
_OUTBOX_RETRY_S = 1.0


class LinkState(str, Enum):
    """Where the bridge stands."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    """Not connected, and waiting before the next try."""


class Bridge:
    """Sends live results at once and one by one, a backlog in packs, and forgets a row when it is receipted.

    A service: opened by ``async with``, then `run` until cancelled, which says goodbye in order.

    Attributes:
        state: Where it stands.
        counters: Everything counted since it was made, by dotted name.

    Args:
        connect: Makes a transport, not yet open, that leaves the given will.
        topics: The station's topics.
        outbox: What is sent.
        birth: Makes the birth message, for each connection anew.
        clock: Where monotonic time comes from.
        delivery: Whose word lets a row leave the outbox: the monitor's receipt, or the broker's acknowledgement,
            which a broker that is killed does not keep.
        backoff: Delays between tries to connect.
        backlog_results_per_s: The rate at which a backlog drains; live results are not counted.
        pack_results: Results in a pack at most.
        pack_bytes: Bytes of a pack at most; less where the broker says so, or the link is slow.
        resend_after_s: How long to wait for a receipt before a result is sent again.
        home_assistant: Introduce the station to Home Assistant, and again whenever that starts.
    """

    name = "bridge"

    def __init__(
        self,
        *,
        connect: Callable[[Message], Transport],
        topics: Topics,
        outbox: Outbox,
        birth: Callable[[], Birth],
        clock: Clock,
        delivery: Delivery = "monitor",
        backoff: Backoff | None = None,
        backlog_results_per_s: float = 2000.0,
        pack_results: int = 1000,
        pack_bytes: int = 256 * 1024,
        resend_after_s: float = 5.0,
        home_assistant: bool = False,
    ) -> None:
        self.state = LinkState.CLOSED
        self.counters: Counter[str] = Counter()
        self._connect = connect
        self._topics = topics
        self._outbox = outbox
        self._birth = birth
        self._clock = clock
        self._delivery = delivery
        self._backoff = backoff or Backoff()
        self._seconds_per_result = 0.0 if math.isinf(backlog_results_per_s) else 1.0 / backlog_results_per_s
        self._home_assistant = home_assistant
        self._pace = Pace(pack_bytes)
        if backlog_results_per_s * _LONGEST_PACK_S < pack_results:
            pack_results = max(1, round(backlog_results_per_s * _LONGEST_PACK_S))
        self._relay = Relay(pack_limit=pack_results, resend_after_s=resend_after_s)
        self._announcements: deque[Message] = deque()
        self._live_under_way = 0
        self._packs_under_way = 0
        self._nothing_was_due = True
        self._begin_live: Callable[[Sequence[OutboxRow]], None] | None = None  # while connected
        # Set when there may be something to do:
        self._backlog_stirs = anyio.Event()
        self._announcements_stir = anyio.Event()
        self._receipt_came = anyio.Event()

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self.state is LinkState.CONNECTED

    async def __aenter__(self) -> Self:
        """Nothing to open: a station starts without its broker."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is left open: `run` closes its connection."""
        self.state = LinkState.CLOSED

    def offer(self, rows: Sequence[OutboxRow]) -> None:
        """Rows were committed: send them live. To be called on the event loop."""
        self._relay.offer(rows)
        self._send_live()

    def announce(self, event: StationEvent | Health | Birth) -> None:
        """Send it when we are connected, at best effort: the oldest of too many is dropped and counted."""
        if isinstance(event, Health):
            message = Message(self._topics.of(Kind.HEALTH), encode_event(event))
        elif isinstance(event, Birth):  # something in it changed since the last connection
            message = Message(self._topics.of(Kind.BIRTH), encode_event(event), retain=True)
        else:
            message = Message(self._topics.of(Kind.EVENT, event.severity.value), encode_event(event))
        self._announcements.append(message)
        if len(self._announcements) > _ANNOUNCEMENTS:
            self._announcements.popleft()
            self.counters["bridge.announcements_dropped"] += 1
        self._announcements_stir.set()

    async def run(self) -> None:
        """Stay connected and send, until cancelled.

        Raises:
            ConfigError: The very first try to connect met a file that cannot be used, such as a certificate.
        """
        tried = False
        while True:
            self.state = LinkState.CONNECTING
            begun_ns = self._clock.monotonic_ns()
            try:
                async with self._connect(self._status(StationState.OFFLINE)) as transport:
                    begun_ns = self._clock.monotonic_ns()
                    await self._converse(transport)
            except ConfigError as error:
                if not tried:
                    raise
                log.error("broker cannot be tried", extra={"reason": str(error)})
            except TransportError as error:
                log.warning("broker is out of reach", extra={"reason": str(error)})
            finally:
                self._relay.disconnected()
                self.state = LinkState.CLOSED
            tried = True
            self.counters["bridge.connections_lost"] += 1
            self._backoff.worked_for((self._clock.monotonic_ns() - begun_ns) / 1e9)
            delay_s = self._backoff.next_delay_s()
            self.state = LinkState.WAITING
            log.info("bridge backs off", extra={"delay_s": delay_s, "outbox_rows": self._outbox.stats().rows})
            await anyio.sleep(delay_s)

    # ---- one connection

    async def _converse(self, transport: Transport) -> None:
        self._receipt_came = anyio.Event()
        self._live_under_way = self._packs_under_way = 0
        self._pace.connected()
        filters = [self._topics.of(Kind.RECEIPT)]
        if self._home_assistant:
            filters.append(homeassistant.STATUS_TOPIC)
        await transport.subscribe(*filters)
        birth = self._birth()
        introduction = [Message(self._topics.of(Kind.BIRTH), encode_event(birth), retain=True)]
        if self._home_assistant:
            introduction.append(homeassistant.discovery(birth))
        await transport.publish([*introduction, self._status(StationState.ONLINE)])
        stats = self._outbox.stats()
        self._relay.connected(oldest=stats.first_waiting, newest=stats.newest)
        self.state = LinkState.CONNECTED
        self.counters["bridge.connections"] += 1
        log.info("bridge is connected", extra={"outbox_rows": stats.rows})
        lost: list[TransportError] = []
        try:
            async with anyio.create_task_group() as group:

                async def guarded(work: Callable[..., Awaitable[None]], *arguments: object) -> None:
                    try:
                        await work(*arguments)
                    except TransportError as error:
                        lost.append(error)
                        group.cancel_scope.cancel()

                def begin(work: Callable[..., Awaitable[None]], *arguments: object) -> None:
                    group.start_soon(guarded, work, *arguments, name=f"bridge.{work.__name__.strip('_')}")

                begin(self._read_receipts, transport)
                self._begin_live = partial(begin, self._publish_live, transport)
                self._send_live()
                begin(self._send_backlog, transport, begin)
                begin(self._send_announcements, transport)
        except anyio.get_cancelled_exc_class():
            self._begin_live = None
            with anyio.CancelScope(shield=True), anyio.move_on_after(_GOODBYE_S):
                await self._say_goodbye(transport)
            raise
        finally:
            self._begin_live = None
        if lost:
            if self._packs_under_way:  # perhaps it was too large for this broker: try smaller ones
                self._pace.lost()
            raise lost[0]

    async def _say_goodbye(self, transport: Transport) -> None:
        try:
            await transport.publish([self._status(StationState.STOPPING)])
            rows = self._relay.take_live(limit=_LIVE_BATCH, now_ns=self._clock.monotonic_ns())
            last_words, self._announcements = list(self._announcements), deque()
            await transport.publish([*map(self._live_message, rows), *last_words])
            await transport.publish([self._status(StationState.OFFLINE)])
        except TransportError as error:
            log.warning("bridge could not say goodbye", extra={"reason": str(error)})

    async def _read_receipts(self, transport: Transport) -> None:
        while True:
            messages = await transport.receive()
            for message in messages:
                if message.topic == homeassistant.STATUS_TOPIC:
                    if message.payload == b"online" and not message.retain:
                        await transport.publish(
                            [homeassistant.discovery(self._birth()), self._status(StationState.ONLINE)]
                        )
                    continue
                try:
                    receipt = decode_receipt(message.payload)
                except PayloadError as error:
                    self.counters[f"bridge.receipts_unreadable.{error.reason}"] += 1
                    log.warning("receipt is unreadable", extra={"reason": str(error)})
                    continue
                self.counters["bridge.receipts"] += 1
                if receipt.epoch == self._outbox.epoch:
                    self.counters["bridge.receipted"] += self._outbox.acknowledge(receipt)
                    self._relay.settle(receipt.stored, now_ns=self._clock.monotonic_ns())
                self._receipt_came.set()
                self._backlog_stirs.set()
            transport.ack(messages)

    def _send_live(self) -> None:
        """Start publishing what waits in the live queue, at once: it is a latency that people see."""
        if self._begin_live is None:
            return
        room = min(_LIVE_BATCH, _LIVE_UNDER_WAY - self._live_under_way)
        while rows := self._relay.take_live(limit=room, now_ns=self._clock.monotonic_ns()):
            self._live_under_way += len(rows)
            if self._nothing_was_due or self._relay.backlog:
                self._backlog_stirs.set()
            self._begin_live(rows)
            room = min(_LIVE_BATCH, _LIVE_UNDER_WAY - self._live_under_way)

    async def _publish_live(self, transport: Transport, rows: Sequence[OutboxRow]) -> None:
        begun_ns = self._clock.monotonic_ns()
        await transport.publish([self._live_message(row) for row in rows])
        self._pace.acknowledged(0, (self._clock.monotonic_ns() - begun_ns) / 1e9)
        self.counters["bridge.sent_live"] += len(rows)
        self._live_under_way -= len(rows)
        self._sent(rows)
        self._send_live()

    async def _send_backlog(self, transport: Transport, begin: Callable[..., None]) -> None:
        if self._delivery == "monitor" and self._relay.backlog:
            with anyio.move_on_after(_FIRST_RECEIPT_S):  # the retained one: it may spare us most of it
                await self._receipt_came.wait()
        while True:
            self._backlog_stirs = anyio.Event()
            self._expire()
            ask = self._relay.next_backlog() if self._packs_under_way < _PACKS_UNDER_WAY else None
            if ask is None:
                await self._wait_for_backlog()
                continue
            try:
                rows, payload, exhausted = await anyio.to_thread.run_sync(
                    self._read_pack, ask, self._pack_limit(transport)
                )
            except OutboxError as error:
                self.counters["bridge.outbox_unreadable"] += 1
                log.error("backlog cannot be read", extra={"reason": str(error)})
                await anyio.sleep(_OUTBOX_RETRY_S)
                continue
            self._relay.take_backlog(ask, rows, exhausted=exhausted, now_ns=self._clock.monotonic_ns())
            if rows:
                self._packs_under_way += 1
                begin(self._publish_pack, transport, rows, payload)
                await anyio.sleep(len(rows) * self._seconds_per_result)

    async def _publish_pack(self, transport: Transport, rows: Sequence[OutboxRow], payload: bytes) -> None:
        begun_ns = self._clock.monotonic_ns()
        await transport.publish([Message(self._topics.of(Kind.PACK), payload)])
        self.counters["bridge.sent_backlog"] += len(rows)
        self.counters["bridge.packs"] += 1
        self._packs_under_way -= 1
        self._pace.acknowledged(len(payload), (self._clock.monotonic_ns() - begun_ns) / 1e9)
        self._sent(rows)
        self._backlog_stirs.set()

    async def _send_announcements(self, transport: Transport) -> None:
        while True:
            self._announcements_stir = anyio.Event()
            while self._announcements:
                message = self._announcements[0]
                await transport.publish([message])
                if self._announcements and self._announcements[0] is message:
                    self._announcements.popleft()
            await self._announcements_stir.wait()

    # ---- small parts

    async def _wait_for_backlog(self) -> None:
        due_ns = self._relay.due_ns()
        self._nothing_was_due = due_ns is None
        delay_s = math.inf if due_ns is None else max(0.0, (due_ns - self._clock.monotonic_ns()) / 1e9) + 0.001
        with anyio.move_on_after(delay_s):
            await self._backlog_stirs.wait()

    def _expire(self) -> None:
        if self._delivery == "monitor":
            expired = self._relay.expire(self._clock.monotonic_ns())
            if expired:
                self.counters["bridge.unreceipted"] += expired
                log.warning("not receipted: sending again", extra={"results": expired})

    def _read_pack(self, ask: Ask, limit_bytes: int) -> tuple[Sequence[OutboxRow], bytes, bool]:
        """In a worker thread: rows, their payload, and whether the outbox holds no more of what was asked."""
        rows = self._outbox.read(after=ask.low - 1, before=ask.high + 1, limit=ask.limit)
        exhausted = len(rows) < ask.limit
        room = limit_bytes - 200
        for count, row in enumerate(rows):
            room -= len(row.body) + 32
            if room < 0 and count:
                rows, exhausted = rows[:count], False
                break
        return rows, encode_pack(rows, station=self._topics.station, epoch=self._outbox.epoch), exhausted

    def _pack_limit(self, transport: Transport) -> int:
        return min(self._pace.pack_bytes, transport.packet_limit_bytes or self._pace.pack_bytes)

    def _live_message(self, row: OutboxRow) -> Message:
        payload = encode_result(row, station=self._topics.station, epoch=self._outbox.epoch)
        return Message(self._topics.of(Kind.RESULT, row.stream), payload)

    def _sent(self, rows: Sequence[OutboxRow]) -> None:
        if self._delivery == "broker":
            spans = runs(row.seq for row in rows)
            self._relay.settle(spans, now_ns=self._clock.monotonic_ns())
            self.counters["bridge.receipted"] += sum(self._outbox.acknowledge_sent(*span) for span in spans)

    def _status(self, state: StationState) -> Message:
        status = Status(station=self._topics.station, state=state, epoch=self._outbox.epoch)
        return Message(self._topics.of(Kind.STATUS), encode_event(status), retain=True)
