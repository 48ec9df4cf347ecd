"""Models and data that the workshop's tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from converters.pipeline import Conversion, convert
from converters.recipe import Recipe
from edge_sdk.contract.manifest import Channel, Step, Windowing
from edge_sdk.contract.trust import SigningKey

ROOT = Path(__file__).parent.parent.parent

RECIPE = Recipe(
    name="sines",
    labels=("slow", "middle", "fast"),
    channels=(Channel(name="left", unit="mV", minimum=-100, maximum=100), Channel(name="right", unit="mV")),
    windowing=Windowing(length=32, stride=16, rate_hz=32.0),
    preprocess=(Step(kind="scale", options={"factor": 0.1}),),
)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The stages' cache is the session's own: nothing of an earlier run, nothing left behind."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with trained Keras models in every form, and their data."""
    folder = tmp_path_factory.mktemp("models")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    made = subprocess.run(
        [sys.executable, "-m", "tests.converters.keras_models", str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return SigningKey.new()


@pytest.fixture(scope="session")
def sines(models: Path, signing_key: SigningKey, tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    """The Keras model, converted once to everything."""
    return convert(
        models / "model.keras",
        RECIPE,
        calibration=models / "train.npz",
        evaluate=models / "test.npz",
        precision=("int8", "float32", "dynamic"),
        out=tmp_path_factory.mktemp("bundles") / "sines.edge",
        key=signing_key,
    )
