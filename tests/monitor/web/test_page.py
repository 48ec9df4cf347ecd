"""The page in a real browser shows what the store holds."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from edge_sdk.contract.events import StationState
from edge_sdk.monitor.store.reader import StoreReader
from edge_sdk.mqtt.transport import Message
from tests.brokers import RunningBroker, mosquitto
from tests.monitor.talk import LABELS, Talker
from tests.monitor.test_program import Running, monitor, publish, wait

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed: apt-get install chromium")

GATE = Talker()
PIER = Talker(site="harbour", station="pier-2", epoch="9f3c00000000aa02")


class Scene:
    """A broker, a monitor that serves its page, two stations that have spoken."""

    def __init__(self, broker: RunningBroker, running: Running, directory: Path) -> None:
        self.broker, self.running, self.directory = broker, running, directory

    def say(self, *messages: Message) -> None:
        publish(self.broker.port, list(messages))

    def labels(self) -> dict[str, str | None]:
        """The newest fused label of each station, from the store's results."""
        with StoreReader(self.directory / "monitor.db") as reader:
            return {one.station: _label(one.result.label) for one in reader.results()}


def _label(label: object) -> str | None:
    return label if isinstance(label, str) else None


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("scene")
    with mosquitto(directory / "broker") as broker, monitor(directory, broker.url) as running:
        made = Scene(broker, running, directory)
        wait(lambda: running.get("/healthz")["broker"])
        made.say(
            GATE.birth(), GATE.status(), GATE.pack(range(1, 61)), GATE.health(60, backlog=3), GATE.event("sensor.lost")
        )
        made.say(PIER.birth(), PIER.status(StationState.OFFLINE), PIER.pack(range(1, 36)))
        made.say(Message(GATE.result(1).topic, b"<script>document.title = 'owned'</script>"))
        wait(lambda: running.get("/api/counters")["results"] == 95)
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    with sync_playwright() as playwright:
        arguments = [*flags.split(), "--disable-component-update", "--disable-sync"]
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, scene: Scene) -> Iterator[Page]:
    """A page that must not complain, nor ask anybody but the monitor."""
    context = browser.new_context(base_url=scene.running.url)
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    complaints = complaints_of(opened, str(scene.running.url))
    yield opened
    context.close()
    assert complaints == []


def complaints_of(page: Page, url: str) -> list[str]:
    """Gathers what the page complains of, and whom it asks besides the monitor."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda ask: None if ask.url.startswith(url) else complaints.append(ask.url))
    return complaints


def axe_script() -> str:
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-core is not installed: pip install axe-playwright-python")
    return Path(found.origin).with_name("axe.min.js").read_text()


def row(page: Page, station: str) -> str:
    return f"#fleet-table tr[data-station='{station}']"


def test_the_fleet_shows_the_very_labels_that_the_store_holds(page: Page, scene: Scene) -> None:
    page.goto("/")

    for station, label in scene.labels().items():
        expect(page.locator(f"{row(page, station)} [data-field='label']")).to_have_text(str(label))
    expect(page.locator(f"{row(page, 'gate-1')} [data-field='confidence']")).to_have_text("91 %")
    expect(page.locator(f"{row(page, 'gate-1')} [data-field='backends']")).to_have_text("litert+xnnpack")
    expect(page.locator(f"{row(page, 'pier-2')} [data-field='state']")).to_have_text("offline")
    expect(page.locator("#count-results")).to_have_text("95")


def test_a_new_result_appears_by_itself(page: Page, scene: Scene) -> None:
    page.goto("/")
    cell = page.locator(f"{row(page, 'pier-2')} [data-field='label']")
    expect(cell).to_have_text(str(scene.labels()["pier-2"]))

    scene.say(PIER.result(36, label="a new label"))

    expect(cell).to_have_text("a new label")
    assert scene.labels()["pier-2"] == "a new label"


def test_a_station_shows_its_result_over_time_its_contributors_and_what_it_runs(page: Page, scene: Scene) -> None:
    page.goto("/")
    page.locator(f"{row(page, 'gate-1')} a").click()

    expect(page).to_have_url(re.compile("/station/north/gate-1$"))
    expect(page.locator("#fused-label")).to_have_text(str(scene.labels()["gate-1"]))
    drawn = page.locator("#label-chart rect")
    expect(drawn).to_have_count(60)
    assert {one.get_attribute("data-label") for one in drawn.all()} == set(LABELS)
    expect(page.locator("#contributors tr[data-model='gyroscope']")).to_contain_text("fresh")
    expect(page.locator("#models tr[data-model='accelerometer'] [data-field='backend']")).to_have_text(
        "litert + xnnpack"
    )
    expect(page.locator("#events tr[data-event='sensor.lost']")).to_be_visible()
    expect(page.locator("#backlog-chart")).to_be_visible()


def test_the_quarantine_shows_rubbish_as_text(page: Page, scene: Scene) -> None:
    page.goto("/quarantine")

    expect(page.locator("#quarantine-table tr[data-reason='malformed']")).to_contain_text("<script>")
    expect(page).to_have_title("Quarantine · Edge monitor")


def test_filter_and_sort_are_kept_in_the_address(page: Page) -> None:
    page.goto("/")
    page.locator("#filter").fill("harbour")
    expect(page.locator("#fleet-table tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Confidence").click()

    page.reload()

    expect(page.locator("#fleet-table tbody tr")).to_have_count(1)
    expect(page.locator("th[data-field='confidence']")).to_have_attribute("aria-sort", "ascending")


def test_the_whole_page_can_be_used_from_the_keyboard(page: Page) -> None:
    page.goto("/")
    expect(page.locator(row(page, "gate-1"))).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.locator(f"{row(page, 'gate-1')} a").focus()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("gate-1")
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_a_phone_needs_no_scrolling_to_the_side(browser: Browser, scene: Scene) -> None:
    context = browser.new_context(base_url=scene.running.url, viewport={"width": 360, "height": 740})
    page = context.new_page()
    for path, seen in (("/", row(page, "gate-1")), ("/station/north/gate-1", "#label-chart"), ("/quarantine", "h1")):
        page.goto(path)
        expect(page.locator(seen)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(browser: Browser, scene: Scene, scheme: Literal["light", "dark"]) -> None:
    axe = axe_script()
    # Only the test may put a script into the page: its own policy forbids that.
    context = browser.new_context(base_url=scene.running.url, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    violations = []
    for path, seen in (
        ("/", row(page, "gate-1")),
        ("/station/north/gate-1", "#label-chart"),
        ("/alerts", "#alerts-empty"),
        ("/events", "#events-table tbody tr"),
        ("/quarantine", "#quarantine-table tbody tr"),
        ("/login", "#password"),
    ):
        page.goto(path)
        expect(page.locator(seen).first).to_be_visible()
        page.evaluate(axe)
        report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        violations += [(path, one["id"], one["impact"], one["nodes"][0]["html"]) for one in report["violations"]]
    context.close()

    assert [one for one in violations if one[2] in {"serious", "critical"}] == []


def test_who_has_to_log_in_is_offered_no_other_page(page: Page) -> None:
    page.goto("/login")

    expect(page.locator("#password")).to_be_visible()
    expect(page.locator("nav")).to_be_hidden()
