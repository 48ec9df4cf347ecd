"""The bridge: moves the outbox to the broker over a network that fails. The station's side of delivery."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING

import anyio

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import ConfigError, TransportError
from edge_sdk.contract.command import Answer
from edge_sdk.contract.encoding import Encoding
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.events import Birth, Health, StationEvent, StationState
from edge_sdk.contract.topics import Topics
from edge_sdk.mqtt.announcements import Announcements
from edge_sdk.mqtt.conversation import Conversation
from edge_sdk.mqtt.meter import Meter
from edge_sdk.mqtt.pace import Pace
from edge_sdk.mqtt.packer import Packer
from edge_sdk.mqtt.relay import Relay
from edge_sdk.mqtt.standing import Delivery, Standing
from edge_sdk.mqtt.transport import Message, Transport
from edge_sdk.outbox.base import Outbox

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

_LONGEST_PACK_S = 0.1


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
        bytes_per_s: A bound on all that is sent, for links that are paid by the byte; live results go first, and
            what does not fit waits in the outbox.
        pack_results: Results in a pack at most.
        pack_bytes: Bytes of a pack at most; less where the broker says so, or the link is slow.
        compressed: Compress packs where that pays. Every reader of ours expands them, others must.
        encoding: How results are written. Every reader of ours reads both.
        traced: Live results say their W3C trace context as a user property of MQTT 5.
        resend_after_s: How long to wait for a receipt before a result is sent again.
        home_assistant: Introduce the station to Home Assistant, and again whenever that starts.
        home_assistant_expire_s: After how long without a result a stream is unavailable there; 0 = never.
        commanded: Told of each message below ``cmd/``, on the event loop; None = the station takes no commands.
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
        bytes_per_s: float = math.inf,
        pack_results: int = 1000,
        pack_bytes: int = 256 * 1024,
        compressed: bool = False,
        encoding: Encoding = Encoding.JSON,
        traced: bool = False,
        resend_after_s: float = 5.0,
        home_assistant: bool = False,
        home_assistant_expire_s: int = 0,
        commanded: Callable[[Message], None] | None = None,
    ) -> None:
        self.state = LinkState.CLOSED
        self._connect = connect
        self._backoff = backoff or Backoff()
        if backlog_results_per_s * _LONGEST_PACK_S < pack_results:
            pack_results = max(1, round(backlog_results_per_s * _LONGEST_PACK_S))
        self._standing = Standing(
            topics=topics,
            outbox=outbox,
            birth=birth,
            clock=clock,
            relay=Relay(pack_limit=pack_results, resend_after_s=resend_after_s),
            pace=Pace(pack_bytes),
            meter=Meter(bytes_per_s),
            packer=Packer(topics, outbox, encoding=encoding, compressed=compressed, traced=traced),
            announcements=Announcements(topics),
            delivery=delivery,
            seconds_per_result=0.0 if math.isinf(backlog_results_per_s) else 1.0 / backlog_results_per_s,
            home_assistant=home_assistant,
            home_assistant_expire_s=home_assistant_expire_s,
            commanded=commanded,
        )
        self._conversation: Conversation | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self.state is LinkState.CONNECTED

    @property
    def counters(self) -> Counter[str]:
        """Everything counted since it was made, by dotted name."""
        dropped = self._standing.announcements.dropped
        if dropped:
            self._standing.counters["bridge.announcements_dropped"] = dropped
        return self._standing.counters

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
        self._standing.relay.offer(rows, now_ns=self._standing.clock.monotonic_ns())
        if self._conversation is not None:
            self._conversation.send_live()

    def announce(self, event: StationEvent | Health | Birth | Answer) -> None:
        """Send it when we are connected, at best effort: the oldest of too many is dropped and counted."""
        self._standing.announcements.put(event)

    async def run(self) -> None:
        """Stay connected and send, until cancelled.

        Raises:
            ConfigError: The very first try to connect met a file that cannot be used, such as a certificate.
        """
        tried = False
        while True:
            self.state = LinkState.CONNECTING
            clock = self._standing.clock
            begun_ns = clock.monotonic_ns()
            try:
                async with self._connect(self._standing.status(StationState.OFFLINE)) as transport:
                    begun_ns = clock.monotonic_ns()
                    await self._converse(transport)
                tried = True
                continue  # it ended in order, to connect anew
            except ConfigError as error:
                if not tried:
                    raise
                log.error("broker cannot be tried", extra={"reason": str(error)})
            except TransportError as error:
                log.warning("broker is out of reach", extra={"reason": str(error)})
            finally:
                self._standing.relay.disconnected()
                self._conversation = None
                self.state = LinkState.CLOSED
            tried = True
            self._standing.counters["bridge.connections_lost"] += 1
            self._backoff.worked_for((clock.monotonic_ns() - begun_ns) / 1e9)
            delay_s = self._backoff.next_delay_s()
            self.state = LinkState.WAITING
            log.info("bridge backs off", extra={"delay_s": delay_s, "outbox_rows": self._standing.outbox.stats().rows})
            await anyio.sleep(delay_s)

    async def _converse(self, transport: Transport) -> None:
        conversation = Conversation(self._standing, transport)
        await conversation.begin()
        self.state = LinkState.CONNECTED
        self._standing.counters["bridge.connections"] += 1
        self._conversation = conversation
        await conversation.run()
