"""Merged models beside the separate run, with the very fusers and pipeline that a station has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from converters.merge.fusion import Fusion
from converters.merge.merging import merge_variants
from converters.merge.onnx import build_onnx
from converters.merge.plan import Plan, make_plan
from converters.merge.tflite import build_tflite
from edge_sdk.base.errors import ConversionError
from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.manifest import Channel, Step, Windowing
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.fusion.base import Fuser
from edge_sdk.fusion.pools import LogOpinionPool, WeightedMean
from edge_sdk.inference.model import Model
from edge_sdk.runtime.pipeline import Pipeline
from tests.models import CHANNELS, INPUT, LENGTH, tiny_bundle

BUILDS = {"tflite": build_tflite, "onnx": build_onnx}
RUNTIMES = {"tflite": "litert", "onnx": "onnxruntime"}
RATE_HZ = 2.0


def member(directory: Path, name: str, seed: int, **changes: Any) -> Bundle:
    """A tiny model with preprocessing of its own."""
    rng = np.random.default_rng(100 + seed)
    steps = (
        Step(kind="standardize", options={"mean": rng.normal(size=2).tolist(), "std": rng.uniform(1, 2, 2).tolist()}),
        Step(kind="clip", options={"minimum": -2.0 - seed, "maximum": 2.0}),
    )
    return tiny_bundle(directory / f"{name}.edge", name=name, seed=seed, **{"preprocess": steps, **changes})


def merged(plan: Plan, directory: Path) -> Bundle:
    manifest, files, reports = merge_variants(plan, BUILDS)
    assert all(report.agreement == 1.0 and report.worst < 1e-5 for report in reports)
    return write_bundle(directory / f"{plan.name}.edge", manifest, files, key=None)


def readings(n: int = 60, *, sensor: str = "thing", channels: int = CHANNELS) -> list[Reading]:
    samples = np.random.default_rng(7).normal(0, 3, (n, channels)).astype(np.float32)
    step_ns = round(1e9 / RATE_HZ)
    return [
        Reading(sensor, samples[at : at + 5], at * step_ns, rate_hz=RATE_HZ, observed_ns=1) for at in range(0, n, 5)
    ]


def said(pipeline: Pipeline, given: list[Reading]) -> NDArray[np.float64]:
    results = [result for reading in given for result in pipeline.push(reading)]
    return np.array([[*result.probabilities.values()] for result in results])  # type: ignore[union-attr]


@pytest.mark.parametrize("format", ["tflite", "onnx"])
@pytest.mark.parametrize(
    ("fusion", "fuser"),
    [
        (Fusion(), LogOpinionPool()),
        (
            Fusion(weights={"a": 2.0, "c": 0.5}, floor=0.01, temper=0.4),
            LogOpinionPool(LogOpinionPool.Options(weights={"a": 2.0, "c": 0.5}, floor=0.01, temper=0.4)),
        ),
        (
            Fusion(method="weighted_mean", weights={"b": 3.0}),
            WeightedMean(WeightedMean.Options(weights={"b": 3.0})),
        ),
    ],
)
def test_a_pipeline_with_the_merged_model_says_what_it_says_with_the_members(
    tmp_path: Path, format: str, fusion: Fusion, fuser: Fuser
) -> None:
    members = [
        member(tmp_path, "a", 0),
        member(tmp_path, "b", 1, temperature=2.0),
        member(tmp_path, "c", 2, preprocess=()),
    ]
    bundle = merged(make_plan(members, fusion, name="all"), tmp_path)
    runtime = RUNTIMES[format]

    separate = said(Pipeline([Model.open(one, runtime=runtime) for one in members], fuser), readings())
    alone = LogOpinionPool(LogOpinionPool.Options(floor=1e-9))
    together = said(Pipeline([Model.open(bundle, runtime=runtime)], alone), readings())

    assert len(separate) == len(together) > 20
    np.testing.assert_allclose(together, separate, atol=2e-4)  # results are rounded to 4 decimals


@pytest.mark.parametrize("format", ["tflite", "onnx"])
def test_members_of_different_sensors_read_one_that_has_all_their_channels(tmp_path: Path, format: str) -> None:
    members = [member(tmp_path, "left", 0, sensor="left"), member(tmp_path, "right", 1, sensor="right")]
    plan = make_plan(members, Fusion(), name="both", sensor="board")
    bundle = merged(plan, tmp_path)
    given = readings(sensor="board", channels=4)
    halves = [
        Reading(name, one.samples[:, part], one.start_ns, rate_hz=RATE_HZ, observed_ns=1)
        for one in given
        for name, part in (("left", slice(0, 2)), ("right", slice(2, 4)))
    ]

    assert [channel.name for channel in bundle.manifest.channels] == ["left.a", "left.b", "right.a", "right.b"]
    separate = said(Pipeline([Model.open(one, runtime=RUNTIMES[format]) for one in members]), halves)
    together = said(Pipeline([Model.open(bundle, runtime=RUNTIMES[format])]), given)
    np.testing.assert_allclose(together, separate[: len(together)], atol=2e-3)


def test_members_may_read_some_of_the_channels_each(tmp_path: Path) -> None:
    """The second one reads the second channel first, and one more."""
    swapped = (Channel(name="b", unit="V"), Channel(name="z", unit="V"))
    members = [member(tmp_path, "one", 0), member(tmp_path, "two", 1, channels=swapped)]
    plan = make_plan(members, Fusion(), name="both")

    bundle = merged(plan, tmp_path)

    assert [channel.name for channel in bundle.manifest.channels] == ["a", "b", "z"]
    assert plan.members[1].columns == (1, 2)


def test_estimates_are_pooled_by_precision_as_the_station_does(tmp_path: Path) -> None:
    """Two regressions with stated deviations; the merged bundle states the pooled one."""
    members = []
    for index, (name, std) in enumerate((("p", 0.5), ("q", 2.0))):
        rng = np.random.default_rng(index)
        w = rng.normal(size=(1, LENGTH * CHANNELS)).astype(np.float32)
        good = tiny_bundle(tmp_path / f"{name}.edge", name=name)
        output = TensorSpec(name="p", shape=(1, 1), dtype="float32")
        variant = msgspec.structs.replace(
            good.manifest.variants[1], file="float32.onnx", outputs=(output,), check_output=""
        )
        manifest = msgspec.structs.replace(
            good.manifest, task="regression", labels=(), unit="m", error_std=std, variants=(variant,)
        )
        files = {**good.files, "float32.onnx": dense(w)}
        members.append(write_bundle(tmp_path / f"{name}.edge", manifest, files, key=None))
    bundle = merged(make_plan(members, Fusion(), name="level"), tmp_path)

    separate = Pipeline([Model.open(one) for one in members], LogOpinionPool())
    together = Pipeline([Model.open(bundle)], LogOpinionPool())
    pairs = [
        (mine, theirs)
        for reading in readings()
        for mine, theirs in zip(together.push(reading), separate.push(reading), strict=True)
    ]

    assert len(pairs) > 20
    for mine, theirs in pairs:
        assert mine.value == pytest.approx(theirs.value, abs=2e-4)
        assert mine.std == pytest.approx(theirs.std, abs=2e-4)


def dense(w: NDArray[np.float32]) -> bytes:
    """A linear model with one output."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("Gemm", ["flat", "w"], ["p"], transB=1)],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, INPUT.shape)],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, (1, 1))],
        [numpy_helper.from_array(w, "w")],
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8).SerializeToString()
    )


def test_the_merged_bundle_is_proved_like_any_other_and_says_what_it_is_made_of(tmp_path: Path) -> None:
    members = [member(tmp_path, "a", 0), member(tmp_path, "b", 1)]
    bundle = merged(make_plan(members, Fusion(), name="both"), tmp_path)

    for runtime in RUNTIMES.values():
        assert Model.open(bundle, runtime=runtime).check() < 1e-6
    assert bundle.manifest.provenance["merged"] == {one.manifest.name: one.digest for one in members}
    assert {variant.runtimes.keys() >= {"litert"} for variant in bundle.manifest.variants} == {True, False}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": ("x", "y", "z")}, "same question"),
        ({"windowing": Windowing(length=LENGTH, stride=4, rate_hz=RATE_HZ)}, "share no trigger"),
        ({"sensor": "other"}, "--sensor"),
        ({"channels": (Channel(name="a", unit="mV"), Channel(name="b", unit="V"))}, "'a' is in V"),
        ({"name": "a"}, "same name"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    one, other = member(tmp_path, "a", 0), member(tmp_path, "b", 1)
    other = write_bundle(
        tmp_path / "other.edge", msgspec.structs.replace(other.manifest, **changes), other.files, key=None
    )

    with pytest.raises(ConversionError, match=words):
        make_plan([one, other], Fusion(), name="both")


def test_members_without_a_common_format_are_refused(tmp_path: Path) -> None:
    one, other = member(tmp_path, "a", 0), member(tmp_path, "b", 1)
    halves = []
    for bundle, variant in zip((one, other), one.manifest.variants, strict=True):
        manifest = msgspec.structs.replace(bundle.manifest, variants=(variant,))
        halves.append(write_bundle(tmp_path / f"{manifest.name}2.edge", manifest, bundle.files, key=None))

    with pytest.raises(ConversionError, match="in common"):
        merge_variants(make_plan(halves, Fusion(), name="both"), BUILDS)


def test_a_weight_of_nobody_and_no_weight_at_all_are_refused(tmp_path: Path) -> None:
    members = [member(tmp_path, "a", 0), member(tmp_path, "b", 1)]

    with pytest.raises(ConversionError, match="Did you mean 'a'"):
        make_plan(members, Fusion(weights={"aa": 1.0}), name="both")
    with pytest.raises(ConversionError, match="weigh nothing"):
        make_plan(members, Fusion(weights={"a": 0.0, "b": 0.0}), name="both")


def test_a_graph_that_answers_otherwise_is_not_written(tmp_path: Path) -> None:
    members = [member(tmp_path, "a", 0), member(tmp_path, "b", 1)]
    plan = make_plan(members, Fusion(), name="both")
    other = make_plan(members, Fusion(weights={"a": 9.0}), name="both")

    with pytest.raises(ConversionError, match="differs from the separate run"):
        merge_variants(plan, {"onnx": lambda _, variants: build_onnx(other, variants)})


def test_the_same_members_give_the_same_bytes(tmp_path: Path) -> None:
    members = [member(tmp_path, "a", 0), member(tmp_path, "b", 1)]
    plan = make_plan(members, Fusion(), name="both")
    variants = {kind: [one.variant(format=kind) for one in members] for kind in BUILDS}

    for kind, build in BUILDS.items():
        assert build(plan, variants[kind])[0] == build(plan, variants[kind])[0]
