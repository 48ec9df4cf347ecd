"""What the benchmarks of large models stand on: MobileNetV2, int8, an image a second; weights are random."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.contract.bundle import Bundle, read_bundle, write_bundle
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.trust import Trust
from edge_sdk.demo.cli import cache_directory

SIDE = 224
PIXELS = SIDE * SIDE
LABELS = 10
START_NS = 1_700_000_000_000_000_000


def images(n: int) -> NDArray[np.float32]:
    """Smooth random images ``(n, 224, 224, 3)`` in 0 to 1."""
    coarse = np.random.default_rng(3).random((n, 28, 28, 3), dtype=np.float32)
    return np.ascontiguousarray(coarse.repeat(8, axis=1).repeat(8, axis=2))


def mobilenets(directory: Path, *names: str) -> dict[str, Bundle]:
    """The same model under several names, each with a sensor of its own."""
    kept = cache_directory().parent / "benchmarks" / "mobilenet-v2-224.edge"
    if not kept.exists():
        _make(kept)
    first = read_bundle(kept, Trust.of((), allow_unsigned=True))
    bundles = {}
    for name in names:
        manifest = msgspec.structs.replace(first.manifest, name=name, sensor=name)
        bundles[name] = write_bundle(directory / f"{name}.edge", manifest, first.files, key=None)
    return bundles


def reading(sensor: str, image: NDArray[np.float32], number: int) -> Reading:
    """An image as a block of pixels that takes a second."""
    samples = image.reshape(PIXELS, 3)
    start_ns = START_NS + number * 1_000_000_000
    return Reading(sensor, samples, start_ns, rate_hz=PIXELS, observed_ns=start_ns + 1)


def _make(target: Path) -> None:
    import keras

    from converters import Recipe, convert

    keras.utils.set_random_seed(5)
    net = keras.applications.MobileNetV2((SIDE, SIDE, 3), weights=None, classes=LABELS)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory) / "mobilenet.keras"
        net.save(model)
        convert(model, Recipe(rate_hz=PIXELS), out=target, calibration=images(40), formats=("tflite",))
