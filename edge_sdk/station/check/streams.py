"""Streams: bundles opened, delegates loaded, recorded answers compared, and whether sensor and model fit together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping

import numpy as np

from edge_sdk.base.errors import EdgeError
from edge_sdk.config.station import ModelConfig, StreamConfig
from edge_sdk.contract.manifest import Manifest
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.window import Window
from edge_sdk.inference.model import Model
from edge_sdk.station.assembly import Assembly
from edge_sdk.station.check.finding import Finding, attempt, bad, failed, note, well

_CONFIG = 78
_ROUNDS = 20


def sensors_read(assembly: Assembly) -> set[str] | None:
    """Names of the sensors that models read; None when a bundle cannot be opened."""
    read = set()
    for settings in assembly.config.streams.values():
        for chosen in settings.models:
            if chosen.sensor is not None:
                read.add(chosen.sensor)
                continue
            try:
                read.add(assembly.bundle(chosen).manifest.sensor)
            except EdgeError:  # told where the model was tried
                return None
    return read


def check(assembly: Assembly, readings: Mapping[str, Reading]) -> Iterator[Finding]:
    """Every model by itself, then every stream.

    Args:
        assembly: What the configuration says.
        readings: The first reading of each sensor that gave one.
    """
    load = 0.0
    for stream, settings in assembly.config.streams.items():
        all_open = True
        for chosen in settings.models:
            what = f"model {chosen.bundle.name}"
            try:
                model = assembly.model(chosen)
            except EdgeError as error:
                yield failed(what, error)
                all_open = False
                continue
            try:
                cost_s = _cost_s(model)
                windowing = model.bundle.manifest.windowing
                load += cost_s * windowing.rate_hz / windowing.stride
                yield _told(what, model, cost_s)
                yield from _fits(what, assembly, chosen, model.bundle.manifest, readings)
            finally:
                model.close()
        if all_open:
            yield attempt(f"stream {stream}", lambda: _stream(assembly, stream, settings))  # noqa: B023
    yield from _loaded(load)


def _told(what: str, model: Model, cost_s: float) -> Finding:
    used, worst = model.in_use(), model.check()
    delegates = ", ".join(used.delegates) or "no delegate"
    detail = f"{used.variant} on {used.runtime}, {delegates}, recorded answers within {worst:.2g}, "
    detail += f"{cost_s * 1e3:.2g} ms a window"
    if used.fallback:
        return note(
            what, f"{detail}; FALLBACK to the CPU", f"Asked for was {used.fallback} Mend that, or ask for no delegate."
        )
    if not (model.bundle.manifest.check_input and model.backend.variant.check_output):
        return note(
            what, f"{detail}; the bundle records no answers to compare", "Convert it anew with calibration data."
        )
    return well(what, detail)


def _fits(
    what: str, assembly: Assembly, chosen: ModelConfig, manifest: Manifest, readings: Mapping[str, Reading]
) -> Iterator[Finding]:
    """Whether what the sensor gives is what the model was made for."""
    sensor = chosen.sensor or manifest.sensor
    reading = readings.get(sensor)
    if reading is None or sensor not in assembly.config.sensors:  # both are told elsewhere
        return
    wanted = ", ".join(f"{channel.name} {channel.unit}".strip() for channel in manifest.channels)
    given = reading.samples.shape[1]
    if given != len(manifest.channels):
        yield bad(
            what,
            f"sensor {sensor} gives {given} channels, the model wants {len(manifest.channels)} ({wanted})",
            "Name another sensor beside the bundle, or let this one give those channels, in that order.",
            exit_code=_CONFIG,
        )
        return
    yield from _same_channels(what, assembly, sensor, manifest)
    yield from _units(what, assembly, sensor, manifest)
    rate_hz = manifest.windowing.rate_hz
    if reading.rate_hz and reading.rate_hz < 0.5 * rate_hz:
        yield note(
            what,
            f"sensor {sensor} gives {reading.rate_hz:g} samples a second, the model was made for {rate_hz:g}",
            "Most of each window would be interpolated, and rejected: raise the sensor's rate.",
        )
    for index, channel in enumerate(manifest.channels):
        values = reading.samples[:, index]
        values = values[np.isfinite(values)]
        low, high = channel.minimum, channel.maximum
        if len(values) and ((low is not None and values.min() < low) or (high is not None and values.max() > high)):
            yield note(
                what,
                f"{channel.name} is {values.min():g} to {values.max():g}, possible are {low} to {high} {channel.unit}",
                "Is it another unit, another order of channels, or a loose wire?",
            )


def _same_channels(what: str, assembly: Assembly, sensor: str, manifest: Manifest) -> Iterator[Finding]:
    """Whether channels that have the model's names also have its order and units."""
    keeper = assembly.sensor(sensor)
    wanted, given = [channel.name for channel in manifest.channels], list(keeper.channels)
    if wanted != given and sorted(wanted) == sorted(given):
        yield bad(
            what,
            f"sensor {sensor} gives {', '.join(given)} in this order, the model wants {', '.join(wanted)}",
            f"Put them in order: write `channels: {{{', '.join(f'{name}: {{}}' for name in wanted)}}}` at the sensor.",
            exit_code=_CONFIG,
        )
        return
    for channel, name, unit in zip(manifest.channels, given, keeper.units, strict=True):
        if unit and channel.unit and unit != channel.unit:
            yield note(
                what,
                f"channel {name} of sensor {sensor} is in {unit}, the model was made for {channel.unit}",
                f"Write `channels: {{{name}: {{scale: …, unit: {channel.unit}}}}}` at the sensor.",
            )


def _units(what: str, assembly: Assembly, sensor: str, manifest: Manifest) -> Iterator[Finding]:
    """Whether what the sensor says of its units is what the model was made for."""
    given = assembly.sensor(sensor).units
    for channel, unit in zip(manifest.channels, given, strict=False):
        if channel.unit and unit and channel.unit != unit:
            yield note(
                what,
                f"sensor {sensor} gives {channel.name} in {unit}, the model was made for {channel.unit}",
                "Convert it under `channels:` of the sensor: scale, offset, unit.",
            )


def _cost_s(model: Model) -> float:
    """Median time of one window."""
    windowing, n_channels = model.bundle.manifest.windowing, len(model.bundle.manifest.channels)
    bounds = [(channel.minimum or 0.0, channel.maximum or 1.0) for channel in model.bundle.manifest.channels]
    middle = np.asarray([(low + high) / 2 for low, high in bounds], dtype=np.float32)
    samples = np.broadcast_to(middle, (windowing.length, n_channels))
    window = Window("check", 0, 1, np.ascontiguousarray(samples))
    taken = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        model.predict(window)
        taken.append(time.perf_counter() - begun)
    return sorted(taken)[_ROUNDS // 2]


def _loaded(load: float) -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    if load > 1.0:  # models of a station run one after the other
        yield bad(
            "load",
            f"the models want {load:.0%} of one core, and they run one after the other",
            "Take a smaller model, a longer stride, or a delegate.",
            exit_code=_CONFIG,
        )
    elif load > 0.0:
        yield well("load", f"the models want {load:.1%} of one of {cores} cores")


def _stream(assembly: Assembly, stream: str, settings: StreamConfig) -> str:
    pipeline = assembly.pipeline(stream, settings)
    pipeline.close()
    how = settings.fusion.file.name if settings.fusion.file else settings.fusion.method
    return f"{how} of {', '.join(model.name for model in pipeline.models)}"
