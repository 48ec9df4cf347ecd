from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from converters.auto import choose, drop
from converters.pipeline import convert
from converters.report import VariantReport
from edge_sdk.base.errors import ConversionError
from tests.models import CHANNELS, LENGTH, onnx_model, weights

FLOAT = VariantReport(
    name="m", precision="float32", format="tflite", bytes=400, metric="accuracy", float_value=0.90, quantized=0.90,
    interval=(0.8, 1.0), n=100, worst=0.0, latency_ms=1.0, float_latency_ms=1.0, coverage=(), runtimes={},
    proved_on="litert 2.3.0",
)  # fmt: skip


def _row(precision: str, **changes: object) -> VariantReport:
    return msgspec.structs.replace(FLOAT, precision=precision, **changes)


def test_the_fastest_within_the_limit_is_chosen_and_the_others_say_why_not() -> None:
    rows = choose(
        [
            _row("int8", quantized=0.85, latency_ms=0.3, bytes=100),
            _row("int16x8", quantized=0.899, latency_ms=0.6, bytes=110),
            _row("float16", latency_ms=0.62, bytes=105),
            FLOAT,
        ],
        0.5,
    )

    assert [row.is_in_bundle for row in rows] == [False, False, True, False]
    assert rows[0].why == "loses 5.00, allowed are 0.5"
    assert rows[1].why == "1.05 times as large"
    assert rows[3].why == "1.61 times as slow"


def test_when_nothing_is_right_the_nearest_is_named() -> None:
    with pytest.raises(ConversionError, match=r"the nearest, int8 tflite, loses 2\.00"):
        choose([_row("int8", quantized=0.88)], 0.5)


def test_a_regression_loses_percent_of_its_error() -> None:
    assert drop(_row("int8", metric="mae", float_value=2.0, quantized=2.1)) == pytest.approx(5.0)
    assert drop(_row("int8", metric="mae", float_value=2.0, quantized=1.9)) == 0.0


def test_auto_keeps_one_variant_and_reports_all(tmp_path: Path) -> None:
    path = tmp_path / "dense.onnx"
    path.write_bytes(onnx_model(weights()))
    x = np.random.default_rng(5).normal(size=(60, LENGTH, CHANNELS)).astype(np.float32)

    done = convert(path, calibration=x, precision=("auto",), max_drop=5.0, out=tmp_path / "out.edge")

    assert [row.precision for row in done.report] == [
        "int8",
        "int8-percentile",
        "mixed",
        "dynamic",
        "float16",
        "float32",
    ]
    [kept] = [row for row in done.report if row.is_in_bundle]
    assert [(variant.precision, variant.format) for variant in done.manifest.variants] == [(kept.precision, "onnx")]
    assert all(row.why for row in done.report)
