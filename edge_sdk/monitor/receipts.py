"""Receipts on their way out: the latest of each source, oldest first, at a bounded rate."""

from __future__ import annotations

from edge_sdk.contract.receipt import encode_receipt
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.monitor.store.base import Committed, Source
from edge_sdk.mqtt.transport import Message


class ReceiptQueue:
    """Holds at most one receipt per source; a newer one takes the place of the one that waits."""

    def __init__(self) -> None:
        self._waiting: dict[Source, Message] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, committed: Committed) -> None:
        """Take the receipts that a commit made due."""
        for source, receipt in committed.receipts.items():
            topic = Topics(source.site, source.station).of(Kind.RECEIPT)
            retain = committed.current[source]
            self._waiting[source] = Message(topic, encode_receipt(receipt), qos=1, retain=retain)

    def take(self, limit: int) -> list[tuple[Source, Message]]:
        """Take out those that wait longest, at most `limit`."""
        taken = list(self._waiting.items())[:limit]
        for source, _ in taken:
            del self._waiting[source]
        return taken

    def put_back(self, taken: list[tuple[Source, Message]]) -> None:
        """They could not be published: they wait again, in front, unless a newer one has come."""
        self._waiting = {**dict(taken), **self._waiting}
