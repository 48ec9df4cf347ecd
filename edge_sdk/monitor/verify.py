"""Verification: one MQTT message becomes results or a notice, or an error that says why not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import UNSET

from edge_sdk.base.clock import from_datetime
from edge_sdk.base.errors import PayloadError
from edge_sdk.base.ids import ID_PATTERN
from edge_sdk.contract.encoding import expand, is_msgpack
from edge_sdk.contract.envelope import (
    VERSION,
    PackedResult,
    ResultMessage,
    decode_result,
    encode_body,
)
from edge_sdk.contract.events import Birth, Health, Severity, StationEvent, Status, decode_event
from edge_sdk.contract.receipt import MOST_SEQ
from edge_sdk.contract.result import FusedResult
from edge_sdk.contract.topics import Address, Kind, parse
from edge_sdk.monitor.store.base import Arrival, Batch, Notice, Refusal, Source
from edge_sdk.mqtt.transport import Message

MAX_SEQ = MOST_SEQ
_ID = re.compile(ID_PATTERN)
_EPOCH = re.compile("^[0-9a-f]{16}$")
_EARLIEST_NS = 0
_LATEST_NS = 1 << 62  # the year 2116
HEAD_BYTES = 256
_FIELDS = FusedResult.__struct_fields__
_T = TypeVar("_T")
_KINDS: dict[Kind, type[Birth] | type[Status] | type[Health] | type[StationEvent]] = {
    Kind.BIRTH: Birth,
    Kind.STATUS: Status,
    Kind.HEALTH: Health,
    Kind.EVENT: StationEvent,
}


class _RawPack(msgspec.Struct, frozen=True):
    """A pack whose results are read one by one: a bad one does not hold up its neighbours."""

    v: int
    station: str
    epoch: str
    backlog: bool
    results: tuple[msgspec.Raw, ...]
    gone: tuple[tuple[int, int], ...] = ()


# As JSON and as MessagePack.
_pack_decoders = msgspec.json.Decoder(_RawPack), msgspec.msgpack.Decoder(_RawPack)
_packed_decoders = msgspec.json.Decoder(PackedResult), msgspec.msgpack.Decoder(PackedResult)


def verify_all(messages: Iterable[Message], *, max_payload_bytes: int) -> Batch:
    """Read messages into one batch; what cannot be read is refused, and never stops the rest."""
    batch = Batch()
    for message in messages:
        batch.messages += 1
        try:
            _verify(message, batch, max_payload_bytes)
        except PayloadError as error:
            batch.refusals.append(_refusal(message, error))
    return batch


def _refusal(message: Message, error: PayloadError) -> Refusal:
    head = bytes(message.payload[:HEAD_BYTES])
    return Refusal(error.reason, message.topic[:HEAD_BYTES], head, str(error)[:HEAD_BYTES])


def _verify(message: Message, batch: Batch, max_payload_bytes: int) -> None:
    if len(message.payload) > max_payload_bytes:
        raise PayloadError(
            f"Payload has {len(message.payload)} bytes, at most {max_payload_bytes} are read.", reason="oversized"
        )
    address = parse(message.topic)
    _check_address(address)
    if address.kind is Kind.RESULT:
        result = decode_result(message.payload)
        _check_station(address, result.station)
        if address.rest != (result.stream,):
            raise PayloadError(
                f"The payload says stream {result.stream!r}, its topic {'/'.join(address.rest)!r}.",
                reason="wrong_station",
            )
        arrival = _arrival(result, result.backlog, _result_body(message.payload, result))
        source = Source(address.site, address.station, _check_epoch(result.epoch))
        batch.results.setdefault(source, []).append(arrival)
    elif address.kind is Kind.PACK:
        payload = expand(message.payload)
        packed_decoder = _packed_decoders[is_msgpack(payload)]
        pack = _decode(payload, _pack_decoders[is_msgpack(payload)])
        if pack.v != VERSION:
            raise PayloadError(f"Pack has version {pack.v}, this monitor knows {VERSION}. Update it.", reason="version")
        _check_station(address, pack.station)
        source = Source(address.site, address.station, _check_epoch(pack.epoch))
        arrivals = batch.results.setdefault(source, [])
        if pack.gone:
            batch.gone.setdefault(source, []).extend(_check_spans(pack.gone))
        checked_streams: set[str] = set()
        for raw in pack.results:
            try:
                one = _decode(raw, packed_decoder)
                if one.stream not in checked_streams:
                    if not _ID.match(one.stream):
                        raise PayloadError(f"Stream {one.stream[:64]!r} is no id.", reason="range")
                    checked_streams.add(one.stream)
                arrivals.append(_arrival(one, pack.backlog, _packed_body(raw, one)))
            except PayloadError as error:  # one bad result does not hold up its neighbours
                batch.refusals.append(_refusal(message, error))
    elif message.payload or address.kind not in {Kind.BIRTH, Kind.STATUS}:  # empty: somebody cleared what was retained
        _verify_notice(message, address, batch)


def _verify_notice(message: Message, address: Address, batch: Batch) -> None:
    kind = _KINDS.get(address.kind)
    if kind is None:
        raise PayloadError(f"A {address.kind.value} is not for the monitor.", reason="topic")
    what: Birth | Status | Health | StationEvent = decode_event(message.payload, kind)  # type: ignore[type-var]
    if what.v != VERSION:
        raise PayloadError(f"Payload has version {what.v}, this monitor knows {VERSION}. Update it.", reason="version")
    _check_station(address, what.station)
    severity = Severity.INFO
    if isinstance(what, Birth):
        if what.site != address.site:
            raise PayloadError(
                f"The payload says site {what.site!r}, its topic {address.site!r}.", reason="wrong_station"
            )
        _check_epoch(what.epoch)
        _check_number("oldest", what.oldest, low=1)
        _time_ns("started", what.started)
    elif isinstance(what, Health):
        _check_number("oldest", what.oldest, low=1)
        for name in ("outbox_rows", "outbox_bytes", "rss_bytes"):
            _check_number(name, getattr(what, name) or 0, low=0)
        _time_ns("t", what.t)
    elif isinstance(what, StationEvent):
        severity = Severity(address.rest[0])
        _time_ns("t", what.t)
    batch.notices.append(Notice(address.site, address.station, what, severity, message.retain))


def _check_address(address: Address) -> None:
    wanted = 1 if address.kind in {Kind.RESULT, Kind.EVENT} else 0
    ids = (address.site, address.station, *address.rest)
    if len(address.rest) != wanted or not all(_ID.match(one) for one in ids):
        raise PayloadError("The topic has a segment too many or too few, or one that is no id.", reason="topic")
    if address.kind is Kind.EVENT and address.rest[0] not in {one.value for one in Severity}:
        raise PayloadError(f"Severity {address.rest[0]!r} is none of ours.", reason="topic")


def _check_station(address: Address, station: str) -> None:
    if station != address.station:
        raise PayloadError(
            f"The payload says station {station!r}, its topic {address.station!r}.", reason="wrong_station"
        )


def _check_epoch(epoch: str) -> str:
    if not _EPOCH.match(epoch):
        raise PayloadError(f"Epoch {epoch[:32]!r} is not 16 hexadecimal digits.", reason="range")
    return epoch


def _check_spans(spans: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    last = 0
    for low, high in spans:
        if not last < low <= high <= MAX_SEQ:
            raise PayloadError(f"gone is {spans[:10]}; wanted are rising ranges of numbers.", reason="range")
        last = high
    return spans


def _check_number(name: str, given: int, *, low: int) -> None:
    if not low <= given <= MAX_SEQ:
        raise PayloadError(f"{name} is {given}; wanted is {low} to {MAX_SEQ}.", reason="range")


def _time_ns(name: str, moment: datetime) -> int:
    if moment.tzinfo is None:
        raise PayloadError(f"{name} is {moment.isoformat()}, without a time zone; wanted is UTC.", reason="range")
    time_ns = from_datetime(moment)
    if not _EARLIEST_NS <= time_ns < _LATEST_NS:
        raise PayloadError(f"{name} is {moment.isoformat()}; no clock says that.", reason="range")
    return time_ns


def _arrival(one: ResultMessage | PackedResult, backlog: bool, body: bytes) -> Arrival:
    if not 1 <= one.seq <= MAX_SEQ:
        raise PayloadError(f"seq is {one.seq}; wanted is 1 to {MAX_SEQ}.", reason="range")
    return Arrival(
        one.seq,
        one.stream,
        _time_ns("t", one.t),
        _time_ns("observed", one.observed),
        None if one.label is UNSET else one.label,
        None if one.confidence is UNSET else one.confidence,
        None if one.value is UNSET else one.value,
        None if one.unit is UNSET else one.unit,
        one.degraded,
        backlog,
        body,
    )


def _result_body(payload: bytes, result: ResultMessage) -> bytes:
    """The station's own bytes where the envelope stands in front as we write it; made anew otherwise."""
    head = (
        f'{{"v":{VERSION},"station":"{result.station}","epoch":"{result.epoch}","seq":{result.seq},'
        f'"backlog":{"true" if result.backlog else "false"},"stream"'
    ).encode()
    if payload.startswith(head):
        return b'{"stream"' + payload[len(head) :]
    return _body(result)


def _packed_body(raw: msgspec.Raw, one: PackedResult) -> bytes:
    head = b'{"seq":%d,"stream"' % one.seq
    data = bytes(raw)
    return b'{"stream"' + data[len(head) :] if data.startswith(head) else _body(one)


def _decode(payload: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[_T] | msgspec.msgpack.Decoder[_T]) -> _T:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = "schema" if isinstance(error, msgspec.ValidationError) else "malformed"
        raise PayloadError(f"Pack cannot be read: {error}.", reason=reason) from error


def _body(one: ResultMessage | PackedResult) -> bytes:
    """JSON of the result alone, as `encode_body` makes it."""
    return encode_body(FusedResult(**{name: getattr(one, name) for name in _FIELDS}))
