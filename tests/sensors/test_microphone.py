"""A microphone through real PortAudio and ALSA, whose input is a pipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.base.errors import SensorError
from edge_sdk.sensors.microphone import Microphone
from tests.sensors.stands import STANDS, alsa_fifo
from tests.sensors.test_conformance import ignore, until

pytestmark = pytest.mark.anyio


def microphone(**options: Any) -> Microphone:
    return Microphone("ear", Microphone.Options(**options), clock=SystemClock())


async def test_what_the_input_hears_comes_as_blocks_at_the_rate_that_was_asked_for(tmp_path: Path) -> None:
    with STANDS["microphone"](tmp_path) as stand:
        came = await until(microphone(**stand.options).run, 6)

    assert all(reading.samples.shape == (800, 1) and reading.rate_hz == 16_000 for reading in came)
    # Where the pipe was empty, ALSA's null device gives whatever is in memory.
    assert any(np.isclose(reading.samples, 0.25).mean() > 0.2 for reading in came)


async def test_an_input_that_is_not_there_is_told_with_those_that_are() -> None:
    fd = os.open(alsa_fifo(), os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(SensorError, match=r"'walkman'.*Inputs here: .*recorded"):
            await microphone(device="walkman").run(ignore)
    finally:
        os.close(fd)


async def test_a_rate_that_the_input_cannot_do_is_told() -> None:
    fd = os.open(alsa_fifo(), os.O_RDWR | os.O_NONBLOCK)
    try:
        with pytest.raises(SensorError, match="cannot be opened"):
            await microphone(device="recorded", channels=64, rate_hz=1).run(ignore)
    finally:
        os.close(fd)
