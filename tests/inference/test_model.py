from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_sdk.base.errors import (
    BackendUnavailableError,
    PluginError,
    TensorMismatchError,
    UnavailableReason,
    WrongAnswerError,
)
from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.manifest import Channel, Windowing
from edge_sdk.contract.prediction import ContributorState
from edge_sdk.contract.tensor import TensorSpec
from edge_sdk.inference.guards import Guards
from edge_sdk.inference.model import Model
from tests.models import CHANNELS, LABELS, LENGTH, expected, npy, tiny_bundle, weights, window

RUNTIMES = ["litert", "onnxruntime"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny.edge")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_answers_what_arithmetic_says(bundle: Bundle, runtime: str) -> None:
    model = Model.open(bundle, runtime=runtime)

    prediction = model.predict(window())

    assert prediction.state is ContributorState.FRESH
    assert prediction.probabilities is not None
    np.testing.assert_allclose(prediction.probabilities, expected(window().samples, weights()), atol=1e-5)
    assert prediction.probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert model.in_use().runtime.startswith(runtime)


def test_an_open_model_keeps_what_it_can_be_checked_with_and_no_models_files(bundle: Bundle) -> None:
    model = Model.open(bundle)

    assert set(model.bundle.files) == {"check-input.npy", "check-output.npy"}
    assert model.bundle.digest == bundle.digest
    assert model.check() < 1e-5


def test_a_temperature_above_one_makes_the_answer_softer(tmp_path: Path) -> None:
    sharp = Model.open(tiny_bundle(tmp_path / "sharp.edge")).predict(window()).probabilities
    soft = Model.open(tiny_bundle(tmp_path / "soft.edge", temperature=3.0)).predict(window()).probabilities

    assert sharp is not None
    assert soft is not None
    np.testing.assert_allclose(soft, sharp ** (1 / 3) / (sharp ** (1 / 3)).sum(), atol=1e-9)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_backend_that_answers_otherwise_than_recorded_is_refused(tmp_path: Path, runtime: str) -> None:
    good = tiny_bundle(tmp_path / "good.edge")
    wrong = dict(good.files) | {"check-output.npy": npy(np.full((2, len(LABELS)), 1 / 3, np.float32))}
    bundle = write_bundle(tmp_path / "wrong.edge", good.manifest, wrong, key=None)

    with pytest.raises(WrongAnswerError, match="off by"):
        Model.open(bundle, runtime=runtime)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime_older_than_the_model_needs_is_refused(tmp_path: Path, runtime: str) -> None:
    good = tiny_bundle(tmp_path / "good.edge")
    late = tuple(msgspec.structs.replace(v, runtimes={runtime: "99.0"}) for v in good.manifest.variants)
    bundle = write_bundle(
        tmp_path / "late.edge", msgspec.structs.replace(good.manifest, variants=late), good.files, key=None
    )

    with pytest.raises(BackendUnavailableError, match=r"too old.*99\.0") as raised:
        Model.open(bundle, runtime=runtime)
    assert raised.value.reason is UnavailableReason.TOO_OLD


@pytest.mark.parametrize(("runtime", "delegate"), [("litert", "edgetpu"), ("onnxruntime", "CUDAExecutionProvider")])
def test_a_delegate_that_is_not_here_is_an_error_unless_the_cpu_may_do(
    bundle: Bundle, runtime: str, delegate: str
) -> None:
    with pytest.raises(BackendUnavailableError, match=delegate):
        Model.open(bundle, runtime=runtime, delegates=(delegate,))

    model = Model.open(bundle, runtime=runtime, delegates=(delegate,), fallback_cpu=True)

    assert delegate in model.in_use().fallback


def test_a_window_for_another_layout_is_never_transposed_behind_anybodys_back(tmp_path: Path) -> None:
    turned = Windowing(length=CHANNELS, stride=1, rate_hz=1.0)
    channels = tuple(Channel(name=str(index)) for index in range(LENGTH))

    with pytest.raises(TensorMismatchError, match=r"fits the model's input"):
        Model.open(tiny_bundle(tmp_path / "turned.edge", windowing=turned, channels=channels))


def test_a_model_with_fewer_outputs_than_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TensorMismatchError, match="one per label"):
        Model.open(tiny_bundle(tmp_path / "labels.edge", labels=("a", "b", "c", "d")))


def test_a_manifest_that_contradicts_its_model_file_is_refused(tmp_path: Path) -> None:
    good = tiny_bundle(tmp_path / "good.edge")
    for runtime, variant in zip(RUNTIMES, good.manifest.variants, strict=True):
        spec = msgspec.structs.replace(variant.inputs[0], shape=(1, LENGTH + 1, CHANNELS))
        bad = msgspec.structs.replace(good.manifest, variants=(msgspec.structs.replace(variant, inputs=(spec,)),))
        bundle = write_bundle(tmp_path / "bad.edge", bad, good.files, key=None)
        with pytest.raises(TensorMismatchError, match="'x'"):
            Model.open(bundle, runtime=runtime)


def test_an_unknown_runtime_offers_the_nearest(bundle: Bundle) -> None:
    with pytest.raises(PluginError, match="Did you mean 'onnxruntime'"):
        Model.open(bundle, runtime="onnx-runtime")


@pytest.mark.parametrize(
    ("samples", "coverage", "reason"),
    [
        (np.full((LENGTH, CHANNELS), np.nan, np.float32), 1.0, "not_finite"),
        (np.full((LENGTH, CHANNELS), np.inf, np.float32), 1.0, "not_finite"),
        (np.full((LENGTH, CHANNELS), 101, np.float32), 1.0, "above_range"),
        (np.full((LENGTH, CHANNELS), -101, np.float32), 1.0, "below_range"),
        (np.zeros((LENGTH + 1, CHANNELS), np.float32), 1.0, "length"),
        (np.zeros((LENGTH, CHANNELS + 1), np.float32), 1.0, "channels"),
        (np.zeros((LENGTH, CHANNELS), np.float32), 0.5, "coverage"),
    ],
)
def test_a_window_that_the_model_was_never_meant_to_see_is_rejected(
    bundle: Bundle, samples: np.typing.NDArray[np.float32], coverage: float, reason: str
) -> None:
    prediction = Model.open(bundle).predict(window(samples, coverage=coverage))

    assert (prediction.state, prediction.reason) == (ContributorState.REJECTED, reason)
    assert prediction.probabilities is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [((None, 0.5, 0.5), "output_not_finite"), ((0.9, 0.9, 0.9), "output_no_distribution")],
)
def test_an_answer_that_is_no_distribution_is_never_passed_on(
    tmp_path: Path, answer: tuple[float | None, ...], reason: str
) -> None:
    bundle = tiny_bundle(tmp_path / "tiny.edge", answers=(answer,))

    prediction = Model.open(bundle, runtime="scripted").predict(window())

    assert (prediction.state, prediction.reason) == (ContributorState.FAILED, reason)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, runtime: str) -> None:
    good = tiny_bundle(tmp_path / "good.edge")
    files = {name: b"no model at all" if name.startswith("float32") else data for name, data in good.files.items()}
    bundle = write_bundle(tmp_path / "bad.edge", good.manifest, files, key=None)

    with pytest.raises((BackendUnavailableError, ValueError), match=r"no TFLite model|no ONNX model|runtime says"):
        Model.open(bundle, runtime=runtime)


def test_what_a_guard_refuses_is_counted_by_reason_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model.open(tiny_bundle(tmp_path / "tiny.edge"), guards=Guards(labels=("high",)))
    bad = window(np.full((LENGTH, CHANNELS), np.nan, np.float32))

    for _ in range(3):
        assert model.predict(bad).state is ContributorState.REJECTED
    prediction = model.predict(window())

    assert (prediction.state, prediction.reason) == (ContributorState.REJECTED, "output_label")
    assert model.counters == {"guards.not_finite.tiny": 3, "guards.output_label.tiny": 1}
    assert [record.getMessage() for record in caplog.records] == ["guard refuses", "guard refuses"]


def test_an_estimate_that_cannot_be_is_rejected(tmp_path: Path) -> None:
    good = tiny_bundle(tmp_path / "tiny.edge", answers=((20.0,), (200.0,)))
    [variant] = good.manifest.variants
    one = msgspec.structs.replace(variant, outputs=(TensorSpec(name="y", shape=(1, 1), dtype="float32"),))
    manifest = msgspec.structs.replace(
        good.manifest, task="regression", labels=(), unit="°C", value_range=(-40.0, 60.0), variants=(one,)
    )
    model = Model.open(write_bundle(tmp_path / "warm.edge", manifest, good.files, key=None), runtime="scripted")

    assert model.predict(window()).value == 20.0
    assert model.predict(window()).reason == "output_range"


def test_where_no_runtime_is_named_the_board_decides_and_then_the_bundle(bundle: Bundle) -> None:
    assert Model.open(bundle).in_use().variant == "float32.tflite"
    assert Model.open(bundle, order=["onnxruntime", "litert"]).in_use().variant == "float32.onnx"
    assert Model.open(bundle, order=["tflite", "onnxruntime"]).in_use().variant == "float32.onnx", "not installed"
    assert Model.open(bundle, runtime="litert", order=["onnxruntime"]).in_use().variant == "float32.tflite"
