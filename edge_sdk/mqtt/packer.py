"""The packer: rows of the outbox become messages, one by one or many in a pack, in the encoding that is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_sdk.contract.encoding import Encoding, compress, content_type, transcode
from edge_sdk.contract.envelope import OutboxRow, encode_pack, encode_result
from edge_sdk.contract.receipt import MOST_RANGES
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt.relay import Ask
from edge_sdk.mqtt.transport import Message
from edge_sdk.outbox.base import Outbox
from edge_sdk.outbox.epochs import Epoch

_MOST_PLAIN_BYTES = 1024 * 1024  # of a pack before it is compressed
_HEAD_BYTES = 200
_SEQ_BYTES = 32
_MOST_GAIN = 16.0


@dataclass(frozen=True, slots=True)
class Packed:
    """A pack, ready to go.

    Attributes:
        rows: What is in it; none = there is nothing to send, and no message.
        message: What goes out.
        exhausted: Whether the outbox holds no more of what was asked.
    """

    rows: Sequence[OutboxRow]
    message: Message
    exhausted: bool


class Packer:
    """Makes the messages of one outbox.

    Args:
        topics: The station's topics.
        outbox: Where rows are read.
        encoding: How results are written.
        compressed: Whether packs are compressed where that pays.
        traced: Whether live results say their trace context, see `traceparent`.
    """

    def __init__(
        self, topics: Topics, outbox: Outbox, *, encoding: Encoding, compressed: bool, traced: bool = False
    ) -> None:
        self._topics, self._outbox = topics, outbox
        self._encoding, self._compressed, self._traced = encoding, compressed, traced
        self._gain = 1.0  # bytes before, for each after compression
        self._row_bytes = 1.0  # of the last pack, on average

    def single(self, row: OutboxRow) -> Message:
        """One result by itself."""
        epoch = self._outbox.epochs.of(row.seq)
        payload = encode_result(row, station=self._topics.station, epoch=epoch.id, before=epoch.before)
        message = self._message(Kind.RESULT, payload, row.stream)
        if not self._traced:
            return message
        return replace(message, traceparent=traceparent(epoch.id, row.seq - epoch.before))

    def within_an_epoch(self, ask: Ask) -> Ask:
        """What of it one pack can hold."""
        return replace(ask, high=min(ask.high, self._outbox.epochs.of(ask.low).last))

    def pack(self, ask: Ask, limit_bytes: int) -> Packed:
        """Read rows and pack as many of them as fit; blocking. Raises OutboxError.

        Args:
            ask: Which rows, of one epoch.
            limit_bytes: What the payload may hold; a single row goes out even when it is longer.
        """
        room = min(limit_bytes * self._gain, max(limit_bytes, _MOST_PLAIN_BYTES)) - _HEAD_BYTES
        limit = max(1, min(ask.limit, round(1.1 * room / self._row_bytes)))  # more would be read in vain
        rows = self._outbox.read(after=ask.low - 1, before=ask.high + 1, limit=limit)
        exhausted = len(rows) < limit
        taken = 0
        for count, row in enumerate(rows):
            taken += len(row.body) + _SEQ_BYTES
            if taken > room and count:
                rows, exhausted = rows[:count], False
                break
        if rows:
            self._row_bytes = taken / len(rows)
        epoch = self._outbox.epochs.of(ask.low)
        gone = epoch.numbers(self._gone(epoch, ask, rows[-1].seq)) if rows else ()
        plain = encode_pack(rows, station=self._topics.station, epoch=epoch.id, before=epoch.before, gone=gone)
        message = self._message(Kind.PACK, plain)
        if self._compressed:
            self._gain = min(_MOST_GAIN, max(1.0, len(plain) / len(message.payload) * 0.8))
        return Packed(rows, message, exhausted)

    def questions(self) -> list[Message]:
        """One for each former epoch: a pack of nothing, which the monitor answers by a receipt.

        Where nothing waits any more, no other pack of that epoch follows: so this one says what will never be sent.
        """
        first_waiting = self._outbox.stats().first_waiting
        said = []
        for epoch in self._outbox.epochs.former:
            gone = epoch.numbers(self._outbox.gone(*epoch.span)) if epoch.last < first_waiting else []
            payload = encode_pack((), station=self._topics.station, epoch=epoch.id, gone=gone[:MOST_RANGES])
            said.append(self._message(Kind.PACK, payload))
        return said

    def _gone(self, epoch: Epoch, ask: Ask, last: int) -> Sequence[tuple[int, int]]:
        """What a pack up to row `last` goes over. Of the present epoch, the birth says what is gone before all rows."""
        is_former = epoch in self._outbox.epochs.former
        low = epoch.before + 1 if is_former and ask.low <= self._outbox.stats().first_waiting else ask.low
        return self._outbox.gone(low, last)

    def _message(self, kind: Kind, payload: bytes, *rest: str) -> Message:
        if self._encoding is Encoding.JSON and not (self._compressed and kind is Kind.PACK):
            return Message(self._topics.of(kind, *rest), payload)
        payload = transcode(payload, self._encoding)
        if self._compressed and kind is Kind.PACK:
            payload = compress(payload)
        return Message(self._topics.of(kind, *rest), payload, content_type=content_type(payload))


def traceparent(epoch: str, seq: int) -> str:
    """Trace context of one result (https://www.w3.org/TR/trace-context/): its trace is named by epoch and number.

    So whoever has the result can name its trace, and it is the same when the result is sent again.
    """
    return f"00-{epoch}{seq:016x}-{seq:016x}-01"
