"""What a station says of itself: birth, status, health, events. And what a subscriber is handed."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

import msgspec

from edge_sdk.base.errors import PayloadError
from edge_sdk.contract.manifest import Coverage


class StationState(str, Enum):
    """What a station is, as far as the broker knows."""

    ONLINE = "online"
    STOPPING = "stopping"
    OFFLINE = "offline"


class Severity(str, Enum):
    """How much an event matters; the last segment of its topic."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of ``status``, retained; ``offline`` is the last will."""

    v: int = 1
    station: str
    state: StationState
    epoch: str = ""


class ModelInUse(msgspec.Struct, frozen=True, kw_only=True):
    """One model as it really runs.

    Attributes:
        name: The model's name.
        bundle: Digest of the bundle.
        variant: File of the variant that runs.
        runtime: ``litert``, ``onnxruntime`` …
        delegates: Delegates or execution providers really in use, read back after opening.
        fallback: What was asked for and is not in use; empty when all is as asked.
        coverage: What each of them really took of the model, read back after opening.
        labels: The labels it can give; empty for regression.
    """

    name: str
    bundle: str
    variant: str
    runtime: str
    delegates: tuple[str, ...] = ()
    fallback: str = ""
    coverage: tuple[Coverage, ...] = ()
    labels: tuple[str, ...] = ()


class Birth(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of ``birth``, retained: who the station is and what really runs on it.

    Attributes:
        v: Version of this format.
        site: The site's id.
        station: The station's id.
        epoch: Epoch of its outbox.
        oldest: Lowest sequence number that its outbox still holds or will ever give:
            what is below and not stored was given up, and has been announced.
        version: Version of this software.
        board: The board it found itself on.
        latitude: Degrees north, when configured.
        longitude: Degrees east, when configured.
        streams: Its streams.
        models: Its models, with the backends really in use.
        commands: Commands over MQTT that its configuration allows; empty = none, or it does not say.
        started: When the process started, UTC.
    """

    v: int = 1
    site: str
    station: str
    epoch: str
    oldest: int = 1
    version: str
    board: str
    latitude: float | None = None
    longitude: float | None = None
    streams: tuple[str, ...] = ()
    models: tuple[ModelInUse, ...] = ()
    commands: tuple[str, ...] = ()
    started: datetime


class ModelLatency(msgspec.Struct, frozen=True, kw_only=True):
    """How long one model takes for a window, since the station's start.

    Attributes:
        windows: How many it has been given.
        p50_ms: Half of the calls were quicker, milliseconds.
        p99_ms: 99 of 100 calls were.
    """

    windows: int
    p50_ms: float
    p99_ms: float


class InputSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a model was last given, in two numbers for each channel: enough to see a sensor drift.

    Attributes:
        t: End of the window, UTC.
        mean: Of the window, for each channel; of more than 16 channels, of all together.
        spread: Standard deviation within the window, likewise.
    """

    t: datetime
    mean: tuple[float, ...]
    spread: tuple[float, ...]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of ``health``: numbers of the last minute or so.

    Attributes:
        v: Version of this format.
        station: The station's id.
        t: When it was taken, UTC.
        outbox_rows: Results that wait for a receipt.
        outbox_bytes: Size of the outbox file.
        epoch: Epoch of the outbox that `oldest` counts in; empty = not said, and `oldest` is not believed.
        oldest: Lowest sequence number still held or ever to be given.
        counters: Everything counted since the start, by dotted name: ``results.accepted``, ``windows.rejected``.
        sensors: State of each sensor: ``waiting``, ``running``, ``off_rate``, ``stale``, ``lost``, ``ended``.
        temperature_c: Of the hottest thermal zone, where it can be read.
        throttled: Why the processor is slowed down: ``under_voltage``, ``cooling`` …
        rss_bytes: Resident memory of the process.
        card_written_bytes: What has been written to the disk of the outbox since boot, by anybody.
        latencies: How long each model takes, by stream and model: ``movement.accelerometer``.
        inputs: The newest window of each model, by stream and model, in short.
        flags: Short words worth a person's eye.
    """

    v: int = 1
    station: str
    t: datetime
    outbox_rows: int = 0
    outbox_bytes: int = 0
    epoch: str = ""
    oldest: int = 1
    counters: dict[str, int] = {}
    sensors: dict[str, str] = {}
    temperature_c: float | None = None
    throttled: tuple[str, ...] = ()
    rss_bytes: int | None = None
    card_written_bytes: int | None = None
    latencies: dict[str, ModelLatency] = {}
    inputs: dict[str, InputSummary] = {}
    flags: tuple[str, ...] = ()


class StationEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of ``event/<severity>``: something happened.

    Attributes:
        v: Version of this format.
        station: The station's id.
        t: When, UTC.
        severity: How much it matters; also the last segment of its topic.
        name: What, as a dotted name: ``sensor.lost``, ``outbox.dropped``.
        message: The same for a person.
        detail: Whatever helps.
    """

    v: int = 1
    station: str
    t: datetime
    severity: Severity = Severity.INFO
    name: str
    message: str
    detail: dict[str, Any] = {}


_EventT = TypeVar("_EventT", Status, Birth, Health, StationEvent)


def encode_event(event: Status | Birth | Health | StationEvent) -> bytes:
    """JSON of what a station says of itself."""
    return msgspec.json.encode(event)


def decode_event(payload: bytes, kind: type[_EventT]) -> _EventT:
    """Read what a station says of itself.

    Raises:
        PayloadError: It is not such a payload.
    """
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = "schema" if isinstance(error, msgspec.ValidationError) else "malformed"
        raise PayloadError(f"Payload cannot be read as {kind.__name__}: {error}.", reason=reason) from error
