"""Merging, from bundles to a bundle: build, compare with the separate run, time beside it, write."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.merge.parity import N_RECORDED, Parity, compare, windows_for
from converters.merge.plan import Plan
from converters.package import CHECK_INPUT
from edge_sdk import __version__
from edge_sdk.base.errors import ConversionError
from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.manifest import Manifest, Variant
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.contract.trust import SigningKey

_LEAST_TOLERANCE = 1e-4

Build = Callable[[Plan, Sequence[Variant]], tuple[bytes, TensorSpec, TensorSpec, dict[str, str]]]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One merged variant beside the separate run of its members.

    Attributes:
        format: ``onnx`` or ``tflite``.
        precision: The members', or ``mixed``.
        bytes: Size of the merged model.
        members_bytes: Size of its members together.
        worst: Largest difference from the separate run.
        agreement: Share of windows in which both name the same label.
        merged_ms: Median of one call: preprocessing, members, fusion.
        separate_ms: Median of the same one after the other.
    """

    format: str
    precision: str
    bytes: int
    members_bytes: int
    worst: float
    agreement: float
    merged_ms: float
    separate_ms: float

    @property
    def is_faster(self) -> bool:
        """Whether merging pays on this machine."""
        return self.merged_ms < self.separate_ms


def merge_variants(
    plan: Plan, builds: Mapping[str, Build], *, precision: str | None = None
) -> tuple[Manifest, dict[str, bytes], list[Report]]:
    """Merge what the members have in common.

    Args:
        plan: What is to be made.
        builds: How a graph is built, by format; the first is the bundle's first variant.
        precision: Of every member; None = each one's first in the format.

    Returns:
        The manifest, its members' files, and what was seen of each variant.

    Raises:
        ConversionError: They have no format in common, a graph cannot be built, or it answers otherwise.
    """
    windows = windows_for(plan)
    files = {CHECK_INPUT: _npy(windows[:N_RECORDED])}
    variants, reports = [], []
    for kind, build in builds.items():
        chosen = [_variant(member.bundle, kind, precision) for member in plan.members]
        if any(variant is None for variant in chosen):
            continue
        parts = [variant for variant in chosen if variant is not None]
        variant, model, parity = _merge(plan, parts, build, kind, windows)
        files[variant.file] = model
        files[variant.check_output] = _npy(parity.answers)
        variants.append(variant)
        size = sum(len(member.bundle.files[part.file]) for member, part in zip(plan.members, parts, strict=True))
        reports.append(
            Report(
                format=kind,
                precision=variant.precision,
                bytes=len(model),
                members_bytes=size,
                worst=parity.worst,
                agreement=parity.agreement,
                merged_ms=parity.merged_ms,
                separate_ms=parity.separate_ms,
            )
        )
    if not variants:
        has = "; ".join(
            f"{member.name}: {', '.join(f'{v.precision} {v.format}' for v in member.manifest.variants)}"
            for member in plan.members
        )
        wanted = " or ".join(builds)
        raise ConversionError(f"The members have no {precision or 'variant'} in common as {wanted}. They have {has}.")
    return _manifest(plan, variants), files, reports


def write_merged(path: Path, manifest: Manifest, files: Mapping[str, bytes], key: Path | None) -> Bundle:
    """Write the bundle, signed where a key is given."""
    return write_bundle(path, manifest, files, key=SigningKey.read(key) if key else None)


def _merge(
    plan: Plan, parts: Sequence[Variant], build: Build, format: str, windows: NDArray[np.float32]
) -> tuple[Variant, bytes, Parity]:
    model, given, answer, runtimes = build(plan, parts)
    precisions = {part.precision for part in parts}
    precision = precisions.pop() if len(precisions) == 1 else "mixed"
    file = f"{precision}.{format}"
    tolerance = max(_LEAST_TOLERANCE, *(part.tolerance for part in parts))
    variant = Variant(
        file=file,
        format="onnx" if format == "onnx" else "tflite",
        precision=precision,
        inputs=(given,),
        outputs=(answer,),
        runtimes=runtimes,
        check_output=f"{file}.check.npy",
        tolerance=tolerance,
    )
    parity = compare(plan, parts, model, variant, windows)
    if not parity.worst <= 2 * tolerance:
        raise ConversionError(
            f"The merged {precision} {format} model differs from the separate run by {parity.worst:.4g}; "
            f"{2 * tolerance:.4g} is right. Nothing was written. Merge another precision, or fuse in a stream."
        )
    variant = msgspec.structs.replace(variant, latency_ms=round(parity.merged_ms, 4))
    return variant, model, parity


def _manifest(plan: Plan, variants: Sequence[Variant]) -> Manifest:
    first = plan.members[0].manifest
    ranges = [member.manifest.value_range for member in plan.members]
    boards = {member.manifest.board for member in plan.members}
    return Manifest(
        name=plan.name,
        task=first.task,
        sensor=plan.sensor,
        channels=plan.channels,
        windowing=plan.windowing,
        labels=first.labels,
        unit=first.unit,
        value_range=_hull([span for span in ranges if span is not None]) if all(ranges) else None,
        error_std=plan.error_std,
        board=boards.pop() if len(boards) == 1 else "",
        variants=tuple(variants),
        check_input=CHECK_INPUT,
        files={},
        provenance=_provenance(plan),
    )


def _provenance(plan: Plan) -> dict[str, Any]:
    return {
        "merged": {member.name: member.bundle.digest for member in plan.members},
        "fusion": msgspec.to_builtins(plan.fusion),
        "versions": {"edge-sdk": __version__},
    }


def _hull(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _variant(bundle: Bundle, format: str, precision: str | None) -> Variant | None:
    fits = (one for one in bundle.manifest.variants if one.format == format and precision in {None, one.precision})
    return next(fits, None)


def _npy(array: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
