"""The verbs: what can be commanded, and what each of them takes."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import anyio
import msgspec
from msgspec import Meta

import edge_sdk
from edge_sdk.base.clock import to_datetime
from edge_sdk.base.errors import CommandError, nearest
from edge_sdk.contract.window import Window
from edge_sdk.runtime.scheduler import Scheduler
from edge_sdk.station.remote.changes import BundleChunk, BundleInstall, Changes, ConfigSet
from edge_sdk.station.remote.commander import Verb, Voice

if TYPE_CHECKING:
    from edge_sdk.station.station import Station

_DAY_S = 86_400.0
_SNAPSHOT_BYTES = 256 * 1024


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Nothing(_Strict, frozen=True, kw_only=True):
    """No arguments."""


class Snapshot(_Strict, frozen=True, kw_only=True):
    """Which windows; default: those of every stream."""

    stream: str | None = None


class LogLevel(_Strict, frozen=True, kw_only=True):
    """How much is logged, and for how long; then it is as before."""

    level: Literal["debug", "info", "warning", "error"]
    for_s: Annotated[float, Meta(gt=0, le=_DAY_S)] = 600.0


class Pause(_Strict, frozen=True, kw_only=True):
    """Which stream predicts nothing, and for how long; 0 = it goes on at once."""

    stream: str
    for_s: Annotated[float, Meta(ge=0, le=_DAY_S)]


class QuickVerbs:
    """What is done at once. Made for one station."""

    def __init__(self, station: Station) -> None:
        self._station = station

    async def ping(self, arguments: Nothing, voice: Voice) -> dict[str, Any]:
        """Say that we are here."""
        facts = self._station.facts()
        return {
            "session": voice.session,
            "version": edge_sdk.__version__,
            "started": facts.birth.started.isoformat(),
            "working": facts.is_working,
            "outbox_rows": facts.outbox.rows,
            "flags": list(facts.health.flags),
        }

    async def rebirth(self, arguments: Nothing, voice: Voice) -> dict[str, Any]:
        """Say again who we are."""
        self._station.announce_birth()
        return {}

    async def snapshot(self, arguments: Snapshot, voice: Voice) -> dict[str, Any]:
        """The last window of each model: little-endian float32 ``(n_samples, n_channels)`` in base64."""
        windows = {
            f"{stream.pipeline.stream}.{model}": window
            for stream in self._streams(arguments.stream)
            for model, window in stream.last.items()
        }
        size = sum(window.samples.nbytes for window in windows.values())
        if size > _SNAPSHOT_BYTES:
            raise CommandError(
                f"The windows have {size} bytes, at most {_SNAPSHOT_BYTES} are sent.", reason="too_large"
            )
        return {name: _told(window) for name, window in windows.items()}

    async def log_level(self, arguments: LogLevel, voice: Voice) -> dict[str, Any]:
        """Log more or less for a while."""
        root = logging.getLogger()
        before = root.level
        root.setLevel(arguments.level.upper())
        voice.begun(f"The log's level is {arguments.level} for {arguments.for_s:g} s.")
        try:
            await anyio.sleep(arguments.for_s)
        finally:
            root.setLevel(before)
        return {"level": logging.getLevelName(before).lower()}

    async def pause(self, arguments: Pause, voice: Voice) -> dict[str, Any]:
        """Predict nothing in one stream for a while; a reload ends it."""
        [stream] = self._streams(arguments.stream)
        clock = self._station.clock
        stream.paused_until_ns = clock.monotonic_ns() + round(arguments.for_s * 1e9)
        return {"until": to_datetime(clock.wall_ns() + round(arguments.for_s * 1e9)).isoformat()}

    def _streams(self, named: str | None) -> list[Scheduler]:
        streams = {stream.pipeline.stream: stream for stream in self._station.works.streams}
        if named is None:
            return list(streams.values())
        if named not in streams:
            raise CommandError(f"There is no stream {named!r}. {nearest(named, streams)}", reason="arguments")
        return [streams[named]]


def verbs_of(station: Station, changes: Changes) -> Mapping[str, Verb]:
    """Everything that can be commanded."""
    quick = QuickVerbs(station)
    return {
        "ping": Verb(Nothing, quick.ping, lasting=False, any_time=True),
        "rebirth": Verb(Nothing, quick.rebirth, lasting=False, any_time=True),
        "snapshot": Verb(Snapshot, quick.snapshot, lasting=False),
        "log-level": Verb(LogLevel, quick.log_level),
        "pause": Verb(Pause, quick.pause),
        "config-set": Verb(ConfigSet, changes.config_set),
        "bundle-chunk": Verb(BundleChunk, changes.bundle_chunk, allowed_by="bundle-install", lasting=False),
        "bundle-install": Verb(BundleInstall, changes.bundle_install),
    }


def _told(window: Window) -> dict[str, Any]:
    return {
        "start": to_datetime(window.start_ns).isoformat(),
        "end": to_datetime(window.end_ns).isoformat(),
        "shape": list(window.samples.shape),
        "coverage": round(window.coverage, 4),
        "float32": base64.b64encode(window.samples.astype("<f4").tobytes()).decode("ascii"),
    }
