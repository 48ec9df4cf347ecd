"""The demo's workshop: one network per sensor is trained and converted into a signed bundle; both are cached."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

import edge_sdk
from edge_sdk.base.errors import ConversionError
from edge_sdk.contract.bundle import Bundle, read_bundle
from edge_sdk.contract.trust import SigningKey, Trust
from edge_sdk.demo import exercises
from edge_sdk.demo.exercises import EXERCISES, SEED, SENSORS, Recording

_SOURCES_OF_TRAINING = ("edge_sdk/demo/exercises.py", "edge_sdk/demo/training.py")
_SOURCES_OF_BUNDLES = ("converters", "edge_sdk/contract", "edge_sdk/inference", "edge_sdk/demo/workshop.py")
_UNITS = {"accelerometer": "g", "gyroscope": "rad/s"}
_LIMITS = {"accelerometer": 20.0, "gyroscope": 40.0}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Workpiece:
    """What the workshop made of one sensor.

    Attributes:
        bundle: The signed bundle, opened.
        key_file: The public key that signed it.
        report: What ``edge-sdk convert --json`` wrote: a row per variant.
    """

    bundle: Bundle
    key_file: Path
    report: list[dict[str, Any]]


def make(
    directory: Path, seen: Sequence[Recording], unseen: Sequence[Recording], *, progress: Progress
) -> dict[str, Workpiece]:
    """Train and convert every sensor's network; what is in `directory` already is taken as it is.

    Args:
        directory: Where models, key and bundles are kept.
        seen: Recordings to train and to calibrate on.
        unseen: Recordings of other people, to evaluate on.
        progress: Told what is being done, how far it is, and of how much.
    """
    directory.mkdir(parents=True, exist_ok=True)
    key = directory / "demo.key"
    if not key.exists():
        SigningKey.new().write(key)
    public = key.with_name("demo.key.pub")
    made = {}
    for sensor in SENSORS:
        target = directory / f"{sensor}.edge"
        report = target.with_suffix(".json")
        if not (target.exists() and report.exists()):
            model = directory / f"{sensor}.keras"
            if not (model.exists() and model.with_suffix(".npz").exists()):
                _train(sensor, sorted({recording.person for recording in unseen}), model, progress)
            progress(f"converting the {sensor}'s network", 0, 0)
            _convert(sensor, model, seen, unseen, key, target)
        made[sensor] = Workpiece(read_bundle(target, Trust.of([public])), public, json.loads(report.read_text()))
    return made


def cached(cache: Path, recordings: Sequence[Recording], *, progress: Progress) -> dict[str, Workpiece]:
    """The bundles of the demo, for `exercises.UNSEEN_PEOPLE`; known by the digest of everything that makes them."""
    seen = [recording for recording in recordings if recording.person not in exercises.UNSEEN_PEOPLE]
    unseen = [recording for recording in recordings if recording.person in exercises.UNSEEN_PEOPLE]
    trained = cache / f"models-{_digest(_SOURCES_OF_TRAINING)}"
    directory = cache / f"bundles-{_digest(_SOURCES_OF_TRAINING + _SOURCES_OF_BUNDLES)}"
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(cache, progress):
        for model in trained.glob("*.keras") if trained.exists() else ():
            shutil.copy(model, directory)
            shutil.copy(model.with_suffix(".npz"), directory)
        made = make(directory, seen, unseen, progress=progress)
        if not trained.exists():
            trained.mkdir()
            for model in directory.glob("*.keras"):
                shutil.copy(model, trained)
                shutil.copy(model.with_suffix(".npz"), trained)
    return made


@contextmanager
def _alone(cache: Path, progress: Progress) -> Iterator[None]:
    """Hold the cache's lock: a second demo on the same cache waits until the first has made the bundles."""
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another demo that makes the same bundles", 0, 0)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _train(sensor: str, left_out: Collection[int], path: Path, progress: Progress) -> None:
    """Train in a process of its own, which TensorFlow's memory and chatter end with."""
    title = f"training the {sensor}'s network"
    progress(title, 0, 0)
    command = [sys.executable, "-m", "edge_sdk.demo.training", sensor, ",".join(map(str, left_out)), str(path)]
    with tempfile.TemporaryFile("w+") as chatter:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=chatter, text=True)
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                done, total = line.split()
                progress(title, int(done), int(total))
        if process.wait():
            chatter.seek(0)
            raise ConversionError(f"{' '.join(command)} failed:\n{chatter.read()[-2000:]}")


def _convert(
    sensor: str, model: Path, seen: Sequence[Recording], unseen: Sequence[Recording], key: Path, target: Path
) -> None:
    """Convert with the ordinary command, as anybody would."""
    work = target.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    x, y, _ = exercises.windows(seen, sensor)
    np.savez(work / "calibration.npz", x=x, y=y)
    x, y, _ = exercises.windows(unseen, sensor)
    np.savez(work / "evaluate.npz", x=x, y=y)
    recipe = work / "recipe.yaml"
    recipe.write_bytes(msgspec.json.format(msgspec.json.encode(_recipe(sensor, model)), indent=2))  # JSON is YAML
    command = [sys.executable, "-m", "edge_sdk.cli", "convert", str(model), "--recipe", str(recipe)]
    command += ["--format", "tflite", "--format", "onnx", "--precision", "int8", "--sign", str(key)]
    command += ["--calibration", str(work / "calibration.npz"), "--evaluate", str(work / "evaluate.npz")]
    command += ["--json", str(target.with_suffix(".json")), "-o", str(target)]
    answer = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    if answer.returncode:
        raise ConversionError(f"{' '.join(command)} failed:\n{answer.stdout[-1000:]}{answer.stderr[-2000:]}")
    shutil.rmtree(work)


def _recipe(sensor: str, model: Path) -> dict[str, Any]:
    with np.load(model.with_suffix(".npz")) as record:
        mean, std = record["mean"].tolist(), record["std"].tolist()
        clip, temperature = float(record["clip"]), float(record["temperature"])
    limit = _LIMITS[sensor]
    channels = [{"name": axis, "unit": _UNITS[sensor], "minimum": -limit, "maximum": limit} for axis in "xyz"]
    return {
        "name": sensor,
        "task": "classification",
        "sensor": sensor,
        "channels": channels,
        "windowing": {
            "length": exercises.LENGTH,
            "stride": exercises.STRIDE,
            "rate_hz": exercises.RATE_HZ,
            "minimum_coverage": 1.0,
        },
        "preprocess": [
            {"kind": "standardize", "options": {"mean": mean, "std": std}},
            {"kind": "clip", "options": {"minimum": -clip, "maximum": clip}},
        ],
        "labels": list(EXERCISES),
        "temperature": temperature,
    }


def _digest(sources: Sequence[str]) -> str:
    """Digest of source files and of the versions that decide what comes out of them."""
    root = Path(edge_sdk.__file__).parent.parent
    digest = hashlib.sha256(f"{SEED} {version('tensorflow')} {version('numpy')} {version('onnxruntime')}".encode())
    for source in sources:
        path = root / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
