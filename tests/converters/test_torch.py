from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.artifact import Artifact
from converters.pipeline import convert
from edge_sdk.base.errors import ConversionError
from edge_sdk.contract.window import Window
from edge_sdk.inference.model import Model
from tests.converters.conftest import RECIPE

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'edge-sdk[torch]'")
pytestmark = pytest.mark.slow


def test_a_pytorch_program_becomes_a_bundle(models: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    torch.export.save(torch.export.export(net.eval(), (torch.zeros(1, 32, 2),)), str(tmp_path / "net.pt2"))

    done = convert(
        tmp_path / "net.pt2",
        RECIPE,
        calibration=models / "train.npz",
        precision=("int8", "float32"),
        out=tmp_path / "out.edge",
    )

    assert [row.format for row in done.report] == ["onnx", "onnx"]
    assert done.manifest.provenance["versions"]["torch"] == str(torch.__version__)
    with np.load(models / "test.npz") as data:
        window = data["x"][0]
    told = Model.open(done, precision="float32").predict(Window("w", 0, 1, window)).probabilities
    with torch.no_grad():
        wanted = torch.softmax(net(torch.from_numpy(window[None] / 10)), -1)[0].numpy()
    assert told is not None
    np.testing.assert_allclose(told, wanted, atol=1e-4)


def test_a_zip_that_is_no_program_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "net.npz", x=np.zeros(3))
    (tmp_path / "net.npz").rename(tmp_path / "net.pt2")

    assert Artifact.of(tmp_path / "net.pt2").kind == "torch"
    with pytest.raises(ConversionError, match="is no program of torch"):
        convert(tmp_path / "net.pt2", precision=("float32",), out=tmp_path / "out.edge")
