"""Events: what stations say, as a subscriber is handed it, each with its address."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge_sdk.base.errors import PayloadError
from edge_sdk.contract.envelope import ResultMessage, decode_pack, decode_result, unpack
from edge_sdk.contract.events import Birth, Health, StationEvent, Status, decode_event
from edge_sdk.contract.topics import ROOT, Address, Kind, parse
from edge_sdk.mqtt.transport import Message


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


_KIND_OF: dict[type, str] = {
    ResultMessage: "result",
    Birth: "birth",
    Status: "status",
    Health: "health",
    StationEvent: "event",
    Quarantined: "quarantined",
}
_SAID: dict[Kind, type[Any]] = {Kind.BIRTH: Birth, Kind.STATUS: Status, Kind.HEALTH: Health, Kind.EVENT: StationEvent}


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


def read_events(message: Message) -> Iterator[Event]:
    """The events of one message: a pack has many, a cleared one none; one that cannot be read is an event, too."""
    try:
        address = parse(message.topic)
        for said in _decode(address, message.payload):
            yield Event(address.site, address.station, said, message.retain)
    except PayloadError as error:
        place = message.topic.split("/")
        site, station = (place[2], place[3]) if len(place) > 4 and message.topic.startswith(f"{ROOT}/") else ("", "")
        detail = Quarantined(message.topic, error.reason, str(error), len(message.payload))
        yield Event(site, station, detail, message.retain)


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
