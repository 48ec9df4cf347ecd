"""A station on a roof: a real broker, a signed tiny bundle, a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_sdk.contract.manifest import Windowing
from edge_sdk.contract.trust import SigningKey
from tests.brokers import RunningBroker, mosquitto
from tests.models import LENGTH, tiny_bundle
from tests.station.process import STATION


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    (tmp_path / "broker").mkdir()
    with mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, broker: RunningBroker) -> Path:
    SigningKey.new().write(tmp_path / "key")
    windowing = Windowing(length=LENGTH, stride=2, rate_hz=50.0)
    tiny_bundle(tmp_path / "tiny.edge", key=SigningKey.read(tmp_path / "key"), windowing=windowing)
    path = tmp_path / "station.yaml"
    path.write_text(STATION.format(broker=broker.url))
    return path
