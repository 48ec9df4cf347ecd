"""The automatic choice: of all that was made and proved, the fastest that is still right, and why."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from converters.report import VariantReport
from edge_sdk.base.errors import ConversionError

_ALIKE = 1.10


def choose(rows: Sequence[VariantReport], max_drop: float) -> list[VariantReport]:
    """Mark the one to keep, and say of each why or why not.

    Of the variants that lose no more than `max_drop` against float the fastest wins; of those within 10 % of its time
    the smallest.

    Args:
        rows: Every variant that was proved.
        max_drop: Percentage points of accuracy or agreement, or percent of the mean absolute error.

    Raises:
        ConversionError: None is within `max_drop`; the nearest is named.
    """
    right = [row for row in rows if drop(row) <= max_drop + 1e-9]
    if not right:
        nearest = min(rows, key=drop)
        raise ConversionError(
            f"No variant stays within --max-drop {max_drop:g}: the nearest, {nearest.precision} {nearest.format}, "
            f"loses {drop(nearest):.2f}. Allow more, give more calibration data, or train with quantization in mind."
        )
    fastest = min(row.latency_ms for row in right)
    alike = [row for row in right if row.latency_ms <= _ALIKE * fastest]
    best = min(alike, key=lambda row: (row.bytes, row.latency_ms))
    return [msgspec.structs.replace(row, is_in_bundle=row is best, why=_why(row, best, max_drop)) for row in rows]


def drop(row: VariantReport) -> float:
    """What a variant loses against float: percentage points, or percent of the mean absolute error; never negative."""
    if row.metric in {"accuracy", "agreement", "auc"}:
        return max(0.0, 100 * (row.float_value - row.quantized))
    if row.float_value <= 0:
        return 0.0 if row.quantized <= 0 else float("inf")
    return max(0.0, 100 * (row.quantized / row.float_value - 1))


def _why(row: VariantReport, best: VariantReport, max_drop: float) -> str:
    if row is best:
        return "chosen: the fastest within the limit, the smallest of its speed"
    if drop(row) > max_drop + 1e-9:
        return f"loses {drop(row):.2f}, allowed are {max_drop:g}"
    if row.latency_ms > _ALIKE * best.latency_ms:
        return f"{row.latency_ms / best.latency_ms:.2f} times as slow"
    if row.bytes == best.bytes:
        return "as good; the chosen one is the faster by a little"
    return f"{row.bytes / best.bytes:.3g} times as large"
