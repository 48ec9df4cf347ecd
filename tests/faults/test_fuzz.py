"""Payloads that are malformed, oversized, replayed, of another station: nothing falls over, each is counted.

What is sent is made from real messages, by a seed: cut short, flipped, spliced, repeated, moved to other topics.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import anyio
import pytest

from edge_sdk.base.errors import TransportError
from edge_sdk.contract.encoding import Encoding, compress, transcode
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.monitor.verify import verify_all
from edge_sdk.mqtt.subscriber import Subscriber
from edge_sdk.mqtt.transport import Message
from tests.faults.scene import fresh_seed
from tests.monitor.talk import Talker

if TYPE_CHECKING:
    from typing_extensions import Self

LIMIT_BYTES = 20_000
_PIECES = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"NaN", b"1e999", b"-0", b"\x00", b"\xff", b"\\u0000",
           b"\\ud800", b"9" * 30, b'"seq":', b'"gone":[[1,2]],', b"\x78\x9c", b"\xde\xff\xff", b"\x93")  # fmt: skip


def real(rng: random.Random, number: int) -> Message:
    """A message as stations send it."""
    talker = Talker(station=rng.choice(("gate-1", "gate-2")))
    match rng.randrange(7):
        case 0:
            return talker.birth(oldest=1 + number // 100)
        case 1:
            return talker.status()
        case 2:
            return talker.health(number)
        case 3:
            return talker.event(f"event {number}")
        case 4:
            pack = talker.pack(range(number, number + rng.randrange(1, 5)))
            payload = transcode(pack.payload, rng.choice(list(Encoding)))
            return Message(pack.topic, rng.choice((bytes, compress))(payload))
        case _:
            return talker.result(number)


def spoiled(rng: random.Random, message: Message, other: Message) -> Message:
    data, topic = bytearray(message.payload), message.topic
    match rng.randrange(10):
        case 0:
            del data[rng.randrange(len(data)) :]
        case 1:
            for _ in range(rng.choice((1, 1, 3, 20))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 2:
            place = rng.randrange(len(data))
            data[place:place] = rng.choice(_PIECES) * rng.choice((1, 1, 2, 500))
        case 3:
            place = rng.randrange(len(data))
            data[place : place + rng.randrange(40)] = rng.choice(_PIECES)
        case 4:
            data = bytearray(other.payload[: rng.randrange(len(other.payload))]) + data[rng.randrange(len(data)) :]
        case 5:
            data = bytearray(rng.randbytes(rng.randrange(200)))
        case 6:
            topic = other.topic
        case 7:
            parts = topic.split("/")
            parts[rng.randrange(len(parts))] = rng.choice(("", "+", "#", "x" * 300, "gate-3", "\u0000", "é", "pack"))
            topic = "/".join(parts)
        case 8:
            data *= rng.choice((2, 50))
        case _:
            data = bytearray(zlib.compress(bytes(data) * rng.choice((1, 2))))
    return Message(topic, bytes(data))


def messages(seed: int) -> Iterator[tuple[Message, bool]]:
    """Without end: messages, and whether each is as a station sent it."""
    rng = random.Random(seed)
    last = real(rng, 1)
    number = 1
    while True:
        number += 1
        message = real(rng, number)
        if rng.random() < 0.1:
            yield message, True
        elif rng.random() < 0.1:
            yield last, False  # replayed, perhaps spoiled
            continue
        else:
            message = spoiled(rng, message, last)
            yield message, False
        last = message if message.payload else last


def feed(path: Path, count: int, seed: int) -> str:
    """Put `count` messages through verification and store."""
    store = SqliteStore(path)
    begun = time.perf_counter()
    whole, refused = 0, 0
    source = messages(seed)
    for _ in range(0, count, 500):
        group = list(islice(source, min(500, count)))
        whole += sum(is_whole for _, is_whole in group)
        batch = verify_all([message for message, _ in group], max_payload_bytes=LIMIT_BYTES)
        refused += len(batch.refusals)
        good = verify_all([message for message, is_whole in group if is_whole], max_payload_bytes=LIMIT_BYTES)
        assert not good.refusals, f"seed {seed}: a real message was refused: {good.refusals[0]}"
        store.commit(batch, now_ns=time.time_ns())
    store.close()
    with StoreReader(path) as reader:
        counters = reader.counters()
        stations = {one.station for one in reader.results(limit=100_000)}
    assert counters.received == count
    assert counters.quarantined == refused
    assert refused > count * 0.3
    assert stations <= {"gate-1", "gate-2"}, f"seed {seed}"
    seconds = time.perf_counter() - begun
    return (
        f"seed {seed}: {count} messages, {whole} whole, {refused} refusals, {counters.results} results, {seconds:.0f} s"
    )


def test_nothing_that_is_sent_makes_the_monitor_fall_over(tmp_path: Path) -> None:
    feed(tmp_path / "monitor.db", 10_000, fresh_seed())


@pytest.mark.slow
def test_the_long_form_of_payloads_that_are_spoiled(tmp_path: Path) -> None:
    print(feed(tmp_path / "monitor.db", 1_000_000, fresh_seed()))


class Tape:
    """A transport that plays messages, and ends."""

    packet_limit_bytes: int | None = None
    window = 1

    def __init__(self, played: Sequence[Message]) -> None:
        self._played = list(played)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def subscribe(self, *filters: str) -> None: ...

    async def publish(self, messages: Sequence[Message]) -> None: ...

    async def receive(self) -> Sequence[Message]:
        if not self._played:
            raise TransportError("The tape has ended.")
        played, self._played = self._played[:100], self._played[100:]
        return played

    def ack(self, messages: Sequence[Message]) -> None: ...

    def is_outdated(self) -> bool:
        return False

    @property
    def has_ended(self) -> bool:
        return not self._played


async def listen(count: int, seed: int) -> tuple[int, int]:
    """What a subscriber gives of `count` messages: events, and how many of them tell of one that cannot be read."""
    tape = Tape([message for message, _ in islice(messages(seed), count)])
    events = quarantined = 0
    with anyio.move_on_after(600) as scope:
        async with Subscriber(connect=lambda: tape) as subscriber:
            async for event in subscriber:
                events += 1
                quarantined += event.kind == "quarantined"
                if tape.has_ended:
                    break
    assert not scope.cancelled_caught
    return events, quarantined


@pytest.mark.anyio
async def test_nothing_that_is_sent_makes_a_subscriber_fall_over() -> None:
    events, quarantined = await listen(10_000, fresh_seed())

    assert events > quarantined > 3000


@pytest.mark.slow
@pytest.mark.anyio
async def test_the_long_form_of_a_subscriber_among_spoiled_payloads() -> None:
    seed = fresh_seed()
    events, quarantined = await listen(200_000, seed)
    print(f"seed {seed}: 200000 messages, {events} events, of which {quarantined} tell of one that cannot be read")
