"""How ``make arm64`` calls the proof."""

from __future__ import annotations

import re

from deploy.arm64.__main__ import parse
from deploy.arm64.host import ROOT


def test_the_makefile_calls_it_as_it_wants_to_be_called() -> None:
    calls = re.findall(r"-m deploy\.arm64 (.+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    given = [parse(call.replace("$(SUITE)", "bookworm trixie").split()) for call in calls]

    assert [one.what for one in given] == ["prove", "image"]
    assert all(one.keep and one.suites == ["bookworm", "trixie"] for one in given)
