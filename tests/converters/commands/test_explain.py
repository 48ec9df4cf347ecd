from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from converters.commands.explain import explain
from converters.pipeline import Conversion


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


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed: apt-get install chromium")
def test_the_report_opens_in_a_browser_without_a_network(sines: Conversion, tmp_path: Path) -> None:
    CliRunner().invoke(explain, [str(sines.path), "--html", f"{tmp_path}/report.html"], catch_exceptions=False)

    shown = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
         "--dump-dom", (tmp_path / "report.html").as_uri()],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip

    assert "<h1>sines</h1>" in shown
    assert shown.count("<svg") >= 3
    assert "Error by layer" in shown
    assert "signed by key" in shown
