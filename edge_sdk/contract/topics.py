"""The topic tree: ``edge/v1/<site>/<station>/…``; one segment is one id."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge_sdk.base.errors import PayloadError
from edge_sdk.base.ids import check_id

ROOT = "edge/v1"


class Kind(str, Enum):
    """The segment after the station: what a message is."""

    BIRTH = "birth"
    STATUS = "status"
    RESULT = "result"
    PACK = "pack"
    EVENT = "event"
    HEALTH = "health"
    CMD = "cmd"
    ACK = "ack"
    RECEIPT = "receipt"


@dataclass(frozen=True, slots=True)
class Address:
    """A topic, taken apart.

    Attributes:
        site: The site's id.
        station: The station's id.
        kind: What the message is.
        rest: The segments behind: the stream, the severity, the verb and id.
    """

    site: str
    station: str
    kind: Kind
    rest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one station.

    Raises:
        ConfigError: Site or station is no id.
    """

    site: str
    station: str

    def __post_init__(self) -> None:
        check_id("site", self.site)
        check_id("station", self.station)

    def of(self, kind: Kind, *rest: str) -> str:
        """The topic of one kind of message: ``of(Kind.RESULT, "occupancy")``."""
        return "/".join((ROOT, self.site, self.station, kind.value, *rest))


def parse(topic: str) -> Address:
    """Take a topic apart.

    Raises:
        PayloadError: It is not one of ours.
    """
    parts = topic.split("/")
    try:
        if "/".join(parts[:2]) != ROOT:
            raise ValueError
        return Address(site=parts[2], station=parts[3], kind=Kind(parts[4]), rest=tuple(parts[5:]))
    except (ValueError, IndexError):
        raise PayloadError(
            f"Topic {topic!r} is not {ROOT}/<site>/<station>/<kind>/…; kinds are {', '.join(k.value for k in Kind)}.",
            reason="topic",
        ) from None


def subscription(kind: Kind, *, site: str = "+", station: str = "+") -> str:
    """The filter for one kind of message of every site and station, or of those named."""
    tail = "/#" if kind in {Kind.RESULT, Kind.EVENT, Kind.CMD, Kind.ACK} else ""
    return f"{ROOT}/{site}/{station}/{kind.value}{tail}"


def matches(pattern: str, topic: str) -> bool:
    """Whether a subscription filter covers a topic: ``+`` is one segment, a last ``#`` is all the rest."""
    wanted, given = pattern.split("/"), topic.split("/")
    if topic.startswith("$") != pattern.startswith("$"):
        return False
    for index, part in enumerate(wanted):
        if part == "#":
            return True
        if index >= len(given) or part not in {"+", given[index]}:
            return False
    return len(wanted) == len(given)
