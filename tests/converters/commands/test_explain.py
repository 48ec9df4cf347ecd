from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from converters import pipeline
from converters.cli import convert
from converters.commands.explain import explain
from converters.evaluate.layers import LayerError, blame
from converters.pipeline import Conversion
from tests.models import CHANNELS, LENGTH, onnx_model, weights


def test_a_bundle_is_explained_layer_by_layer(sines: Conversion, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        explain, [str(sines.path), "--html", f"{tmp_path}/report.html", "--json", f"{tmp_path}/report.json"],
        catch_exceptions=False,
    )  # fmt: skip

    assert done.exit_code == 0
    report = json.loads((tmp_path / "report.json").read_text())
    int8 = report["variants"][0]
    assert (int8["precision"], int8["format"]) == ("int8", "tflite")
    assert len(int8["layers"]) >= 4
    assert int8["difference"] <= int8["tolerance"]
    assert int8["latency_ms"] > 0
    assert int8["float_latency_ms"] > 0
    assert int8["delegations"][0]["checked_by"] == "run"
    page = (tmp_path / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_program_reads_nothing_but_json(sines: Conversion) -> None:
    done = CliRunner().invoke(explain, [str(sines.path), "--json", "-"], catch_exceptions=False)

    assert json.loads(done.stdout)["variants"]


def test_where_the_bundle_holds_no_float32_the_report_says_so(tmp_path: Path) -> None:
    (tmp_path / "dense.onnx").write_bytes(onnx_model(weights()))
    x = np.random.default_rng(5).normal(size=(60, LENGTH, CHANNELS)).astype(np.float32)
    made = pipeline.convert(tmp_path / "dense.onnx", calibration=x, out=tmp_path / "out.edge")

    done = CliRunner().invoke(explain, [str(made.path), "--html", f"{tmp_path}/report.html"], catch_exceptions=False)

    assert "<td class='s'>not in the bundle</td>" in (tmp_path / "report.html").read_text()
    assert "not in the bundle" in " ".join(done.stdout.split())


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed: apt-get install chromium")
def test_the_report_opens_in_a_browser_without_a_network(sines: Conversion, tmp_path: Path) -> None:
    CliRunner().invoke(explain, [str(sines.path), "--html", f"{tmp_path}/report.html"], catch_exceptions=False)

    shown = _in_browser(tmp_path / "report.html")

    assert "<h1>sines</h1>" in shown
    assert shown.count("<svg") >= 3
    assert "Error by layer" in shown
    assert "signed by key" in shown
    assert "What it confuses" in shown
    assert "Values of left" in shown
    assert "scale" in shown[shown.index("Model card") :]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed: apt-get install chromium")
def test_the_trail_of_the_automatic_choice_is_a_table_and_a_plot(tmp_path: Path) -> None:
    (tmp_path / "dense.onnx").write_bytes(onnx_model(weights()))
    x = np.random.default_rng(5).normal(size=(60, LENGTH, CHANNELS)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)

    CliRunner().invoke(
        convert,
        [f"{tmp_path}/dense.onnx", "--precision", "auto", "--max-drop", "5", "--calibration", f"{tmp_path}/x.npy",
         "-o", f"{tmp_path}/out.edge", "--html", f"{tmp_path}/report.html"],
        catch_exceptions=False,
    )  # fmt: skip
    shown = _in_browser(tmp_path / "report.html")

    trail = shown[shown.index("<h2>Trail</h2>") :]
    assert trail.count('class="hollow"') == 5
    assert trail.count('class="dot"') == 1
    assert "chosen: the fastest within the limit" in trail
    assert "int8-percentile onnx" in trail
    if "<h3>Error by layer</h3>" not in trail:
        assert "<h2>float32 onnx</h2>" in trail  # nothing is lost in a model that was left as it is


def test_a_layer_where_the_signal_is_lost_is_named_with_what_to_try() -> None:
    layers = [
        LayerError(index=index, operator="CONV_2D", name=f"conv{index}", sqnr_db=sqnr, cosine=1.0, bias=0.0)
        for index, sqnr in enumerate((40.0, 6.0, 3.0))
    ]

    assert blame(layers).startswith("Most of the signal is lost from layer 1, CONV_2D (conv1): 6.0 dB")
    assert "--precision mixed" in blame(layers)
    assert blame(layers[:1]) == ""


def _in_browser(page: Path) -> str:
    """What a browser makes of a page."""
    return subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent}/profile",
         "--dump-dom", page.as_uri()],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
