"""Photographs the monitor's pages for the README, while a crowd of simulated stations talks: ``make pictures``.

``--crowd DIRECTORY`` photographs every page, wide, narrow and dark, and as on a phone, for a person to look at.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))
CHROMIUM = "/usr/bin/chromium"
KEPT = {"fleet": 620, "station": 1060, "streams": 800, "map": 880, "bundles": 640}
STATIONS = 50
_FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --hide-scrollbars"
_EXTRA = "max_inflight_messages 0"
_RULES = """\
alerts:
  rules:
    - {name: hot, when: temperature_above, threshold: 70, severity: error}
    - {name: falls-behind, when: backlog_above, threshold: 300, clear: 10}
    - {name: gone, when: offline}
    - {name: lacks-a-sensor, when: degraded, severity: info, stations: ["gate-1*"]}
"""
PAGES = {
    "fleet": "/",
    "map": "/?view=map",
    "station": "/station/north/gate-3?range=3600",
    "value": "/station/market/gate-10?range=3600",
    "streams": "/streams?range=3600",
    "climate": "/streams?stream=climate&range=3600",
    "bundles": "/bundles",
    "alerts": "/alerts",
    "events": "/events",
    "quarantine": "/quarantine",
}


def main(arguments: list[str]) -> int:
    """Take the pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS.split())
        if arguments[:1] == ["--crowd"]:
            return _look(browser, Path(arguments[1]))
        with _crowd() as url:
            for name, height in KEPT.items():
                page = _open(browser, url + PAGES[name], 1280, height)
                _take(page, HERE / f"{name}.png")
                page.close()
    return 0


def _look(browser: Browser, directory: Path) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    with _crowd() as url:
        for name, path in PAGES.items():
            for kind, width, scheme in (("wide", 1280, "light"), ("narrow", 1180, "dark"), ("phone", 390, "light")):
                page = _open(browser, url + path, width, 800, "dark" if scheme == "dark" else "light")
                _take(page, directory / f"{name}-{kind}.png", full_page=True)
                page.close()
    return 0


@contextmanager
def _crowd() -> Iterator[str]:
    """Broker, monitor and crowd; gives the page's URL once everybody has spoken."""
    from tests.brokers import mosquitto

    with tempfile.TemporaryDirectory() as place, mosquitto(Path(place) / "broker", extra=_EXTRA) as broker:
        config, ready = Path(place) / "monitor.yaml", Path(place) / "ready.json"
        config.write_text(
            f'store: monitor.db\nbroker: {{url: "{broker.url}"}}\nweb: {{listen: "127.0.0.1:0"}}\n{_RULES}'
        )
        command = [sys.executable, "-m", "edge_sdk.cli", "monitor", "run", str(config), "--ready-file", str(ready)]
        monitor = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        url = _wait(lambda: json.loads(ready.read_text())["url"])
        _wait(lambda: _ask(f"{url}/healthz")["broker"])  # what nobody is subscribed to yet would be lost
        crowd = subprocess.Popen(
            [sys.executable, "-m", "tests.monitor.crowd", str(broker.port), str(STATIONS)], cwd=ROOT
        )
        try:
            _wait(lambda: _ask(f"{url}/api/counters")["results"] > STATIONS * 362)
            yield url
        finally:
            for process in (crowd, monitor):
                process.terminate()
                process.wait(20)


def _ask(url: str) -> Any:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own monitor
        return json.load(answer)


def _wait(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError):
            if value := found():
                return value
        time.sleep(0.2)
    raise TimeoutError("the crowd says nothing")


def _open(browser: Browser, url: str, width: int, height: int, scheme: Literal["dark", "light"] = "light") -> Page:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(url)
    page.wait_for_timeout(2500)
    return page


def _take(page: Page, path: Path, *, full_page: bool = False) -> None:
    page.screenshot(path=path, animations="disabled", full_page=full_page)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
