"""Which variant is opened where one is compiled for the Edge TPU and the other is not; with Google's own files."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_sdk.base.errors import BackendUnavailableError, UnavailableReason
from edge_sdk.contract.bundle import Bundle, write_bundle
from edge_sdk.contract.manifest import Channel, Manifest, Variant, Windowing
from edge_sdk.contract.prediction import ContributorState
from edge_sdk.contract.window import Window
from edge_sdk.inference.litert import tensors
from edge_sdk.inference.model import Model

CORAL = Path(__file__).parents[3] / "shared" / "models" / "coral-edgetpu"
NAME = "mobilenet_v1_0.25_128_quant"
PIXELS, CLASSES = 128 * 128, 1001

pytestmark = pytest.mark.skipif(not CORAL.is_dir(), reason="the compiled models are not here")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """MobileNet, compiled for the Edge TPU first, and as it was before."""
    plain, compiled = ((CORAL / f"{NAME}{end}.tflite").read_bytes() for end in ("", "_edgetpu"))
    inputs, outputs = tensors(plain)
    variants = tuple(
        Variant(file=file, format="tflite", precision="int8", inputs=inputs, outputs=outputs)
        for file in ("tpu.tflite", "cpu.tflite")
    )
    manifest = Manifest(
        name="seen",
        task="classification",
        sensor="camera",
        channels=tuple(Channel(name=name) for name in "rgb"),
        windowing=Windowing(length=PIXELS, stride=PIXELS, rate_hz=PIXELS),
        labels=tuple(str(index) for index in range(CLASSES)),
        variants=variants,
        files={},
    )
    path = tmp_path_factory.mktemp("coral") / "seen.edge"
    return write_bundle(path, manifest, {"tpu.tflite": compiled, "cpu.tflite": plain}, key=None)


def test_without_an_edge_tpu_the_variant_for_the_cpu_is_opened(bundle: Bundle) -> None:
    assert Model.open(bundle).in_use().variant == "cpu.tflite"


def test_with_an_edge_tpu_that_is_not_here_the_compiled_variant_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(BackendUnavailableError, match="edgetpu") as raised:
        Model.open(bundle, runtime="litert", delegates=["edgetpu"])
    assert raised.value.reason is UnavailableReason.LIBRARY_NOT_FOUND


def test_with_fallback_the_other_variant_runs_on_the_cpu(bundle: Bundle) -> None:
    model = Model.open(bundle, runtime="litert", delegates=["edgetpu"], fallback_cpu=True)

    prediction = model.predict(Window("camera", 0, 1, np.full((PIXELS, 3), 0.5, np.float32)))

    assert model.in_use().variant == "cpu.tflite"
    assert model.fallback.startswith("edgetpu: ")
    assert prediction.state is ContributorState.FRESH, prediction.reason


def test_a_compiled_variant_alone_says_what_it_wants(bundle: Bundle, tmp_path: Path) -> None:
    manifest = msgspec.structs.replace(bundle.manifest, variants=bundle.manifest.variants[:1])
    alone = write_bundle(tmp_path / "tpu.edge", manifest, bundle.files, key=None)

    with pytest.raises(BackendUnavailableError, match="Edge TPU") as raised:
        Model.open(alone)
    assert raised.value.reason is UnavailableReason.NO_DEVICE
