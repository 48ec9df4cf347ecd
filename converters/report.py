"""The report: what a person sees after a conversion, and what ``--json`` holds."""

from __future__ import annotations

from typing import Literal

import msgspec

from edge_sdk.contract.manifest import Coverage

LOWER_IS_BETTER = frozenset({"mae", "mae_to_float"})


class VariantReport(msgspec.Struct, frozen=True, kw_only=True):
    """One variant, measured.

    Latency stands here and not in the bundle: it differs from run to run, and the bundle's digest must not.

    Attributes:
        name: The bundle's name.
        precision: The scheme's name.
        format: ``tflite`` or ``onnx``.
        bytes: Size of the model.
        metric: ``accuracy``, ``mae``; ``agreement`` and ``mae_to_float`` where no truth was given.
        float_value: (``float`` in JSON) The metric of the float source.
        quantized: The metric of this variant, on the same data.
        interval: 95 % interval of `quantized`.
        n: Number of evaluation windows.
        worst: Largest difference of any output from the float source's.
        latency_ms: p50 of one call on this machine, one thread.
        float_latency_ms: The same of float32 in the same format, measured in turn with it.
        coverage: What each delegate takes.
        runtimes: Lowest version of each runtime that runs it.
        proved_on: The runtime that it was proved on.
        features_error: Root mean square difference of the features from the float source's, as a share of their own
            spread; None where the model hands on none.
        is_in_bundle: Whether the bundle holds it; ``--precision auto`` measures more than it keeps.
        why: Why it was chosen or left out by ``--precision auto``; empty without it.
    """

    name: str
    precision: str
    format: Literal["tflite", "onnx"]
    bytes: int
    metric: str
    float_value: float = msgspec.field(name="float")
    quantized: float
    interval: tuple[float, float]
    n: int
    worst: float
    latency_ms: float
    float_latency_ms: float
    coverage: tuple[Coverage, ...]
    runtimes: dict[str, str]
    proved_on: str
    features_error: float | None = None
    is_in_bundle: bool = True
    why: str = ""

    @property
    def is_slower(self) -> bool:
        """Whether it is slower than float here, beyond what timing noise explains."""
        return self.precision != "float32" and self.latency_ms > 1.05 * self.float_latency_ms
