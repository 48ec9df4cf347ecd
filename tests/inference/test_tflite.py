"""tflite-runtime 2.14 wants numpy 1: it is tried in an environment of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_sdk.inference.delegates import Delegate
from tests.inference.builds import OtherBuild
from tests.models import tiny_bundle


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime has no wheel for this Python")
def test_the_old_runtime_takes_the_same_delegates_and_says_the_same(tmp_path: Path, delegate_library: str) -> None:
    build = OtherBuild(tmp_path / "venv", "tflite-runtime==2.14.0", "numpy<2")
    bundle = tiny_bundle(tmp_path / "tiny.edge")

    def mine(**options: str | int) -> Delegate:
        return Delegate(name="mine", library=delegate_library, options=dict(options))

    assert build.open(bundle, "tflite")["delegates"] == ["xnnpack"]
    assert build.open(bundle, "tflite", mine()) == {
        "state": "fresh",
        "delegates": ["mine", "xnnpack"],
        "shares": [0.5, 0.5],
        "fallback": "",
    }
    assert build.open(bundle, "tflite", mine(mode="refuse"))["reason"] == "no_device"
    assert build.open(bundle, "tflite", mine(mode="fail_prepare"))["reason"] == "refused_model"
    assert build.open(bundle, "tflite", mine(mode="crash"))["reason"] == "crashed"
    assert build.open(bundle, "tflite", Delegate(name="gpu"))["reason"] == "library_not_found"
    lost = build.open(bundle, "tflite", mine(mode="fail", at=3))
    assert (lost["state"], lost["delegates"]) == ("fresh", ["mine", "xnnpack"])
