"""Every page in a real browser while fifty simulated stations publish."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.brokers import mosquitto
from tests.monitor.test_program import Running, monitor, wait
from tests.monitor.web.test_page import CHROMIUM, axe_script, browser, complaints_of

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed: apt-get install chromium")
__all__ = ["browser"]

PAGES = {
    "/": "#fleet-table tr[data-station='gate-3']",
    "/?view=map": "#map circle",
    "/station/north/gate-3?range=3600": "#label-chart rect",
    "/station/market/gate-10?range=3600": "#value-chart polyline",
    "/streams?range=3600": "#strip-chart rect",
    "/streams?stream=climate&range=3600": "#value-chart polyline",
    "/bundles": "#bundles-table tr[data-model='light']",
    "/alerts": "#alerts-table tr[data-rule='hot']",
    "/events": "#events-table tr[data-event='sensor.lost']",
    "/quarantine": "#quarantine-table tr[data-reason='malformed']",
}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("crowd")
    (directory / "monitor.yaml").write_text(
        "alerts: {rules: [{name: hot, when: temperature_above, threshold: 70}, {name: gone, when: offline}]}\n"
    )
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(directory / "broker", extra="max_inflight_messages 0"))
        running = stack.enter_context(monitor(directory, broker.url, str(directory / "monitor.yaml")))
        wait(lambda: running.get("/healthz")["broker"])
        speakers = subprocess.Popen([sys.executable, "-m", "tests.monitor.crowd", str(broker.port), "50"])
        stack.callback(speakers.wait)
        stack.callback(speakers.terminate)
        wait(lambda: running.get("/api/counters")["results"] > 50 * 360 + 50, deadline_s=90)
        wait(lambda: len(running.get("/api/alerts")) >= 3)
        yield running


@pytest.fixture
def page(browser: Browser, crowd: Running) -> Iterator[Page]:
    """A page that must not complain, nor ask anybody but the monitor."""
    context = browser.new_context(base_url=crowd.url, viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    complaints = complaints_of(opened, str(crowd.url))
    yield opened
    context.close()
    assert complaints == []


def test_every_page_opens_by_its_address_and_from_the_bar(page: Page) -> None:
    for path, seen in PAGES.items():
        page.goto(path)
        expect(page.locator(seen).first).to_be_visible()
    page.goto("/")
    for name, path in (("Streams", "/streams"), ("Bundles", "/bundles"), ("Alerts", "/alerts"), ("Events", "/events")):
        page.get_by_role("link", name=re.compile(f"^{name}")).click()
        expect(page).to_have_url(re.compile(path))
        expect(page.locator("h1")).to_have_text(re.compile(name))
        expect(page.locator("nav a[aria-current]")).to_have_text(re.compile(name))


@pytest.mark.parametrize("width", [360, 768, 1180])
def test_no_page_is_wider_than_its_window_and_no_table_is_cut(browser: Browser, crowd: Running, width: int) -> None:
    context = browser.new_context(base_url=crowd.url, viewport={"width": width, "height": 800})
    page = context.new_page()
    for path, seen in PAGES.items():
        page.goto(path)
        expect(page.locator(seen).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        if width != 768:  # there a wide table scrolls within its frame
            cut = "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1)"
            assert page.evaluate(f"{cut}.map((one) => one.getAttribute('aria-label') ?? one.className)") == [], path
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation_on_any_page(
    browser: Browser, crowd: Running, scheme: Literal["light", "dark"]
) -> None:
    axe = axe_script()
    context = browser.new_context(base_url=crowd.url, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    violations = []
    for path, seen in PAGES.items():
        page.goto(path)
        expect(page.locator(seen).first).to_be_visible()
        page.evaluate(axe)
        report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        violations += [(path, one["id"], one["impact"], one["nodes"][0]["html"]) for one in report["violations"]]
    context.close()

    assert [one for one in violations if one[2] in {"serious", "critical"}] == []


def test_stations_are_chosen_for_comparison_and_the_choice_is_in_the_address(page: Page) -> None:
    page.goto("/streams?range=3600")
    expect(page.locator("#now-body tr")).to_have_count(8)
    page.locator("#pick-filter").fill("gate-44")
    page.locator("#pick [data-key='depot/gate-44']").click()
    expect(page.locator("#now-body tr")).to_have_count(9)

    page.reload()

    expect(page.locator("#now-body tr")).to_have_count(9)
    expect(page.locator("#pick [data-key='depot/gate-44']")).to_have_attribute("aria-pressed", "true")


def test_a_value_stands_in_its_interval_now_and_over_time(page: Page, crowd: Running) -> None:
    page.goto("/station/market/gate-10?range=3600")

    expect(page.locator("#fused-interval")).to_have_text(re.compile(r"^-?[\d.]+ to -?[\d.]+ °C$"))
    expect(page.locator("#label-chart polygon[data-band='interval']")).to_be_visible()
    said = page.locator("#fused-interval").inner_text().removesuffix(" °C").split(" to ")
    newest = crowd.get("/api/results?site=market&station=gate-10&limit=20")
    assert [float(one) for one in said] in [one["body"]["interval"] for one in newest]


def test_every_number_of_a_value_has_its_unit(page: Page) -> None:
    page.goto("/station/market/gate-10?range=3600")

    expect(page.locator("#label-chart .unit")).to_have_text("°C")
    expect(page.locator("#value-chart .unit")).to_have_text("°C")
    expect(page.locator("#contributors-body [data-field='label']").first).to_have_text(re.compile(r"^-?[\d.]+ °C$"))
    page.goto("/streams?stream=climate&range=3600")
    expect(page.locator("#value-chart .unit")).to_have_text("°C")


@pytest.mark.parametrize("width", [360, 1180])
def test_no_name_on_the_map_is_cut(browser: Browser, crowd: Running, width: int) -> None:
    context = browser.new_context(base_url=crowd.url, viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto("/?view=map")
    expect(page.locator("#map circle")).to_have_count(50)

    cut = page.evaluate(
        """() => {
          const frame = document.querySelector("#map").getBoundingClientRect();
          const names = [...document.querySelectorAll("#map text")];
          return names.map((one) => [one.textContent, one.getBoundingClientRect()])
            .filter(([, at]) => at.left < frame.left - 1 || at.right > frame.right + 1 || at.top < frame.top - 1)
            .map(([name]) => name);
        }"""
    )

    assert page.locator("#map text.name").count() > 0
    assert cut == []
    context.close()


def test_a_phone_shows_in_the_bar_which_page_this_is(browser: Browser, crowd: Running) -> None:
    context = browser.new_context(base_url=crowd.url, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto("/quarantine")
    here = page.locator("nav a[aria-current]")
    expect(here).to_have_text("Quarantine")
    expect(here).to_be_in_viewport(ratio=1)
    context.close()


def test_a_label_has_one_colour_on_every_page(page: Page) -> None:
    def colours(path: str, chart: str) -> set[tuple[str, str]]:
        page.goto(path)
        expect(page.locator(f"{chart} rect").first).to_be_visible()
        found = page.locator(f"{chart} rect").evaluate_all(
            "all => all.map(one => [one.dataset.label, one.getAttribute('fill')])"
        )
        return {(label, colour) for label, colour in found if label}

    one = colours("/station/north/gate-3?range=3600", "#label-chart")
    many = colours("/streams?range=3600", "#strip-chart")

    assert one
    assert one <= many
    assert len(dict(many)) == len(many)


def test_a_range_between_two_moments_is_shown_kept_in_the_address_and_taken_away_as_csv(page: Page) -> None:
    page.goto("/station/north/gate-3?range=3600")
    expect(page.locator("#label-chart rect").first).to_be_visible()
    page.get_by_text("From … to …").click()
    begin, end = time.time() - 1800, time.time() - 900
    for field, moment in (("#range-from", begin), ("#range-to", end)):
        page.locator(field).fill(time.strftime("%Y-%m-%dT%H:%M", time.localtime(moment)))
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page).to_have_url(re.compile("from=.*to="))
    expect(page.locator("#download-csv")).to_have_attribute("href", re.compile("until="))
    page.reload()
    expect(page.locator("#label-chart rect").first).to_be_visible()

    with page.expect_download() as taken:
        page.locator("#download-csv").click()

    rows = list(csv.DictReader(io.StringIO(Path(str(taken.value.path())).read_text())))
    assert 80 <= len(rows) <= 100
    assert {row["station"] for row in rows} == {"gate-3"}
    assert all(begin - 60 <= int(row["t_ns"]) / 1e9 < end for row in rows)


def test_contributors_now_are_those_of_the_newest_result(page: Page, crowd: Running) -> None:
    page.goto("/station/north/gate-3?range=604800")
    expect(page.locator("#contributors-body tr")).to_have_count(3)

    def agrees() -> bool:
        [newest] = crowd.get("/api/results?site=north&station=gate-3&stream=occupancy&limit=1")
        shown = [cell.inner_text() for cell in page.locator("#contributors-body td:nth-child(6)").all()]
        return shown == [f"{part['age_ms']} ms" for part in newest["body"]["contributors"]]

    wait(agrees)


def test_every_table_is_sorted_by_a_press_on_a_title(page: Page) -> None:
    page.goto("/events")
    expect(page.locator("#events-body tr").first).to_be_visible()
    column = page.locator("#events-table th", has_text="Station")
    button = column.get_by_role("button")

    def shown() -> list[int]:
        names = page.locator("#events-body td:nth-child(3) a").all_inner_texts()
        return [int(name.partition("-")[2]) for name in names]

    as_they_came = shown()
    button.click()
    expect(column).to_have_attribute("aria-sort", "ascending")
    assert shown() == sorted(as_they_came)
    button.press("Enter")
    expect(column).to_have_attribute("aria-sort", "descending")
    assert shown() == sorted(as_they_came, reverse=True)
    page.locator("#events-table th", has_text="When").get_by_role("button").click()
    when = [int(str(cell.get_attribute("data-value"))) for cell in page.locator("#events-body td:nth-child(2)").all()]
    assert when == sorted(when)


def test_the_map_shows_who_gave_a_place_and_opens_a_station(page: Page) -> None:
    page.goto("/?view=map")
    expect(page.locator("#map circle")).to_have_count(50)
    page.locator("#filter").fill("harbour")
    expect(page.locator("#map circle")).to_have_count(13)
    page.locator("#map circle[data-key='harbour/gate-17']").dispatch_event("click")  # another dot may lie over it
    expect(page.locator("h1")).to_have_text("gate-17")


def test_an_alert_is_seen_to_and_silenced_and_the_silence_is_ended(page: Page) -> None:
    page.goto("/alerts")
    row = page.locator("#alerts-table tr[data-rule='gone']").first
    row.get_by_role("button", name="Seen").click()
    expect(row.locator("[data-field='seen']")).to_have_text("somebody")
    row.get_by_role("button", name="Silence 1 h").click()
    silence = page.locator("#silences-body tr")
    expect(silence).to_have_count(1)
    silence.get_by_role("button", name="End").click()
    expect(silence).to_have_count(0)


def test_bundles_say_where_they_run(page: Page) -> None:
    page.goto("/bundles")
    row = page.locator("#bundles-table tr[data-model='light']").first
    row.locator("summary").click()
    row.get_by_role("link").first.click()
    expect(page.locator("h1")).to_have_text(re.compile("^gate-"))
