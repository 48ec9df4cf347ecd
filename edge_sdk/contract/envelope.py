"""The envelope: what delivery puts around a fused result, and how messages are read back.

A result's JSON is made once, when it is accepted; sending it as JSON wraps those bytes and never decodes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

from edge_sdk.base.errors import PayloadError
from edge_sdk.contract.encoding import expand, is_msgpack
from edge_sdk.contract.receipt import MOST_SEQ
from edge_sdk.contract.result import FusedResult

VERSION = 1


class ResultMessage(FusedResult, frozen=True, kw_only=True):
    """A fused result with its place in the station's sequence: the payload of ``result/<stream>``.

    Attributes:
        v: Version of this format.
        station: The station that made it.
        epoch: Random id of the outbox that numbered it, 16 hexadecimal digits.
        seq: Its number within the epoch, from 1.
        backlog: Whether it waited because the station could not send.
    """

    v: int
    station: str
    epoch: str
    seq: int
    backlog: bool = False


class PackedResult(FusedResult, frozen=True, kw_only=True):
    """A fused result inside a pack, which carries the rest of the envelope once."""

    seq: int


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """Many results of one station in one message: the payload of ``pack``.

    Attributes:
        v: Version of this format.
        station: The station that made them.
        epoch: Random id of the outbox that numbered them.
        backlog: Whether they waited because the station could not send.
        gone: Inclusive ranges of numbers among these that will never be sent: given up, or stored before.
        results: Oldest first.
    """

    v: int
    station: str
    epoch: str
    backlog: bool
    gone: tuple[tuple[int, int], ...] = ()
    results: tuple[PackedResult, ...]


class OutboxRow(NamedTuple):
    """One accepted result as the outbox holds it. A named tuple, because a backlog makes very many of them.

    Attributes:
        seq: Its number within the outbox, from 1; on the wire, within its epoch.
        stream: Which stream it belongs to: part of its topic.
        body: JSON of the `FusedResult`.
        accepted_ns: Wall time of acceptance, nanoseconds since the Unix epoch.
    """

    seq: int
    stream: str
    body: bytes
    accepted_ns: int


_Versioned = TypeVar("_Versioned", ResultMessage, Pack)

_encoder = msgspec.json.Encoder()
_result_decoders = msgspec.json.Decoder(ResultMessage), msgspec.msgpack.Decoder(ResultMessage)
_pack_decoders = msgspec.json.Decoder(Pack), msgspec.msgpack.Decoder(Pack)


def encode_body(result: FusedResult) -> bytes:
    """JSON of a result, without envelope: what the outbox stores."""
    return _encoder.encode(result)


def encode_result(row: OutboxRow, *, station: str, epoch: str, before: int = 0, backlog: bool = False) -> bytes:
    """The payload of ``result/<stream>``: the stored bytes with the envelope spliced in front.

    Args:
        row: What the outbox holds.
        station: Who made it.
        epoch: Which epoch numbered it.
        before: Rows of the outbox that are older than the epoch.
        backlog: Whether it waited because the station could not send.
    """
    seq = row.seq - before
    head = f'{{"v":{VERSION},"station":"{station}","epoch":"{epoch}","seq":{seq},"backlog":{_bool(backlog)},'
    return head.encode("ascii") + row.body[1:]


def encode_pack(
    rows: Iterable[OutboxRow],
    *,
    station: str,
    epoch: str,
    before: int = 0,
    backlog: bool = True,
    gone: Iterable[tuple[int, int]] = (),
) -> bytes:
    """The payload of ``pack``: the stored bytes of many results of one epoch, spliced together.

    Args:
        rows: What the outbox holds.
        station: Who made them.
        epoch: Which epoch numbered them.
        before: Rows of the outbox that are older than the epoch.
        backlog: Whether they waited because the station could not send.
        gone: Ranges of numbers of the epoch that will never be sent.
    """
    spans = ",".join(f"[{low},{high}]" for low, high in gone)
    told = f'"gone":[{spans}],' if spans else ""
    head = f'{{"v":{VERSION},"station":"{station}","epoch":"{epoch}","backlog":{_bool(backlog)},{told}"results":['
    items = b",".join(b'{"seq":%d,' % (row.seq - before) + row.body[1:] for row in rows)
    return head.encode("ascii") + items + b"]}"


def decode_result(payload: bytes) -> ResultMessage:
    """Read the payload of ``result/<stream>``, in any `Encoding`, compressed or not.

    Raises:
        PayloadError: It is not such a payload, or of a newer version.
    """
    try:
        payload = expand(payload)
        message = _check_version(_result_decoders[is_msgpack(payload)].decode(payload))
        _check_seq(message.seq)
        return message
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from error


def decode_pack(payload: bytes) -> Pack:
    """Read the payload of ``pack``, in any `Encoding`, compressed or not.

    Raises:
        PayloadError: It is not such a payload, or of a newer version.
    """
    try:
        payload = expand(payload)
        pack = _check_version(_pack_decoders[is_msgpack(payload)].decode(payload))
        for one in pack.results:
            _check_seq(one.seq)
        return pack
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(error) from error


def unpack(pack: Pack) -> Iterator[ResultMessage]:
    """The results of a pack, each with the whole envelope, as if it had come alone."""
    for packed in pack.results:
        fields: dict[str, Any] = {name: getattr(packed, name) for name in packed.__struct_fields__}
        yield ResultMessage(v=pack.v, station=pack.station, epoch=pack.epoch, backlog=pack.backlog, **fields)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _check_version(message: _Versioned) -> _Versioned:
    if message.v != VERSION:
        raise PayloadError(
            f"Payload has version {message.v}, this reader knows {VERSION}. Update it.", reason="version"
        )
    return message


def _check_seq(seq: int) -> None:
    if not 1 <= seq <= MOST_SEQ:
        raise PayloadError(f"seq is {seq}; wanted is 1 to {MOST_SEQ}.", reason="range")


def _unreadable(error: Exception) -> PayloadError:
    reason = "schema" if isinstance(error, msgspec.ValidationError) else "malformed"
    return PayloadError(f"Payload cannot be read as a fused result: {error}.", reason=reason)
