"""Messages on their way to a broker: numbered, and no more of them unacknowledged than it allows. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import anyio

from edge_sdk.mqtt.transport import Message

_REFUSED = 0x80


class Batch:
    """Messages published together.

    Attributes:
        left: How many the broker has yet to acknowledge.
        refused: Why it took one of them not: a reason of MQTT 5; None = it took all.
        done: There is nothing more to wait for.
    """

    __slots__ = ("done", "left", "refused")

    def __init__(self, left: int) -> None:
        self.left = left
        self.refused: int | None = None
        self.done = anyio.Event()


class Outgoing:
    """What one connection has published and its broker has not acknowledged.

    Attributes:
        window: How many the broker allows under way at once; what is beyond waits here.

    Args:
        next_number: Gives packet identifiers, round and round.
        write: Takes packets in the order in which they are to go out.
    """

    def __init__(self, next_number: Callable[[], int], write: Callable[[bytes], None], *, window: int) -> None:
        self.window = window
        self._next_number, self._write = next_number, write
        self._batches: dict[int, Batch] = {}  # of every message, by packet identifier
        self._waiting: deque[bytes] = deque()  # packets of the latest among them

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, messages: Iterable[Message], batch: Batch, packed: Callable[[Message, int], bytes]) -> None:
        """Publish: at QoS 1 within the window, at QoS 0 at once.

        Args:
            messages: In the order in which they are to go out.
            batch: Told of their acknowledgement.
            packed: Makes the packet of a message and its identifier.
        """
        ready: list[bytes] = []
        room = 0 if self._waiting else self.window - len(self._batches)
        try:
            for message in messages:
                if not message.qos:
                    ready.append(packed(message, 0))
                    continue
                number = self._next_number()
                while number in self._batches:
                    number = self._next_number()
                packet = packed(message, number)
                self._batches[number] = batch
                if room > 0:
                    room -= 1
                    ready.append(packet)
                else:
                    self._waiting.append(packet)
        finally:
            if ready:
                self._write(b"".join(ready))

    def acknowledged(self, answers: Iterable[tuple[int, int]]) -> list[Batch]:
        """The broker answered: what waits goes out in place of these.

        Args:
            answers: Packet identifiers and reasons.

        Returns:
            Batches of which nothing is left.
        """
        finished = []
        for number, reason in answers:
            batch = self._batches.pop(number, None)
            if batch is None:
                continue
            if reason >= _REFUSED and batch.refused is None:
                batch.refused = reason
            batch.left -= 1
            if not batch.left:
                finished.append(batch)
        room = self.window - len(self._batches) + len(self._waiting)
        if self._waiting and room > 0:
            self._write(b"".join(self._waiting.popleft() for _ in range(min(room, len(self._waiting)))))
        return finished

    def abandon(self) -> set[Batch]:
        """The connection is gone: nothing will be acknowledged any more. Returns whom that concerns."""
        left = set(self._batches.values())
        self._batches.clear()
        self._waiting.clear()
        return left
