"""Reading what stations publish: ``async for event in Subscriber("mqtt://127.0.0.1")``."""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.errors import PayloadError, TransportError
from edge_sdk.base.ids import check_id
from edge_sdk.contract.envelope import ResultMessage, decode_pack, decode_result, unpack
from edge_sdk.contract.events import Birth, Health, StationEvent, Status, decode_event
from edge_sdk.contract.receipt import Ranges
from edge_sdk.contract.topics import Address, Kind, parse, subscription
from edge_sdk.mqtt.transport import BrokerAddress, Message, Tls, Transport

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

_KINDS = (Kind.BIRTH, Kind.STATUS, Kind.RESULT, Kind.PACK, Kind.HEALTH, Kind.EVENT)
_EPOCHS_KEPT = 10_000
_KIND_OF: dict[type, str] = {
    ResultMessage: "result",
    Birth: "birth",
    Status: "status",
    Health: "health",
    StationEvent: "event",
}
_SAID: dict[Kind, type[Any]] = {Kind.BIRTH: Birth, Kind.STATUS: Status, Kind.HEALTH: Health, Kind.EVENT: StationEvent}


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message that cannot be read.

    Attributes:
        topic: Where it was published.
        reason: Why, in one short word.
        detail: Why, in a sentence.
        size_bytes: Of its payload.
    """

    topic: str
    reason: str
    detail: str
    size_bytes: int


_KIND_OF[Quarantined] = "quarantined"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a station published.

    Attributes:
        site: The station's site; empty when the topic is none of ours.
        station: The station's id; likewise.
        message: What it said, or why that cannot be read.
        retained: Whether the broker had kept it: it may be old.
    """

    site: str
    station: str
    message: ResultMessage | Birth | Status | Health | StationEvent | Quarantined
    retained: bool = False

    @property
    def kind(self) -> str:
        """``result``, ``birth``, ``status``, ``health``, ``event`` or ``quarantined``."""
        return _KIND_OF[type(self.message)]


class Subscriber:
    """A stream of typed events from a broker, that reconnects by itself.

    Iterate it directly, or within ``async with`` to know when it is connected for the first time.
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
        connect: Callable[[], Transport] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        for what, given in (("site", site), ("station", station), ("stream", stream), ("share", share)):
            if given is not None:
                check_id(what, given)
        self._address = BrokerAddress.parse(url, tls=tls, username=username, password_file=password_file)
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
        try:
            address = parse(message.topic)
            for said in _decode(address, message.payload):
                if isinstance(said, ResultMessage):
                    if self._stream not in (None, said.stream):
                        continue
                    if self._seen is not None and not self._seen.is_new(address.site, said):
                        continue
                yield Event(address.site, address.station, said, message.retain)
        except PayloadError as error:
            place = message.topic.split("/")
            site, station = (
                (place[2], place[3]) if len(place) > 4 and message.topic.startswith("edge/v1/") else ("", "")
            )
            detail = Quarantined(message.topic, error.reason, str(error), len(message.payload))
            yield Event(site, station, detail, message.retain)

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


def _decode(address: Address, payload: bytes) -> Iterator[ResultMessage | Birth | Status | Health | StationEvent]:
    if address.kind is Kind.RESULT:
        result = decode_result(payload)
        _check_station(address, result.station)
        yield result
    elif address.kind is Kind.PACK:
        pack = decode_pack(payload)
        _check_station(address, pack.station)
        yield from unpack(pack)
    elif address.kind in _SAID:
        if not payload:
            return  # a retained message was cleared
        said: Any = decode_event(payload, _SAID[address.kind])
        _check_station(address, said.station)
        yield said


def _check_station(address: Address, station: str) -> None:
    if station != address.station:
        raise PayloadError(f"Payload names station {station!r}, its topic {address.station!r}.", reason="wrong_station")
