"""Governing: the station takes the governor's level to its streams: smaller variants first, then fewer windows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from edge_sdk.base.clock import Clock
from edge_sdk.base.errors import EdgeError
from edge_sdk.config.station import GovernorConfig, ModelConfig
from edge_sdk.inference.model import Model
from edge_sdk.runtime.governor import Governor, Limits, Strain
from edge_sdk.runtime.scheduler import Scheduler
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.vitals import Gauges

log = logging.getLogger(__name__)

_THINNED = 2  # levels below the smallest variants: every second window, every fourth


class Governing:
    """Looks at the board now and then, and works less or more.

    Attributes:
        name: Name of its task.
        governor: What chooses the level.
    """

    name = "governor"

    def __init__(
        self,
        config: GovernorConfig,
        assembly: Assembly,
        streams: Sequence[Scheduler],
        *,
        gauges: Gauges,
        clock: Clock,
        noticed: Callable[[str, str, dict[str, Any]], None],
    ) -> None:
        """Find out which variants there are to step down to.

        Args:
            config: When to work less.
            assembly: What opens another variant.
            streams: What is governed.
            gauges: What shows how the board does.
            clock: For how long a level is kept.
            noticed: Told of each change (dotted name, message, detail), on the event loop.
        """
        self._config, self._assembly, self._streams = config, assembly, streams
        self._gauges, self._clock, self._noticed = gauges, clock, noticed
        self._ladders = {
            (stream.pipeline.stream, model.name): ladder(model, settings)
            for stream in streams
            for model, settings in zip(
                stream.pipeline.models, assembly.config.streams[stream.pipeline.stream].models, strict=True
            )
        }
        self._variants = max(len(steps) for steps in self._ladders.values()) - 1
        limits = Limits(hot_c=config.hot_c, cool_c=config.cool_c, behind_s=config.behind_s, hold_s=config.hold_s)
        self.governor = Governor(limits, levels=self._variants + _THINNED)

    @property
    def flags(self) -> tuple[str, ...]:
        """What the station's health says: nothing while all work is done."""
        level = self.governor.level
        return (f"governor.{self.governor.reason}.{level}",) if level else ()

    async def run(self) -> None:
        """Look, choose, apply; until cancelled."""
        while True:
            vitals = await anyio.to_thread.run_sync(self._gauges.read)
            strain = Strain(
                temperature_c=vitals.temperature_c,
                throttled=bool(vitals.throttled),
                behind_s=max(stream.behind_s() for stream in self._streams),
            )
            before = self.governor.level
            level = self.governor.look(strain, now_ns=self._clock.monotonic_ns())
            if level != before:
                await anyio.to_thread.run_sync(self._apply, level)
                self._tell(level, before, strain)
            await anyio.sleep(self._config.look_every_s)

    def _apply(self, level: int) -> None:
        """Open the variants of a level, and thin out windows beyond the last of them."""
        for stream in self._streams:
            settings = self._assembly.config.streams[stream.pipeline.stream].models
            for model, chosen in zip(stream.pipeline.models, settings, strict=True):
                steps = self._ladders[stream.pipeline.stream, model.name]
                self._turn(stream, model, chosen, steps[min(level, len(steps) - 1)])
            stream.every = 1 << max(0, level - self._variants)

    def _turn(self, stream: Scheduler, model: Model, settings: ModelConfig, precision: str) -> None:
        if model.backend.variant.precision == precision:
            return
        threads = stream.threads(model.name)
        try:
            other = self._assembly.model(msgspec.structs.replace(settings, precision=precision, threads=threads))
        except EdgeError as error:  # the variant that runs goes on
            log.warning("variant cannot be opened", extra={"model": model.name, "why": str(error)})
            return
        stream.replace(model, other)
        model.close()

    def _tell(self, level: int, before: int, strain: Strain) -> None:
        models = {
            f"{stream.pipeline.stream}.{model.name}": model.backend.variant.precision
            for stream in self._streams
            for model in stream.pipeline.models
        }
        every = self._streams[0].every
        self._noticed(
            "governor.less" if level > before else "governor.more",
            f"Work is {'less' if level > before else 'more'}: level {level}"
            + (f", because the board is {self.governor.reason}." if self.governor.reason else ", all is well."),
            {"level": level, "temperature_c": strain.temperature_c, "models": models, "every": every},
        )


def ladder(model: Model, settings: ModelConfig) -> tuple[str, ...]:
    """Precisions to step down to, the one that runs first: variants of the same format, each smaller than the last.

    With delegates there is only the one: what a delegate takes of another variant is not known.
    """
    running, manifest = model.backend.variant, model.bundle.manifest
    if settings.delegates:
        return (running.precision,)
    smaller = [
        variant
        for variant in manifest.variants
        if variant.format == running.format and manifest.files[variant.file].bytes < manifest.files[running.file].bytes
    ]
    smaller.sort(key=lambda variant: -manifest.files[variant.file].bytes)
    return (running.precision, *(variant.precision for variant in smaller))
