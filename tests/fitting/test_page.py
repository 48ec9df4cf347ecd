from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from edge_sdk.fitting.evaluate import evaluate
from edge_sdk.fitting.fit import fit
from edge_sdk.fitting.page import page
from tests.fitting.records import classes, estimates
from tests.fitting.test_evaluate import spoilt

CHROMIUM = Path("/usr/bin/chromium")


@lru_cache
def report(kind: str) -> str:
    if kind == "classes":
        record = classes(400)
        spec = fit(record, method="staged_pool").spec
        return page("room <1>", spec, record, evaluate(spec, record, spoilt=spoilt(record)))  # type: ignore[arg-type]
    numbers = estimates(400)
    spec = fit(numbers, method="inverse variance").spec
    return page("air", spec, numbers, evaluate(spec, numbers))


@pytest.mark.parametrize(("kind", "figures"), [("classes", 4), ("estimates", 4)])
def test_the_page_holds_every_plot_and_no_figure_that_is_none(kind: str, figures: int) -> None:
    text = report(kind)
    assert text.count("<svg") == figures
    assert ">nan" not in text
    assert "<script" not in text
    assert "http" not in text
    assert np.all([word not in text for word in ("room <1>", "None")])


def test_the_page_says_which_coverage_was_stated() -> None:
    assert "Sets state 90 %. " in report("classes")
    assert "Intervals state 90 %. " in report("estimates")


def test_every_figure_of_an_estimate_has_its_unit() -> None:
    text = report("estimates")

    assert [word for word in ("MAE", "CRPS", "width") if f">{word}, m</th>" not in text] == []
    assert "mean absolute error, m<" in text
    assert "estimate, m<" in text


@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed: apt-get install chromium")
@pytest.mark.parametrize("kind", ["classes", "estimates"])
def test_the_page_opens_in_a_browser_without_an_error_or_a_request(kind: str, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(report(kind), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1100, "height": 900})
        troubles: list[str] = []
        opened.on("console", lambda message: troubles.append(message.text))
        opened.on("pageerror", lambda error: troubles.append(str(error)))
        opened.on("requestfailed", lambda request: troubles.append(request.url))
        opened.goto((tmp_path / "report.html").as_uri())
        headings = opened.locator("h2").all_inner_texts()
        assert {"Whole, and in trouble", "Robustness", "Reliability", "Contribution over time"} <= set(headings)
        assert opened.locator("tr.fused").count() == 1
        boxes = [figure.bounding_box() for figure in opened.locator("svg").all()]
        assert all(box is not None and box["width"] > 200 and box["height"] > 100 for box in boxes)
        for width in (1100, 390):
            opened.set_viewport_size({"width": width, "height": 900})
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert troubles == []
        browser.close()
