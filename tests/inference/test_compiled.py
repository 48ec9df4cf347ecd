"""A real GPU path without a GPU: LiteRT's WebGPU accelerator on SwiftShader, which Chromium brings along."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_sdk.base.errors import BackendUnavailableError, TensorMismatchError, UnavailableReason, WrongAnswerError
from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.prediction import ContributorState
from edge_sdk.inference.delegates import Delegate
from edge_sdk.inference.model import Model
from tests.models import CHANNELS, LENGTH, expected, tflite_model, tiny_bundle, weights, window

CHROMIUM = Path("/usr/lib/chromium")
DRIVER = CHROMIUM / "vk_swiftshader_icd.json"


@pytest.fixture
def software_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment in which a delegate's process finds SwiftShader and a Vulkan loader."""
    if not (DRIVER.is_file() and (CHROMIUM / "libvulkan.so.1").is_file()):
        pytest.skip("this Chromium has no SwiftShader")
    monkeypatch.setenv("VK_DRIVER_FILES", str(DRIVER))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(CHROMIUM))


@pytest.fixture
def flat(tmp_path: Path) -> Bundle:
    """The tiny model with a flat input, which the GPU computes rightly."""
    good = tiny_bundle(tmp_path / "tiny.edge")
    shape = (1, LENGTH * CHANNELS)
    [tflite, _] = good.manifest.variants
    spec = msgspec.structs.replace(tflite.inputs[0], shape=shape)
    manifest = msgspec.structs.replace(good.manifest, variants=(msgspec.structs.replace(tflite, inputs=(spec,)),))
    files = {**good.files, tflite.file: tflite_model(weights(), shape=shape)}
    return write_bundle(tmp_path / "flat.edge", manifest, files, key=None)


@pytest.mark.usefixtures("software_gpu")
def test_a_gpu_computes_the_whole_model_and_says_so(flat: Bundle) -> None:
    model = Model.open(flat, runtime="litert", delegates=["gpu"])
    try:
        prediction = model.predict(window())
        used = model.in_use()
    finally:
        model.close()

    assert prediction.state is ContributorState.FRESH
    assert prediction.probabilities is not None
    np.testing.assert_allclose(prediction.probabilities, expected(window().samples, weights()), atol=1e-5)
    assert (used.delegates, used.coverage[0].share_of_operations) == (("gpu",), 1.0)


@pytest.mark.usefixtures("software_gpu")
def test_a_gpu_that_runs_a_model_wrongly_is_found_out(tmp_path: Path) -> None:
    """LiteRT 2.3 computes a dense layer on an input of three dimensions otherwise on the GPU, and says nothing."""
    bundle = tiny_bundle(tmp_path / "tiny.edge")

    with pytest.raises(WrongAnswerError, match="litert with gpu answers"):
        Model.open(bundle, runtime="litert", delegates=["gpu"])


def test_without_a_driver_there_is_no_gpu_and_the_cure_says_what_to_install(
    flat: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", "/nowhere.json")

    with pytest.raises(BackendUnavailableError, match="Vulkan") as raised:
        Model.open(flat, runtime="litert", delegates=["gpu"])
    assert raised.value.reason is UnavailableReason.NO_DEVICE


def test_a_gpu_is_wanted_alone_and_its_options_are_known(flat: Bundle) -> None:
    with pytest.raises(BackendUnavailableError, match="whole or not at all"):
        Model.open(flat, runtime="litert", delegates=["gpu", "xnnpack"])
    with pytest.raises(BackendUnavailableError, match="enforce_f32"):
        Model.open(flat, runtime="litert", delegates=[Delegate(name="gpu", options={"speed": 11})])


@pytest.mark.usefixtures("software_gpu")
def test_a_manifest_that_contradicts_its_model_is_refused_on_a_gpu_too(flat: Bundle, tmp_path: Path) -> None:
    other = tflite_model(weights(), shape=(1, CHANNELS * LENGTH, 1))
    files = {**flat.files, "float32.tflite": other}
    bundle = write_bundle(tmp_path / "other.edge", flat.manifest, files, key=None)

    with pytest.raises(TensorMismatchError):
        Model.open(bundle, runtime="litert", delegates=["gpu"])


def test_an_npu_that_is_not_there_is_said(flat: Bundle) -> None:
    with pytest.raises(BackendUnavailableError, match="dispatch library") as raised:
        Model.open(flat, runtime="litert", delegates=["npu"])
    assert raised.value.reason is UnavailableReason.NO_DEVICE
