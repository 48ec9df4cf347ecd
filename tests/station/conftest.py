"""A station on a roof: a real broker, a signed tiny bundle, a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import RunningBroker, mosquitto
from tests.station.process import configured


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    (tmp_path / "broker").mkdir()
    with mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, broker: RunningBroker) -> Path:
    return configured(tmp_path, broker)
