"""Reading what stations publish: ``async for event in Subscriber("mqtt://127.0.0.1")``."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import anyio

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.errors import TransportError
from edge_sdk.base.ids import check_id
from edge_sdk.contract.envelope import ResultMessage
from edge_sdk.contract.receipt import Ranges
from edge_sdk.contract.topics import Kind, subscription
from edge_sdk.mqtt.event import Event, read_events
from edge_sdk.mqtt.transport import BrokerAddress, Message, MqttVersion, Tls, Transport

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

_KINDS = (Kind.BIRTH, Kind.STATUS, Kind.RESULT, Kind.PACK, Kind.HEALTH, Kind.EVENT)
_EPOCHS_KEPT = 10_000


class Subscriber:
    """A stream of typed events from a broker, that reconnects by itself.

    Iterate it directly, or within ``async with`` to know when it is connected for the first time; or give `run` a
    function to call.
    An event counts as read when the next one is asked for: with a `client_id`, what was not read then comes again
    after a restart.

    Args:
        url: ``mqtt://HOST[:PORT]`` or ``mqtts://HOST[:PORT]``.
        site: Only this site; None = all.
        station: Only this station; None = all.
        stream: Only results of this stream; None = all. Other kinds of events come all the same.
        dedupe: Leave out a result that was already given, as after a resend.
        share: Name of a group whose members divide the messages between them.
        client_id: Name of a session that the broker keeps while we are away; None = start anew each time.
        session_expiry_s: How long it keeps it.
        tls: Certificates, for ``mqtts``.
        username: Who we are; None = anonymous.
        password_file: File that holds the password, one line.
        mqtt_version: Version of MQTT that the broker speaks.
        connect: Makes the transport; None = paho to `url`.
        backoff: Delays between tries to connect.

    Raises:
        ConfigError: The URL or an id is no such thing.
    """

    def __init__(
        self,
        url: str = "mqtt://127.0.0.1",
        *,
        site: str | None = None,
        station: str | None = None,
        stream: str | None = None,
        dedupe: bool = True,
        share: str | None = None,
        client_id: str | None = None,
        session_expiry_s: int = 3600,
        tls: Tls | None = None,
        username: str | None = None,
        password_file: Path | None = None,
        mqtt_version: MqttVersion = "5",
        connect: Callable[[], Transport] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        for what, given in (("site", site), ("station", station), ("stream", stream), ("share", share)):
            if given is not None:
                check_id(what, given)
        self._address = BrokerAddress.parse(
            url, tls=tls, username=username, password_file=password_file, version=mqtt_version
        )
        self._filters = tuple(
            (f"$share/{share}/" if share else "") + subscription(kind, site=site or "+", station=station or "+")
            for kind in _KINDS
        )
        self._stream = stream
        self._seen: Seen | None = Seen() if dedupe else None
        self._client_id = client_id
        self._session_expiry_s = session_expiry_s
        self._connect = connect or self._connect_paho
        self._backoff = backoff or Backoff(cap_s=30.0)
        self._stack: AsyncExitStack | None = None
        self._transport: Transport | None = None
        self._events: deque[Event] = deque()
        self._unread: tuple[Message, ...] = ()
        self._running: tuple[asyncio.AbstractEventLoop | None, anyio.CancelScope | None] = (None, None)
        self._is_stopped = False

    async def __aenter__(self) -> Self:
        """Connect and subscribe. Raises TransportError when that fails the first time."""
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        await self._close()

    def __aiter__(self) -> AsyncIterator[Event]:
        """The events, without end. Outside ``async with`` the connection is opened here and closed at the end."""
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[Event]:
        inside = self._transport is not None
        try:
            if not inside:
                await self._open()
            while True:
                while self._events:
                    yield self._events.popleft()
                try:
                    await self._more()
                except TransportError as error:
                    log.warning("subscriber lost its broker", extra={"reason": str(error)})
                    await self._reopen()
        finally:
            if not inside:
                await self._close()

    async def _more(self) -> None:
        transport = self._transport
        assert transport is not None
        if self._unread:
            transport.ack(self._unread)
            self._unread = ()
        messages = await transport.receive()
        for message in messages:
            self._events.extend(self._read(message))
        self._unread = tuple(messages)

    def _read(self, message: Message) -> Iterator[Event]:
        for event in read_events(message):
            said = event.message
            if isinstance(said, ResultMessage):
                if self._stream not in (None, said.stream):
                    continue
                if self._seen is not None and not self._seen.is_new(event.site, said):
                    continue
            yield event

    async def _open(self) -> None:
        async with AsyncExitStack() as opening:
            transport = await opening.enter_async_context(self._connect())
            await transport.subscribe(*self._filters)
            self._stack = opening.pop_all()
            self._transport = transport

    async def _close(self) -> None:
        stack, self._stack, self._transport = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    async def _reopen(self) -> None:
        await self._close()
        self._unread = ()
        while True:
            try:
                await self._open()
            except TransportError as error:
                delay_s = self._backoff.next_delay_s()
                log.info("subscriber backs off", extra={"delay_s": delay_s, "reason": str(error)})
                await anyio.sleep(delay_s)
            else:
                self._backoff.failures = 0
                return

    def run(self, on_event: Callable[[Event], object]) -> None:
        """Call `on_event` for each event, in this thread, until `stop` or an exception; for programs without async.

        Raises:
            TransportError: The broker cannot be reached the first time.
        """
        anyio.run(self._call, on_event)

    def stop(self) -> None:
        """End `run`, from any thread or from the callback; what was not handed over comes again, with a `client_id`."""
        self._is_stopped = True
        loop, scope = self._running
        if loop is not None and scope is not None:
            with suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(scope.cancel)

    async def _call(self, on_event: Callable[[Event], object]) -> None:
        with anyio.CancelScope() as scope:
            self._running = asyncio.get_running_loop(), scope
            async with self:
                async for event in self:
                    if self._is_stopped:
                        break
                    on_event(event)
        self._running, self._is_stopped = (None, None), False

    def _connect_paho(self) -> Transport:
        from edge_sdk.mqtt.paho import PahoTransport

        return PahoTransport(
            self._address,
            client_id=self._client_id or f"edge-sdk-{secrets.token_hex(6)}",
            clean_start=self._client_id is None,
            session_expiry_s=self._session_expiry_s if self._client_id else 0,
        )


class Seen:
    """Which results were given already, by site, station and epoch; the least recent epochs are forgotten."""

    def __init__(self, epochs: int = _EPOCHS_KEPT) -> None:
        self._limit = epochs
        self._ranges: OrderedDict[tuple[str, str, str], Ranges] = OrderedDict()

    def is_new(self, site: str, result: ResultMessage) -> bool:
        """Whether it is the first time; remembers it."""
        key = (site, result.station, result.epoch)
        ranges = self._ranges.get(key)
        if ranges is None:
            ranges = self._ranges[key] = Ranges()
            if len(self._ranges) > self._limit:
                self._ranges.popitem(last=False)
        else:
            self._ranges.move_to_end(key)
        if result.seq in ranges:
            return False
        ranges.add(result.seq)
        return True
