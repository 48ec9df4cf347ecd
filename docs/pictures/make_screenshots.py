"""Photographs the monitor's page while the demo runs: ``make pictures``. Writes fleet.png and station.png beside it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
CHROMIUM = "/usr/bin/chromium"
SECONDS = 50
_FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --hide-scrollbars"
_PAGE = re.compile(r"page: (http\S+)")


def main() -> int:
    """Run the demo, take the pictures when its backlog has drained, and give its exit code."""
    command = [sys.executable, "-m", "edge_sdk.cli", "demo", "--seconds", str(SECONDS), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        url = next((found[1] for line in demo.stderr if (found := _PAGE.search(line))), None)
        if url is None:
            return demo.wait()
        begun = time.monotonic()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS.split())
            page = browser.new_page(viewport={"width": 1280, "height": 560}, color_scheme="light")
            page.goto(url)
            page.locator("#fleet-table tr[data-station]").nth(2).wait_for(timeout=60_000)
            page.wait_for_timeout(max(0.0, 0.8 * SECONDS - (time.monotonic() - begun)) * 1000)
            _take(page, HERE / "fleet.png")
            page.locator("#fleet-table tr[data-station='person-8'] a").click()
            page.wait_for_timeout(3000)
            page.set_viewport_size({"width": 1280, "height": 1030})
            _take(page, HERE / "station.png")
            browser.close()
        for _ in demo.stderr:
            pass
        return demo.wait()


def _take(page: Page, path: Path) -> None:
    page.screenshot(path=path, animations="disabled")


if __name__ == "__main__":
    sys.exit(main())
