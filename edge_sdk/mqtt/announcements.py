"""Announcements: what a station says of itself, at best effort, while it is connected or soon after."""

from __future__ import annotations

from collections import deque

import anyio

from edge_sdk.contract.command import Answer, encode_answer
from edge_sdk.contract.events import Birth, Health, StationEvent, encode_event
from edge_sdk.contract.topics import Kind, Topics
from edge_sdk.mqtt.transport import Message, Transport

_MOST = 256
_ANSWER_EXPIRES_S = 3600
_HEALTH_EXPIRES_S = 300  # a broker that keeps it for a reader who is away need not keep every one


class Announcements:
    """A queue that drops the oldest of too many, and counts them.

    Attributes:
        dropped: How many were dropped.
    """

    def __init__(self, topics: Topics) -> None:
        self.dropped = 0
        self._topics = topics
        self._waiting: deque[Message] = deque()
        self._stir = anyio.Event()

    def put(self, event: StationEvent | Health | Birth | Answer) -> None:
        """Say it. To be called on the event loop."""
        if isinstance(event, Health):
            message = Message(self._topics.of(Kind.HEALTH), encode_event(event), expiry_s=_HEALTH_EXPIRES_S)
        elif isinstance(event, Birth):  # something in it changed since the last connection
            message = Message(self._topics.of(Kind.BIRTH), encode_event(event), retain=True)
        elif isinstance(event, Answer):
            message = Message(self._topics.of(Kind.ACK, event.id), encode_answer(event), expiry_s=_ANSWER_EXPIRES_S)
        else:
            message = Message(self._topics.of(Kind.EVENT, event.severity.value), encode_event(event))
        self._waiting.append(message)
        if len(self._waiting) > _MOST:
            self._waiting.popleft()
            self.dropped += 1
        self._stir.set()

    def take(self) -> list[Message]:
        """All that wait; they wait no longer."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    async def publish(self, transport: Transport) -> None:
        """Publish them as they come, until cancelled. Raises TransportError; then what was not acknowledged waits."""
        while True:
            self._stir = anyio.Event()
            while self._waiting:
                message = self._waiting[0]
                await transport.publish([message])
                if self._waiting and self._waiting[0] is message:
                    self._waiting.popleft()
            await self._stir.wait()
