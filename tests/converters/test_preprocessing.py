"""Preprocessing is said once: calibration, evaluation and the station take it from the recipe and the bundle."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from converters.pipeline import Conversion, convert
from converters.recipe import Recipe
from edge_sdk.base.errors import CalibrationError, ConversionError
from edge_sdk.contract.window import Window
from edge_sdk.inference.model import Model

CAMERA = (16, 16)
IMAGES: dict[str, Any] = {
    "labels": ["dark", "bright"],
    "channels": [{"name": name, "range": [0, 255]} for name in ("red", "green", "blue")],
    "windowing": {"length": 256, "rate_hz": 256},
    "preprocess": [
        {"resize": {"from_height": 16, "from_width": 16, "height": 8, "width": 8, "method": "nearest"}},
        {"colour": {"from": "rgb", "to": "bgr"}},
        {"scale": {"factor": 1 / 255}},
        {"layout": {"order": "channels_first"}},
    ],
}
SOUNDS: dict[str, Any] = {
    "labels": ["low", "high"],
    "channels": [{"name": "sound", "range": [-1, 1]}],
    "windowing": {"length": 2000, "rate_hz": 8000},
    "preprocess": [
        {
            "spectrogram": {
                "frame": 256,
                "hop": 128,
                "mel_bands": 16,
                "rate_hz": 8000,
                "log": "natural",
            }
        }
    ],
}


def _saved(path: Path, nodes: list[Any], weights: dict[str, NDArray[Any]], shape: tuple[int, ...]) -> Path:
    graph = helper.make_graph(
        nodes,
        "hand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2))],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def planar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that wants blue first, and its channels first: as PyTorch and OpenCV leave them."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 0.3, (6, 3, 3, 3)).astype(np.float32),
        "b": rng.normal(0, 0.1, 6).astype(np.float32),
        "dense": rng.normal(0, 1, (6, 2)).astype(np.float32),
        "bias": np.zeros(2, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["conv"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    return _saved(tmp_path_factory.mktemp("planar") / "planar.onnx", nodes, weights, (1, 3, 8, 8))


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    level = rng.uniform(20, 200, (80, 1, 1, 3))
    return np.clip(level + rng.normal(0, 30, (80, *CAMERA, 3)), 0, 255).astype(np.float32)


@pytest.fixture(scope="module")
def seen(planar: Path, images: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    return convert(
        planar,
        Recipe.parse(IMAGES),
        calibration=images[:60],
        evaluate=images[60:],
        precision=("int8", "float32"),
        out=tmp_path_factory.mktemp("seen") / "seen.edge",
    )


def test_size_colours_and_layout_reach_the_station_in_the_bundle(
    seen: Conversion, planar: Path, images: NDArray[np.float32]
) -> None:
    session = onnxruntime.InferenceSession(planar, providers=["CPUExecutionProvider"])
    prepared = images[:, 1::2, 1::2, ::-1].transpose(0, 3, 1, 2) / np.float32(255)
    model = Model.open(seen, precision="float32")

    for image, given in zip(images[60:], prepared[60:], strict=True):
        [wanted] = session.run(None, {"x": np.ascontiguousarray(given[None])})
        np.testing.assert_allclose(_answer(model, image.reshape(-1, 3)), wanted[0], atol=1e-5)


def test_int8_was_calibrated_on_what_preprocessing_gives(seen: Conversion, images: NDArray[np.float32]) -> None:
    row = seen.report[0]
    assert row.metric == "agreement"
    assert row.worst < 0.05
    int8, floating = (Model.open(seen, precision=precision) for precision in ("int8", "float32"))
    for image in images[60:]:
        ours, wanted = (_answer(model, image.reshape(-1, 3)) for model in (int8, floating))
        np.testing.assert_allclose(ours, wanted, atol=0.05)


def test_a_model_that_wants_its_channels_first_is_told_how_to_get_them(
    planar: Path, images: NDArray[np.float32], tmp_path: Path
) -> None:
    recipe = Recipe.parse({**IMAGES, "preprocess": IMAGES["preprocess"][:3]})

    with pytest.raises(ConversionError, match=r"layout: \{order: channels_first\}"):
        convert(planar, recipe, calibration=images, out=tmp_path / "out.edge")
    assert not (tmp_path / "out.edge").exists()


def test_steps_that_change_the_shape_want_the_window_said(
    planar: Path, images: NDArray[np.float32], tmp_path: Path
) -> None:
    recipe = Recipe.parse({"preprocess": IMAGES["preprocess"]})

    with pytest.raises(ConversionError, match="Say windowing and channels"):
        convert(planar, recipe, calibration=images, out=tmp_path / "out.edge")


def test_images_of_another_size_than_the_recipes_are_refused_with_both(
    planar: Path, images: NDArray[np.float32], tmp_path: Path
) -> None:
    with pytest.raises(CalibrationError, match=r"\(8, 8, 3\).*256 samples of 3 channels"):
        convert(planar, Recipe.parse(IMAGES), calibration=images[:, ::2, ::2], out=tmp_path / "out.edge")
    recipe = Recipe.parse({**IMAGES, "windowing": {"length": 64, "rate_hz": 64}})
    with pytest.raises(CalibrationError, match=r"64 samples of 3 channels.*16 x 16 = 256 pixels"):
        convert(planar, recipe, calibration=images[:, ::2, ::2], out=tmp_path / "out.edge")


def test_a_spectrogram_is_taken_of_wav_files_and_at_the_station(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    seconds = np.arange(2000) / 8000
    for kind, hz in (("high", 2500), ("low", 300)):
        (tmp_path / "sounds" / kind).mkdir(parents=True)
        for i in range(20):
            tone = 0.4 * np.sin(2 * np.pi * (hz + rng.uniform(-50, 50)) * seconds) + rng.normal(0, 0.02, 2000)
            with wave.open(str(tmp_path / "sounds" / kind / f"{i}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes((tone * 32767).astype("<i2").tobytes())
    slope = np.zeros(16)
    slope[[2, 12, 13]] = -1, 0.5, 0.5  # 300 Hz and 2500 Hz; "high" comes first by name
    weights: dict[str, NDArray[Any]] = {
        "w": np.tile(np.stack([slope, -slope], axis=1), (14, 1)).astype(np.float32) / 14,
        "b": np.zeros(2, np.float32),
        "flat": np.array([1, 14 * 16], np.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["row"]),
        helper.make_node("Gemm", ["row", "w", "b"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    model = _saved(tmp_path / "sound.onnx", nodes, weights, (1, 14, 16))
    recipe = Recipe.parse({**SOUNDS, "labels": ["high", "low"]})

    done = convert(
        model, recipe, calibration=tmp_path / "sounds", evaluate=tmp_path / "sounds", out=tmp_path / "out.edge"
    )

    assert (done.report[0].metric, done.report[0].quantized) == ("accuracy", 1.0)
    sound = (0.4 * np.sin(2 * np.pi * 300 * seconds)).astype(np.float32)[:, None]
    assert _answer(Model.open(done), sound).argmax() == 1


def _answer(model: Model, samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the station's code says of a window."""
    probabilities = model.predict(Window("sensor", 0, 1, samples)).probabilities
    assert probabilities is not None
    return probabilities
