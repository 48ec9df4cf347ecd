"""Ingest: subscribe → verify → commit → ack → receipt; reconnects for ever."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import StoreError, TransportError
from edge_sdk.contract.topics import Kind, subscription
from edge_sdk.monitor.intake import Intake
from edge_sdk.monitor.receipts import ReceiptQueue
from edge_sdk.monitor.store.base import Committed, Store
from edge_sdk.mqtt.transport import Message, Transport

log = logging.getLogger(__name__)

KINDS = (Kind.BIRTH, Kind.STATUS, Kind.RESULT, Kind.PACK, Kind.EVENT, Kind.HEALTH)
"""Birth first: what the broker kept says which epochs are current before results come."""
SHARED = (Kind.RESULT, Kind.PACK, Kind.EVENT, Kind.HEALTH)
"""What workers divide between them; the rest is retained, which a shared subscription is not given."""
_CHUNK = 2000
"""Messages in one commit at most: bounds the latency of the first."""
_LOOK_EVERY_S = 1.0


def filters(*, share: str = "", is_worker: bool = False) -> tuple[str, ...]:
    """What to subscribe to.

    Args:
        share: Name of the group that divides the messages; empty = everything for us.
        is_worker: Take part in the group, and leave births and statuses to the monitor.
    """
    if not share:
        return tuple(subscription(kind) for kind in KINDS)
    own = () if is_worker else tuple(subscription(kind) for kind in KINDS if kind not in SHARED)
    return (*own, *(f"$share/{share}/{subscription(kind)}" for kind in SHARED))


@dataclass(slots=True)
class IngestState:
    """What the page's header and ``/healthz`` show.

    Attributes:
        is_connected: Whether we are subscribed at the broker now.
        last_error: Why not, for a person; empty when all is well.
        connections: How many times we were connected since the start.
        commits: How many batches were committed since the start.
    """

    is_connected: bool = False
    last_error: str = ""
    connections: int = 0
    commits: int = 0


@dataclass(slots=True)
class Ingest:
    """Moves messages from the broker into the store, and receipts back.

    A message is acknowledged to the broker after the commit that holds it, and the receipt goes out after that:
    a kill at any moment leads to the same message again, which the store refuses as a duplicate.

    Attributes:
        store: Where results go; called from one worker thread at a time.
        connect: Makes a transport, not yet opened, with a persistent session.
        clock: Gives the time of storing.
        backoff: Waiting between connections.
        max_payload_bytes: Longer messages go to the quarantine unread.
        receipt_interval_s: Receipts of one source are at least this far apart.
        receipts_per_s: Bound on all receipts together.
        filters: What it subscribes to.
    """

    store: Store
    connect: Callable[[], Transport]
    clock: Clock
    backoff: Backoff = field(default_factory=lambda: Backoff(base_s=0.5, cap_s=30.0, stable_s=10.0))
    max_payload_bytes: int = 1 << 20
    receipt_interval_s: float = 0.05
    receipts_per_s: int = 2000
    filters: Sequence[str] = field(default_factory=filters)
    on_commit: Callable[[Committed], None] | None = None
    state: IngestState = field(default_factory=IngestState)
    name: str = "ingest"
    _receipts: ReceiptQueue = field(default_factory=ReceiptQueue)
    _due: anyio.Event = field(default_factory=anyio.Event)
    _stop: anyio.Event = field(default_factory=anyio.Event)
    _waiting: anyio.CancelScope | None = None
    _is_outdated: bool = False

    async def run(self) -> None:
        """Work until `stop` or cancelled; a lost connection is made again after a jittered delay."""
        while not self._stop.is_set():
            since = anyio.current_time()
            try:
                await self._session()
            except TransportError as error:
                self.state.last_error = str(error)
                if self._stop.is_set():
                    return
                self.backoff.worked_for(anyio.current_time() - since if self.state.is_connected else 0.0)
                self.state.is_connected = False
                delay_s = self.backoff.next_delay_s()
                log.warning("ingest backs off", extra={"delay_s": delay_s, "reason": str(error)})
                await self._pause(delay_s)

    def stop(self) -> None:
        """Finish the batch in hand, acknowledge it, send what receipts are due, disconnect; `run` then returns."""
        self._stop.set()
        if self._waiting is not None:
            self._waiting.cancel()

    async def _pause(self, delay_s: float) -> None:
        with anyio.CancelScope() as self._waiting:
            await anyio.sleep(delay_s)

    async def _session(self) -> None:
        async with self.connect() as transport:
            await transport.subscribe(*self.filters)
            self.state.is_connected, self.state.last_error = True, ""
            self.state.connections += 1
            log.info("ingest is subscribed", extra={"connections": self.state.connections})
            lost: list[TransportError] = []
            async with anyio.create_task_group() as group:

                async def watched(work: Callable[[Transport], Awaitable[None]]) -> None:
                    try:
                        await work(transport)
                    except TransportError as error:
                        lost.append(error)
                        group.cancel_scope.cancel()

                group.start_soon(watched, self._publish_receipts, name="receipts")
                group.start_soon(self._look_for_change, transport, name="credentials")
                await watched(self._receive)
                group.cancel_scope.cancel()
            if lost:
                raise lost[0]
            await self._publish(transport, len(self._receipts))

    async def _look_for_change(self, transport: Transport) -> None:
        """When a certificate or password was replaced, or a preferred broker may be back, connect anew, in order."""
        while not transport.is_outdated():  # noqa: ASYNC110 (files change without telling)
            await anyio.sleep(_LOOK_EVERY_S)
        log.info("ingest connects anew", extra={"reason": "credentials or preferred broker"})
        self._is_outdated = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def _receive(self, transport: Transport) -> None:
        self._is_outdated = False
        while not (self._stop.is_set() or self._is_outdated):
            messages: Sequence[Message] = ()
            with anyio.CancelScope() as self._waiting:
                messages = await transport.receive()
            for start in range(0, len(messages), _CHUNK):
                chunk = messages[start : start + _CHUNK]
                committed = await self._commit(chunk)
                if committed is None:
                    return
                transport.ack(chunk)
                self._receipts.put(committed)
                self._due.set()

    async def _commit(self, messages: Sequence[Message]) -> Committed | None:
        """Verify and commit in a worker thread; while the store refuses, try again. None = told to stop first."""
        backoff = Backoff(base_s=0.2, cap_s=10.0)
        intake = Intake(self.store, self.clock, self.max_payload_bytes)
        while True:
            try:
                committed = await anyio.to_thread.run_sync(intake.commit, messages)
            except StoreError as error:
                self.state.last_error = str(error)
                log.error("store refuses", extra={"reason": str(error), "messages": len(messages)})
                await self._pause(backoff.next_delay_s())
                if self._stop.is_set():
                    return None
                continue
            self.state.commits += 1
            if backoff.failures:
                self.state.last_error = ""
            if self.on_commit is not None:
                self.on_commit(committed)
            return committed

    async def _publish_receipts(self, transport: Transport) -> None:
        at_once = max(1, round(self.receipts_per_s * self.receipt_interval_s))
        while True:
            if not len(self._receipts):
                self._due = anyio.Event()
                await self._due.wait()
            await self._publish(transport, at_once)
            await anyio.sleep(self.receipt_interval_s)

    async def _publish(self, transport: Transport, limit: int) -> None:
        taken = self._receipts.take(limit)
        if not taken:
            return
        try:
            await transport.publish([message for _, message in taken])
        except BaseException:  # cancelled or lost: they are due still
            self._receipts.put_back(taken)
            raise
