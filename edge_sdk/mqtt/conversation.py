"""A conversation: everything that a station says and hears on one connection to its broker."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.abc
import anyio.to_thread

from edge_sdk.base.clock import to_datetime
from edge_sdk.base.errors import OutboxError, PayloadError, TransportError
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.events import Severity, StationEvent, StationState, encode_event
from edge_sdk.contract.receipt import decode_receipt, runs
from edge_sdk.contract.topics import Kind
from edge_sdk.mqtt import homeassistant
from edge_sdk.mqtt.namesakes import Finding
from edge_sdk.mqtt.packer import Packed
from edge_sdk.mqtt.standing import Standing
from edge_sdk.mqtt.transport import Message, Transport

log = logging.getLogger(__name__)

_LIVE_BATCH = 256
_METERED_BATCH = 8
_AHEAD = 64  # live results handed to the transport at least, where the broker answers quickly
_QUICK_ACK_S = 0.05
_FIRST_RECEIPT_S = 1.0
_GOODBYE_S = 3.0
_OUTBOX_RETRY_S = 1.0
_LOOK_EVERY_S = 1.0
_LIVE_FIRST_S = 0.01


class Conversation:
    """Birth, live results, backlog, announcements and receipts, until the connection ends or is outdated.

    Args:
        standing: What outlives it.
        transport: Open.
    """

    def __init__(self, standing: Standing, transport: Transport) -> None:
        self._standing, self._transport = standing, transport
        self._relay, self._counters = standing.relay, standing.counters
        self._group: anyio.abc.TaskGroup | None = None
        self._lost: list[TransportError] = []
        self._live_under_way = self._packs_under_way = 0
        self._live_waits = False
        self._live_ack_s = 0.0
        self._nothing_was_due = True
        # Set when there may be something to do:
        self._backlog_stirs = anyio.Event()
        self._receipt_came = anyio.Event()

    async def begin(self) -> None:
        """Subscribe, say who we are, and see what there is to send. Raises TransportError."""
        standing = self._standing
        standing.pace.connected()
        filters = [standing.topics.of(Kind.RECEIPT)]
        if standing.home_assistant:
            filters.append(homeassistant.STATUS_TOPIC)
        if standing.commanded is not None:
            filters.append(standing.topics.of(Kind.CMD, "#"))
        begun_ns = standing.clock.monotonic_ns()
        await self._transport.subscribe(*filters)
        standing.pace.acknowledged(0, (standing.clock.monotonic_ns() - begun_ns) / 1e9)
        birth = standing.birth()
        said = [Message(standing.topics.of(Kind.BIRTH), encode_event(birth), retain=True)]
        if standing.home_assistant:
            said.append(standing.discovery(birth))
        if standing.delivery == "monitor":
            said.extend(standing.packer.questions())
        await self._transport.publish([*said, standing.status(StationState.ONLINE)])
        stats = standing.outbox.stats()
        self._relay.connected(oldest=stats.first_waiting, newest=stats.newest)
        log.info("bridge is connected", extra={"outbox_rows": stats.rows})

    async def run(self) -> None:
        """Send and listen; returns when it would be better to connect anew. Cancelled, it says goodbye in order.

        Raises:
            TransportError: The connection is gone.
        """
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                self._begin(self._read_receipts)
                self.send_live()
                self._begin(self._send_backlog)
                self._begin(self._standing.announcements.publish, self._transport)
                self._begin(self._look_for_change)
        except anyio.get_cancelled_exc_class():
            self._group = None
            with anyio.CancelScope(shield=True), anyio.move_on_after(_GOODBYE_S):
                await self._say_goodbye()
            raise
        finally:
            self._group = None
        if self._lost:
            if self._packs_under_way:  # perhaps it was too large for this broker: try smaller ones
                self._standing.pace.lost()
            raise self._lost[0]

    def send_live(self) -> None:
        """Start publishing what waits in the live queue, at once: it is a latency that people see."""
        standing = self._standing
        while self._group is not None:
            now_ns = standing.clock.monotonic_ns()
            # Where a bound makes live results wait, they wait for what went before, and go first then.
            late = 0 if standing.meter.is_bounded else self._relay.shelve(now_ns)
            if late:
                self._counters["bridge.shelved"] += late
                self._backlog_stirs.set()
            if standing.meter.wait_s(now_ns) > 0:
                if self._relay.live and not self._live_waits:
                    self._live_waits = True
                    self._begin(self._send_live_later)
                return
            batch = _METERED_BATCH if standing.meter.is_bounded else _LIVE_BATCH
            rows = self._relay.take_live(limit=max(0, min(batch, self._live_room())), now_ns=now_ns)
            if not rows:
                return
            self._live_under_way += len(rows)
            if self._nothing_was_due or self._relay.backlog:
                self._backlog_stirs.set()
            messages = [standing.packer.single(row) for row in rows]
            self._spend(messages)
            self._begin(self._publish_live, rows, messages)

    # ---- tasks

    def _begin(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        if self._group is not None:
            self._group.start_soon(self._guarded, work, *arguments, name=f"bridge.{work.__name__.strip('_')}")

    async def _guarded(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """A connection that is lost ends every task, with one error."""
        try:
            await work(*arguments)
        except TransportError as error:
            self._lost.append(error)
            self._end()

    def _end(self) -> None:
        if self._group is not None:
            self._group.cancel_scope.cancel()

    async def _look_for_change(self) -> None:
        while not self._transport.is_outdated():  # noqa: ASYNC110 (files change without telling)
            await anyio.sleep(_LOOK_EVERY_S)
        log.info("bridge connects anew", extra={"reason": "credentials or preferred broker"})
        self._end()

    async def _read_receipts(self) -> None:
        commands = self._standing.topics.of(Kind.CMD, "")
        while True:
            messages = await self._transport.receive()
            for message in messages:
                if message.topic == homeassistant.STATUS_TOPIC:
                    await self._home_assistant_said(message)
                elif message.topic.startswith(commands) and self._standing.commanded is not None:
                    self._standing.commanded(message)
                else:
                    self._take_receipt(message)
            self._transport.ack(messages)

    async def _home_assistant_said(self, message: Message) -> None:
        if message.payload == b"online" and not message.retain:
            discovery = self._standing.discovery(self._standing.birth())
            await self._transport.publish([discovery, self._standing.status(StationState.ONLINE)])

    def _take_receipt(self, message: Message) -> None:
        outbox, counters = self._standing.outbox, self._counters
        try:
            receipt = decode_receipt(message.payload)
        except PayloadError as error:
            counters[f"bridge.receipts_unreadable.{error.reason}"] += 1
            log.warning("receipt is unreadable", extra={"reason": str(error)})
            return
        counters["bridge.receipts"] += 1
        epoch = outbox.epochs.named(receipt.epoch)
        now_ns = self._standing.clock.monotonic_ns()
        for finding in self._standing.namesakes.heard(
            receipt, epoch, before=outbox.epochs.current.before, is_kept=message.retain, now_ns=now_ns
        ):
            self._tell(finding)
        if epoch is not None:
            counters["bridge.receipted"] += outbox.acknowledge(receipt)
            self._relay.settle(epoch.rows(receipt.stored), now_ns=now_ns)
            # One that the broker had kept may be an old one.
            asked = () if message.retain else outbox.again(receipt)
            if asked:
                count = sum(high - low + 1 for low, high in asked)
                counters["bridge.asked_again"] += count
                log.warning("monitor asks again for what it had", extra={"results": count})
                self._relay.again(asked)
        self._receipt_came.set()
        self._backlog_stirs.set()

    def _tell(self, finding: Finding) -> None:
        self._counters[finding.counter] += 1
        log.warning(finding.message, extra=finding.detail)
        self._standing.announcements.put(
            StationEvent(
                station=self._standing.topics.station,
                t=to_datetime(self._standing.clock.wall_ns()),
                severity=Severity.WARNING,
                name=finding.name,
                message=finding.message,
                detail=finding.detail,
            )
        )

    async def _send_live_later(self) -> None:
        await anyio.sleep(self._standing.meter.wait_s(self._standing.clock.monotonic_ns()))
        self._live_waits = False
        self.send_live()

    async def _publish_live(self, rows: Sequence[OutboxRow], messages: Sequence[Message]) -> None:
        clock = self._standing.clock
        begun_ns = clock.monotonic_ns()
        await self._transport.publish(messages)
        self._live_ack_s = (clock.monotonic_ns() - begun_ns) / 1e9
        self._standing.pace.acknowledged(0, self._live_ack_s)
        self._counters["bridge.sent_live"] += len(rows)
        self._live_under_way -= len(rows)
        self._sent(rows)
        self.send_live()

    async def _send_backlog(self) -> None:
        standing = self._standing
        if standing.delivery == "monitor" and self._relay.backlog:
            with anyio.move_on_after(_FIRST_RECEIPT_S):  # the retained one: it may spare us most of it
                await self._receipt_came.wait()
        while True:
            self._backlog_stirs = anyio.Event()
            self._expire()
            ask = self._relay.next_backlog() if self._packs_under_way < standing.pace.packs_under_way else None
            if ask is None:
                await self._wait_for_backlog()
                continue
            if await self._link_is_taken():
                continue
            ask = standing.packer.within_an_epoch(ask)
            try:
                packed = await anyio.to_thread.run_sync(self._standing.packer.pack, ask, self._pack_limit())
            except OutboxError as error:
                self._counters["bridge.outbox_unreadable"] += 1
                log.error("backlog cannot be read", extra={"reason": str(error)})
                await anyio.sleep(_OUTBOX_RETRY_S)
                continue
            now_ns = self._standing.clock.monotonic_ns()
            self._relay.take_backlog(ask, packed.rows, exhausted=packed.exhausted, now_ns=now_ns)
            if packed.rows:
                self._packs_under_way += 1
                self._spend([packed.message])
                self._begin(self._publish_pack, packed)
                await anyio.sleep(len(packed.rows) * self._standing.seconds_per_result)

    async def _publish_pack(self, packed: Packed) -> None:
        clock, size = self._standing.clock, len(packed.message.payload)
        begun_ns = clock.monotonic_ns()
        await self._transport.publish([packed.message])
        self._counters["bridge.sent_backlog"] += len(packed.rows)
        self._counters["bridge.packs"] += 1
        self._packs_under_way -= 1
        self._standing.pace.acknowledged(size, (clock.monotonic_ns() - begun_ns) / 1e9)
        self._sent(packed.rows)
        self._backlog_stirs.set()

    async def _say_goodbye(self) -> None:
        standing = self._standing
        try:
            await self._transport.publish([standing.status(StationState.STOPPING)])
            rows = self._relay.take_live(limit=_LIVE_BATCH, now_ns=standing.clock.monotonic_ns())
            last_words = [*map(standing.packer.single, rows), *standing.announcements.take()]
            await self._transport.publish([*last_words, standing.status(StationState.OFFLINE)])
        except TransportError as error:
            log.warning("bridge could not say goodbye", extra={"reason": str(error)})

    # ---- small parts

    async def _wait_for_backlog(self) -> None:
        due_ns = self._relay.due_ns()
        self._nothing_was_due = due_ns is None
        now_ns = self._standing.clock.monotonic_ns()
        delay_s = math.inf if due_ns is None else max(0.0, (due_ns - now_ns) / 1e9) + 0.001
        with anyio.move_on_after(delay_s):
            await self._backlog_stirs.wait()

    async def _link_is_taken(self) -> bool:
        """Wait while the link's bound is spent; live results go first."""
        wait_s = self._standing.meter.wait_s(self._standing.clock.monotonic_ns())
        if wait_s or (self._standing.meter.is_bounded and self._relay.live):
            await anyio.sleep(wait_s + _LIVE_FIRST_S)
            return True
        return False

    def _expire(self) -> None:
        if self._standing.delivery == "monitor":
            expired = self._relay.expire(self._standing.clock.monotonic_ns())
            if expired:
                self._counters["bridge.unreceipted"] += expired
                log.warning("not receipted: sending again", extra={"results": expired})

    def _pack_limit(self) -> int:
        wanted = self._standing.pace.pack_bytes
        return self._standing.meter.pack_bytes(min(wanted, self._transport.packet_limit_bytes or wanted))

    def _spend(self, messages: Sequence[Message]) -> None:
        now_ns = self._standing.clock.monotonic_ns()
        for message in messages:
            self._standing.meter.spend(message.topic, message.payload, now_ns)

    def _live_room(self) -> int:
        """How many more live results may be handed to the transport: on a quick link some in advance."""
        window = max(1, self._transport.window - self._standing.pace.packs_under_way)
        is_quick = self._live_ack_s < _QUICK_ACK_S
        return (max(_AHEAD, 2 * window) if is_quick else window) - self._live_under_way

    def _sent(self, rows: Sequence[OutboxRow]) -> None:
        if self._standing.delivery == "broker":
            spans = runs(row.seq for row in rows)
            self._relay.settle(spans, now_ns=self._standing.clock.monotonic_ns())
            self._counters["bridge.receipted"] += sum(self._standing.outbox.acknowledge_sent(*span) for span in spans)
