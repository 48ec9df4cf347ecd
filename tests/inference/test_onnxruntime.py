from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_sdk.base.errors import BackendUnavailableError, UnavailableReason
from edge_sdk.contract.bundle import Bundle
from edge_sdk.inference.assignment import coverage, profiled
from edge_sdk.inference.delegates import Delegate, known
from edge_sdk.inference.model import Model
from tests.inference.builds import OtherBuild
from tests.inference.test_compiled import CHROMIUM, DRIVER
from tests.models import tiny_bundle

ABSENT = sorted(name for name, kind in known("onnxruntime").items() if kind.target != "CPUExecutionProvider")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny.edge")


@pytest.mark.parametrize("name", ABSENT)
def test_a_provider_that_this_build_lacks_is_an_error_with_its_cure(bundle: Bundle, name: str) -> None:
    with pytest.raises(BackendUnavailableError, match="This build has") as raised:
        Model.open(bundle, runtime="onnxruntime", delegates=[name])
    assert raised.value.reason is UnavailableReason.NOT_COMPILED_IN
    assert known("onnxruntime")[name].cure in raised.value.cure


def test_with_fallback_the_cpu_does_it_and_every_refusal_is_told(bundle: Bundle) -> None:
    model = Model.open(bundle, runtime="onnxruntime", delegates=["tensorrt", "cuda"], fallback_cpu=True)

    assert model.in_use().delegates == ("CPUExecutionProvider",)
    assert "tensorrt: " in model.fallback
    assert "; cuda: " in model.fallback


def test_a_library_that_is_no_plug_in_provider_is_said(bundle: Bundle) -> None:
    with pytest.raises(BackendUnavailableError) as raised:
        Model.open(bundle, runtime="onnxruntime", delegates=[Delegate(name="npu", library="/nowhere/libnpu.so")])
    assert raised.value.reason is UnavailableReason.LIBRARY_NOT_FOUND


def test_shares_come_from_a_profile_where_the_session_does_not_say_them(tmp_path: Path) -> None:
    events = [
        {"cat": "Session", "name": "model_loading"},
        {"cat": "Node", "name": "conv_kernel_time", "args": {"provider": "WebGpuExecutionProvider"}},
        {"cat": "Node", "name": "conv_kernel_time", "args": {"provider": "WebGpuExecutionProvider"}},
        {"cat": "Node", "name": "top_kernel_time", "args": {"provider": "CPUExecutionProvider"}},
    ]
    (tmp_path / "profile.json").write_text(json.dumps(events))

    shares = coverage(profiled(tmp_path / "profile.json"), ["WebGpuExecutionProvider"])

    assert [(part.delegate, part.share_of_operations) for part in shares] == [
        ("WebGpuExecutionProvider", 0.5),
        ("CPUExecutionProvider", 0.5),
    ]


@pytest.mark.slow
class TestOtherBuilds:
    def test_openvino_computes_and_its_share_is_read_back(self, bundle: Bundle, tmp_path: Path) -> None:
        build = OtherBuild(tmp_path / "venv", "onnxruntime-openvino")

        answer = build.open(bundle, "onnxruntime", Delegate(name="openvino"))

        assert answer == {"state": "fresh", "delegates": ["OpenVINOExecutionProvider"], "shares": [1.0], "fallback": ""}

    @pytest.mark.skipif(not DRIVER.is_file(), reason="this Chromium has no SwiftShader")
    def test_webgpu_computes_in_software_and_is_refused_without_a_driver(self, bundle: Bundle, tmp_path: Path) -> None:
        build = OtherBuild(tmp_path / "venv", "onnxruntime-webgpu")

        webgpu = Delegate(name="webgpu")
        without = build.open(bundle, "onnxruntime", webgpu, VK_DRIVER_FILES="/nowhere.json")
        with_driver = build.open(
            bundle, "onnxruntime", webgpu, VK_DRIVER_FILES=str(DRIVER), LD_LIBRARY_PATH=str(CHROMIUM)
        )

        assert without["reason"] == "no_device"
        assert with_driver == {
            "state": "fresh",
            "delegates": ["WebGpuExecutionProvider"],
            "shares": [1.0],
            "fallback": "",
        }

    def test_cuda_and_tensorrt_without_their_libraries_name_what_is_missing(
        self, bundle: Bundle, tmp_path: Path
    ) -> None:
        build = OtherBuild(tmp_path / "venv", "onnxruntime-gpu")

        cuda = build.open(bundle, "onnxruntime", Delegate(name="cuda"))
        tensorrt = build.open(bundle, "onnxruntime", Delegate(name="tensorrt"))

        assert cuda["reason"] == tensorrt["reason"] == "library_not_found"
        assert "libcu" in cuda["cure"]
