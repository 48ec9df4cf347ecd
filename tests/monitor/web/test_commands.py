"""Commands from the page in a real browser, through a real broker, to a real station."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from edge_sdk.monitor.accounts import Accounts, Role
from edge_sdk.monitor.web.guard import COOKIE
from tests.brokers import RunningBroker, mosquitto
from tests.monitor.talk import Talker
from tests.monitor.test_program import Running, monitor, publish, wait
from tests.monitor.web.test_page import CHROMIUM, axe_script, browser
from tests.station.process import configured, running

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed: apt-get install chromium")
__all__ = ["browser"]

PASSWORD = "correct horse battery"
SAME = {"Sec-Fetch-Site": "same-origin"}
WAIT_MS = 60_000
expect.set_options(timeout=WAIT_MS)
PATH = "/api/stations/roof/alone/commands"


class Yard:
    """A broker, a station that allows some commands, and a monitor with three accounts."""

    def __init__(self, broker: RunningBroker, monitor: Running, accounts: Accounts) -> None:
        self.broker, self.accounts = broker, accounts
        self.url = str(monitor.url)
        self._sessions: dict[str, str] = {}
        self.key = {"Authorization": f"Bearer {accounts.add_key('tests', Role.ADMIN)}"}

    def ask(self, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=30)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), given)
        answer = connection.getresponse()
        status, said = answer.status, answer.read()
        connection.close()
        return status, json.loads(said) if said else None

    def session(self, name: str) -> str:
        """The token of a session: logging in on the page itself is bounded to so many times a minute."""
        if name not in self._sessions:
            token = self.accounts.log_in(name, PASSWORD, now_ns=time.time_ns())
            assert token is not None
            self._sessions[name] = token
        return self._sessions[name]

    def told(self, command: str) -> Any:
        """The last word on a command."""
        found: list[Any] = []

        def is_told() -> bool:
            found[:] = [self.ask(f"{PATH}/{command}", **self.key)[1]]
            return found[0]["state"] not in {"given", "sent", "accepted"}

        wait(is_told, deadline_s=90)
        return found[0]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    directory = tmp_path_factory.mktemp("yard")
    accounts = Accounts(directory / "monitor.db.accounts")
    for name, role in (("vera", Role.VIEWER), ("otto", Role.OPERATOR), ("ada", Role.ADMIN)):
        accounts.add_user(name, role, PASSWORD)
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(directory / "broker"))
        config = configured(directory, broker)
        config.write_text(config.read_text() + "remote: {allow: [ping, snapshot, pause, log-level]}\n")
        made = Yard(broker, stack.enter_context(monitor(directory, broker.url)), accounts)
        stack.enter_context(running(config))
        wait(lambda: made.ask("/api/stations/roof/alone", **made.key)[0] == 200, deadline_s=60)
        wait(lambda: made.ask("/api/results?station=alone", **made.key)[1], deadline_s=60)
        yield made


def opened(browser: Browser, yard: Yard, name: str, **options: Any) -> Page:
    """The station's page as somebody sees it who has logged in."""
    context = browser.new_context(base_url=yard.url, viewport={"width": 1280, "height": 900}, **options)
    context.add_cookies([{"name": COOKIE, "value": yard.session(name), "url": yard.url}])
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto("/station/roof/alone")
    return page


@pytest.fixture
def page(browser: Browser, yard: Yard) -> Iterator[Page]:
    found = opened(browser, yard, "otto")
    yield found
    found.context.close()


def given(page: Page, verb: str) -> Locator:
    """Press the button; the row of the command that it makes."""
    button = page.locator(f"button[data-verb='{verb}']")
    expect(button).to_be_enabled()
    before = page.locator("#commands-body tr").first
    was = before.get_attribute("data-command") if page.locator("#commands-body tr").count() else ""
    button.click()
    row = page.locator(f"#commands-body tr:first-child:not([data-command='{was}'])")
    expect(row).to_have_attribute("data-verb", verb)
    return page.locator(f"#commands-body tr[data-command='{row.get_attribute('data-command')}']")


def test_an_operator_pings_a_station_and_sees_what_it_answers(page: Page) -> None:
    row = given(page, "ping")

    expect(row.locator("[data-field='state'] .chip")).to_have_text("done")
    expect(row.locator("[data-field='who']")).to_have_text("otto")
    row.get_by_text("What it gave").click()
    expect(row.locator("dl")).to_contain_text("working")


def test_a_snapshot_shows_the_last_window_of_each_model(page: Page) -> None:
    row = given(page, "snapshot")
    row.get_by_text("What it gave").click()

    expect(row.locator("figcaption")).to_contain_text("level.")
    expect(row.locator("figure svg polyline").first).to_be_visible()
    with page.expect_download() as taken:
        row.get_by_role("link", name="JSON").click()
    kept = json.loads(Path(str(taken.value.path())).read_text())
    [window] = kept["result"].values()
    assert window["float32"]


def test_a_paused_stream_gives_no_results_until_it_goes_on(page: Page, yard: Yard) -> None:
    page.locator("#pause-for").fill("5")
    row = given(page, "pause")
    expect(row).to_contain_text("stream: level, for_s: 300")
    expect(row.locator("[data-field='state'] .chip")).to_have_text("done")

    def newest() -> int:
        return int(yard.ask("/api/results?station=alone&limit=1", **yard.key)[1][-1]["seq"])

    # What it had predicted before comes still; then nothing does, while its pings say that it works.
    def is_still() -> bool:
        before = newest()
        _, ping = yard.ask(PATH, {"verb": "ping"}, **yard.key)
        yard.told(ping["id"])
        return newest() == before

    wait(is_still, deadline_s=90)
    last = newest()
    _, on = yard.ask(PATH, {"verb": "pause", "arguments": {"stream": "level", "for_s": 0}}, **yard.key)
    assert yard.told(on["id"])["state"] == "done"
    wait(lambda: newest() > last, deadline_s=90)


def test_a_log_level_is_accepted_and_done_when_it_is_over(page: Page, yard: Yard) -> None:
    expect(given(page, "log-level").locator("[data-field='state'] .chip")).to_have_text("accepted")

    _, short = yard.ask(PATH, {"verb": "log-level", "arguments": {"level": "debug", "for_s": 0.2}}, **yard.key)
    assert yard.told(short["id"])["state"] == "done"


def test_what_the_station_does_not_allow_nobody_gets_done_not_even_an_admin(page: Page, yard: Yard) -> None:
    expect(page.locator("button[data-verb='rebirth']")).to_be_disabled()

    status, command = yard.ask(PATH, {"verb": "rebirth"}, **yard.key)
    told = yard.told(command["id"])

    assert status == 202
    assert (told["state"], told["reason"], told["who"]) == ("refused", "not_allowed", "tests")
    row = page.locator(f"#commands-body tr[data-command='{command['id']}']")
    expect(row.locator("[data-field='state'] .chip")).to_have_text("refused")
    expect(row).to_contain_text("remote: allow:")


@pytest.mark.parametrize("verb", ["config-set", "bundle-install", "bundle-chunk", "self-destruct", ""])
def test_changes_and_nonsense_are_not_given_from_the_page(yard: Yard, verb: str) -> None:
    status, said = yard.ask(PATH, {"verb": verb, "arguments": {"patch": {}}}, **yard.key)

    assert status == 422
    assert "is not given from here" in said["detail"]


def test_a_wrong_argument_is_refused_by_the_station(yard: Yard) -> None:
    _, command = yard.ask(PATH, {"verb": "pause", "arguments": {"stream": "levle", "for_s": 1}}, **yard.key)
    told = yard.told(command["id"])

    assert (told["state"], told["reason"]) == ("refused", "arguments")
    assert "Did you mean 'level'" in told["message"]


def test_a_viewer_sees_commands_and_gives_none(browser: Browser, yard: Yard) -> None:
    yard.ask(PATH, {"verb": "ping"}, **yard.key)
    key = {"Authorization": f"Bearer {yard.accounts.add_key('looks', Role.VIEWER)}"}

    assert yard.ask(PATH, {"verb": "ping"}, **key)[0] == 403
    page = opened(browser, yard, "vera")
    expect(page.locator("#commands-body tr").first).to_be_visible()
    expect(page.locator(".give")).to_be_hidden()
    page.context.close()


def test_another_page_in_the_same_browser_gives_no_command(page: Page, yard: Yard) -> None:
    cookie = "; ".join(f"{one['name']}={one['value']}" for one in page.context.cookies())

    status, said = yard.ask(PATH, {"verb": "ping"}, Cookie=cookie, Sec_Fetch_Site="cross-site")

    assert status == 403
    assert "own page" in said["detail"]
    assert yard.ask(PATH, {"verb": "ping"}, Cookie=cookie, **SAME)[0] == 202


def test_a_station_that_is_not_there_is_sent_nothing(yard: Yard) -> None:
    gone = Talker(site="roof", station="gone")
    publish(yard.broker.port, [gone.birth(), gone.result(1)])
    path = "/api/stations/roof/gone/commands"
    wait(lambda: yard.ask("/api/stations/roof/gone", **yard.key)[0] == 200)

    _, command = yard.ask(path, {"verb": "pause", "arguments": {"stream": "level", "for_s": 60}}, **yard.key)
    found: list[Any] = []

    def is_told() -> bool:
        found[:] = [yard.ask(f"{path}/{command['id']}", **yard.key)[1]]
        return bool(found[0]["state"] != "given")

    wait(is_told, deadline_s=60)
    assert found[0]["state"] == "unanswered"
    assert "nothing was sent" in found[0]["message"]


def test_no_command_for_a_station_that_was_never_heard(yard: Yard) -> None:
    assert yard.ask("/api/stations/roof/nobody/commands", {"verb": "ping"}, **yard.key)[0] == 404


def test_a_command_from_the_command_line_is_shown_too(page: Page, yard: Yard) -> None:
    remote = [sys.executable, "-m", "edge_sdk.cli", "remote", "--broker", yard.broker.url]
    subprocess.run(
        [*remote, "--site", "roof", "--station", "alone", "snapshot"], check=True, capture_output=True, timeout=90
    )

    row = page.locator("#commands-body tr[data-verb='snapshot']", has_text="elsewhere").first
    expect(row.locator("[data-field='state'] .chip")).to_have_text("done")


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_commands_fit_a_phone_and_axe_finds_no_serious_violation(
    browser: Browser, yard: Yard, scheme: str, width: int
) -> None:
    page = opened(browser, yard, "otto", color_scheme=scheme, bypass_csp=True)
    page.set_viewport_size({"width": width, "height": 800})
    row = given(page, "snapshot")
    row.get_by_text("What it gave").click()
    expect(row.locator("figure svg")).to_be_visible()
    expect(page.locator("#label-chart")).to_be_visible()

    page.evaluate(axe_script())
    report = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.context.close()

    assert [one["id"] for one in report["violations"] if one["impact"] in {"serious", "critical"}] == []
    assert wide <= width


def test_after_the_broker_was_away_commands_are_given_again(yard: Yard) -> None:
    yard.broker.restart()

    def is_done() -> bool:
        status, command = yard.ask(PATH, {"verb": "snapshot"}, **yard.key)
        assert status in {202, 503}  # 503: the monitor is not back there yet, and sends nothing
        return status == 202 and yard.told(command["id"])["state"] == "done"

    wait(is_done, deadline_s=120)
