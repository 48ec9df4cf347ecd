"""An explanation: a bundle opened again, run on this machine, and its variants compared layer by layer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from converters.evaluate.histogram import Histogram
from converters.evaluate.latency import median_ms, side_by_side
from converters.evaluate.layers import LayerError, blame, layer_errors
from converters.report import VariantReport
from converters.targets.delegation import Delegation, delegation, format_of
from converters.targets.graph import read_graph
from converters.targets.seen import seen_on_xnnpack
from edge_sdk.base import plugins
from edge_sdk.base.errors import BundleError
from edge_sdk.boards.profile import read_board
from edge_sdk.contract.bundle import Bundle
from edge_sdk.contract.manifest import Channel, Variant
from edge_sdk.inference.base import Backend, BackendRequest

_ELSEWHERE = {"confusion", "histograms", "layers", "notes", "recipe", "temperature"}
RUNTIME = {"tflite": "litert", "onnx": "onnxruntime"}


class VariantExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """One variant, as it is and as it runs here.

    Attributes:
        precision: The scheme's name.
        format: ``tflite`` or ``onnx``.
        bytes: Size of the model.
        metric: Name of the recorded metric.
        float_value: Of the float source, recorded when it was converted.
        value: Of this variant.
        low: Lower end of its 95 % interval.
        high: Upper end.
        latency_ms: p50 on this machine, measured now.
        float_latency_ms: The same of the bundle's float32 variant, in turn with it; None without one.
        difference: Largest difference from its recorded answers, here and now.
        tolerance: The largest that is right.
        runtimes: Lowest version of each runtime that runs it.
        layers: Error by layer against float32 of the same format, recorded when it was converted; else measured
            against the bundle's float32 variant; empty without one.
        delegations: What each delegate takes.
    """

    precision: str
    format: str
    bytes: int
    metric: str
    float_value: float
    value: float
    low: float
    high: float
    latency_ms: float
    float_latency_ms: float | None
    difference: float
    tolerance: float
    runtimes: dict[str, str]
    layers: tuple[LayerError, ...]
    delegations: tuple[Delegation, ...]

    @property
    def verdict(self) -> str:
        """Faster or slower than float, in words."""
        if self.float_latency_ms is None or self.precision == "float32":
            return ""
        ratio = self.float_latency_ms / self.latency_ms
        return f"{ratio:.2f} times as fast" + (" (slower!)" if ratio < 0.95 else "")

    @property
    def float_pace(self) -> str:
        """p50 of float32 beside it in ms, in words where there is none."""
        if self.float_latency_ms is None:
            return "is float itself" if self.precision == "float32" else "not in the bundle"
        return f"{self.float_latency_ms:.3f}"

    @property
    def is_slower(self) -> bool:
        """Whether it is slower than float here, beyond what timing noise explains."""
        return self.float_latency_ms is not None and self.latency_ms > 1.05 * self.float_latency_ms

    @property
    def worst_layer(self) -> str:
        """The first layer where most of the signal is lost and what to try, in words; empty where there is none."""
        return blame(self.layers)


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle, explained.

    Attributes:
        name: The model's name.
        bundle: The file's name.
        digest: Of the bundle.
        signed: Who signed it, in words.
        variants: In the bundle's order.
        card: What the model takes and gives: the model card.
        provenance: Where it came from.
        labels: What the outputs mean.
        confusion: Of the first variant on the evaluation data: rows are the truth; empty where there was none.
        histograms: Of the calibration data.
        notes: What the user should know.
        trail: All that ``--precision auto`` measured; empty where it was not asked for, or long ago.
    """

    name: str
    bundle: str
    digest: str
    signed: str
    variants: tuple[VariantExplanation, ...]
    card: dict[str, str]
    provenance: dict[str, str]
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    histograms: tuple[Histogram, ...] = ()
    notes: tuple[str, ...] = ()
    trail: tuple[VariantReport, ...] = ()


def explain(bundle: Bundle, *, trail: Sequence[VariantReport] = ()) -> Explanation:
    """Open every variant in its runtime, run the recorded check inputs, compare, time.

    Args:
        bundle: What to explain.
        trail: What was measured when it was converted, if that was just now.

    Raises:
        BundleError: It holds nothing that runs here.
    """
    manifest = bundle.manifest
    here = [variant for variant in manifest.variants if not _is_compiled(bundle, variant)]
    left = [variant.file for variant in manifest.variants if variant not in here]
    if not here:
        raise BundleError(f"{bundle.path.name} is compiled for the Edge TPU alone: nothing here can run it.")
    notes = [f"{file} is compiled for the Edge TPU: nothing here can run it." for file in left]
    floats = {variant.format: variant for variant in here if variant.precision == "float32"}
    return Explanation(
        name=manifest.name,
        bundle=bundle.path.name,
        digest=bundle.digest,
        signed=f"signed by key {bundle.signer.key_id}" if bundle.signer else "not signed",
        variants=tuple(_explain(bundle, variant, floats.get(variant.format)) for variant in here),
        card=_card(bundle),
        provenance={key: _text(value) for key, value in manifest.provenance.items() if key not in _ELSEWHERE},
        labels=manifest.labels,
        confusion=msgspec.convert(manifest.provenance.get("confusion", ()), tuple[tuple[int, ...], ...]),
        histograms=msgspec.convert(manifest.provenance.get("histograms", ()), tuple[Histogram, ...]),
        notes=(*manifest.provenance.get("notes", ()), *notes),
        trail=tuple(trail),
    )


def _is_compiled(bundle: Bundle, variant: Variant) -> bool:
    return variant.format == "tflite" and read_graph(bundle.files[variant.file]).is_compiled


def _explain(bundle: Bundle, variant: Variant, floating: Variant | None) -> VariantExplanation:
    model = bundle.files[variant.file]
    backend = _open(bundle, variant)
    checks = bundle.array(bundle.manifest.check_input)
    shape = variant.inputs[0].shape
    inputs = [np.ascontiguousarray(check.reshape(shape)) for check in checks]
    recorded = bundle.array(variant.check_output)
    answers = np.stack([backend.run([window])[0].reshape(-1) for window in inputs])
    runs = [lambda: backend.run([inputs[0]])]
    if floating is not None and floating is not variant:
        other = _open(bundle, floating)
        runs.append(lambda: other.run([inputs[0]]))
    times = side_by_side(runs)
    recorded_layers = bundle.manifest.provenance.get("layers", {}).get(variant.file, ())
    layers = msgspec.convert(recorded_layers, tuple[LayerError, ...])
    if not layers and floating is not None and floating is not variant:
        layers = layer_errors(bundle.files[floating.file], model, inputs)
    metric = variant.metrics[0] if variant.metrics else None
    return VariantExplanation(
        precision=variant.precision,
        format=variant.format,
        bytes=len(model),
        metric=metric.name if metric else "",
        float_value=metric.float_value if metric else 0.0,
        value=metric.value if metric else 0.0,
        low=metric.low if metric else 0.0,
        high=metric.high if metric else 0.0,
        latency_ms=median_ms(times[0]),
        float_latency_ms=median_ms(times[1]) if len(times) > 1 else None,
        difference=float(np.abs(answers - recorded.reshape(answers.shape)).max()),
        tolerance=variant.tolerance,
        runtimes=variant.runtimes,
        layers=layers,
        delegations=_delegations(bundle, variant),
    )


def _delegations(bundle: Bundle, variant: Variant) -> tuple[Delegation, ...]:
    model = bundle.files[variant.file]
    graph = read_graph(model)
    found = [seen_on_xnnpack(model)] if variant.format == "tflite" else []
    if bundle.manifest.board:
        rules = read_board(bundle.manifest.board).rules
        found += [delegation(graph, name) for name in rules if name != "xnnpack" and format_of(name) == variant.format]
    return tuple(found)


def _open(bundle: Bundle, variant: Variant) -> Backend:
    opener: Any = plugins.load("edge_sdk.backends", RUNTIME[variant.format])
    backend: Backend = opener(bundle.files[variant.file], variant, BackendRequest())
    return backend


def _card(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    window = manifest.windowing
    return {
        "task": manifest.task,
        "sensor": manifest.sensor,
        "channels": ", ".join(_channel(channel) for channel in manifest.channels),
        "window": f"{window.length} samples at {window.rate_hz:g} Hz, every {window.stride}",
        "preprocessing": _text([msgspec.to_builtins(step) for step in manifest.preprocess]),
        "labels": ", ".join(manifest.labels) or "-",
        "unit": manifest.unit or "-",
        "temperature": f"{manifest.temperature:g}{_fitted(manifest.provenance.get('temperature'))}",
        "board": manifest.board or "any",
    }


def _fitted(temper: dict[str, Any] | None) -> str:
    if not temper:
        return ""
    return (
        f", fitted on {temper['n']} windows: calibration error {temper['ece_before']:.1%} without it, "
        f"{temper['ece']:.1%} with it"
    )


def _channel(channel: Channel) -> str:
    low, high = channel.minimum, channel.maximum
    bounds = f" {'-∞' if low is None else f'{low:g}'}…{'∞' if high is None else f'{high:g}'}"
    return channel.name + (bounds if low is not None or high is not None else "") + f" {channel.unit}".rstrip()


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
