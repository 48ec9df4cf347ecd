"""Several brokers in order: the first that answers is used, and one that is preferred is gone back to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import anyio

from edge_sdk.base.errors import TransportError
from edge_sdk.mqtt.transport import Message, Transport

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

RETURN_AFTER_S = 600.0


class FirstOf:
    """A transport that tries several, each made anew, and is the first that can be opened.

    The brokers must pass messages on to each other, or the monitor must listen at each.

    Args:
        choices: What makes each transport, the preferred one first.
        return_after_s: How long a connection to another than the first is kept before the first is tried again.
    """

    def __init__(self, choices: Sequence[Callable[[], Transport]], *, return_after_s: float = RETURN_AFTER_S) -> None:
        self._choices = choices
        self._return_after_s = return_after_s
        self._chosen: Transport | None = None
        self._is_first = True
        self._since_s = 0.0

    @property
    def packet_limit_bytes(self) -> int | None:
        """Largest packet that the broker said it takes; None = it did not say."""
        return None if self._chosen is None else self._chosen.packet_limit_bytes

    @property
    def window(self) -> int:
        """Messages that may be under way at once."""
        return self._alive().window

    async def __aenter__(self) -> Self:
        """Open the first that can be. Raises TransportError with what each of them said."""
        said = []
        for number, make in enumerate(self._choices):
            transport = make()
            try:
                await transport.__aenter__()
            except TransportError as error:
                said.append(str(error))
                continue
            self._chosen, self._is_first, self._since_s = transport, number == 0, anyio.current_time()
            if said:
                log.warning("another broker is used", extra={"number": number + 1, "reason": said[-1]})
            return self
        raise TransportError(" ".join(said))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        chosen, self._chosen = self._chosen, None
        if chosen is not None:
            await chosen.__aexit__(kind, error, trace)

    async def subscribe(self, *filters: str) -> None:
        """Subscribe at QoS 1 and wait for SUBACK."""
        await self._alive().subscribe(*filters)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish all and wait until the broker has acknowledged each."""
        await self._alive().publish(messages)

    async def receive(self) -> Sequence[Message]:
        """Wait for messages."""
        return await self._alive().receive()

    def ack(self, messages: Sequence[Message]) -> None:
        """Acknowledge received messages."""
        self._alive().ack(messages)

    def is_outdated(self) -> bool:
        """Whether its credentials have changed, or it is time to try the preferred broker again."""
        if self._chosen is None or self._chosen.is_outdated():
            return True
        return not self._is_first and anyio.current_time() - self._since_s > self._return_after_s

    def _alive(self) -> Transport:
        if self._chosen is None:
            raise TransportError("The connection is not open.")
        return self._chosen
