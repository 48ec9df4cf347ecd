from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest

from edge_sdk.contract.bundle import Bundle, read_bundle, write_bundle
from edge_sdk.contract.trust import Trust
from edge_sdk.inference import probe
from edge_sdk.inference.delegates import known
from tests.models import CHANNELS, LENGTH, onnx_model, tflite_model, tiny_bundle, weights

FLAT = (1, LENGTH * CHANNELS)


def probe_bundle(directory: Path) -> Bundle:
    """The tiny bundle with a flat input, which every accelerator knows."""
    good = tiny_bundle(directory / "tiny.edge", name="probe", sensor="nothing")
    variants = tuple(
        msgspec.structs.replace(variant, inputs=(msgspec.structs.replace(variant.inputs[0], shape=FLAT),))
        for variant in good.manifest.variants
    )
    files = {
        **good.files,
        "float32.tflite": tflite_model(weights(), shape=FLAT),
        "float32.onnx": onnx_model(weights(), shape=FLAT),
    }
    manifest = msgspec.structs.replace(good.manifest, variants=variants)
    return write_bundle(directory / "probe.edge", manifest, files, key=None)


def test_the_bundle_that_is_shipped_is_the_one_that_is_made_here(tmp_path: Path) -> None:
    shipped = read_bundle(Path(probe.__file__).with_name("probe.edge"), Trust(allow_unsigned=True))
    made = probe_bundle(tmp_path)

    assert shipped.files == made.files
    assert shipped.manifest == made.manifest


@pytest.fixture(scope="module")
def found() -> dict[tuple[str, str], probe.Found]:
    return {(one.runtime, one.name): one for one in probe.probe()}


def test_runtimes_that_are_here_have_run_a_model(found: dict[tuple[str, str], probe.Found]) -> None:
    assert found["litert", ""].here
    assert found["onnxruntime", ""].here
    assert "took 100% of the tiny model" in found["litert", "xnnpack"].detail


def test_everything_known_is_listed_and_what_is_absent_says_why(found: dict[tuple[str, str], probe.Found]) -> None:
    for runtime in ("litert", "onnxruntime"):
        assert {name for of, name in found if of == runtime} - {""} == known(runtime).keys() - {"none", "cpu"}
    absent = [one for one in found.values() if not one.here]
    assert all(one.reason and one.detail for one in absent)
    reasons = {(one.runtime, one.name): one.reason for one in absent}
    assert reasons.get(("tflite", ""), "not_installed") == "not_installed"
    assert reasons.get(("litert", "edgetpu"), "library_not_found") in {"library_not_found", "no_device"}
    assert reasons.get(("litert", "gpu"), "no_device") == "no_device"
    assert reasons["onnxruntime", "coreml"] == "not_compiled_in"


def test_a_library_that_crashes_while_it_is_loaded_is_named(tmp_path: Path) -> None:
    source, bad = tmp_path / "bad.c", tmp_path / "libbad.so"
    source.write_text("#include <stdlib.h>\n__attribute__((constructor)) static void load(void) { abort(); }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(bad), str(source)], check=True)

    why = probe._cannot_load(("libc.so.6", str(bad)))

    assert why == {"libc.so.6": "", str(bad): "loading it ended the process that tried"}
