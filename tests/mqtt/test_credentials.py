"""Certificates and passwords that are replaced while a connection is up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_sdk.base.clock import SystemClock
from edge_sdk.monitor.ingest import Ingest
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.mqtt.credentials import Credentials
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress, Tls
from tests.brokers import mosquitto
from tests.monitor.talk import Talker
from tests.mqtt.test_bridge import World, running, until
from tests.mqtt.test_tls import Authority, secure

pytestmark = pytest.mark.anyio


def renew(authority: Authority, name: str) -> None:
    for file in authority.issue(name):
        os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 1_000_000))


def test_new_files_are_noticed_once_they_fit_together(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    tls = Tls(authority.file, *authority.issue("station"))
    credentials = Credentials(BrokerAddress(tls=tls))
    old_key = (tmp_path / "station.key").read_bytes()
    assert not credentials.have_changed()

    renew(authority, "station")
    (new_key := tmp_path / "new.key").write_bytes((tmp_path / "station.key").read_bytes())
    (tmp_path / "station.key").write_bytes(old_key)
    assert not credentials.have_changed(), "certificate and key do not fit: somebody is still copying"

    new_key.replace(tmp_path / "station.key")
    assert credentials.have_changed()


def test_a_new_password_is_noticed(tmp_path: Path) -> None:
    (file := tmp_path / "password").write_text("old\n")
    credentials = Credentials(BrokerAddress(username="a", password_file=file))

    file.write_text("newer\n")

    assert credentials.have_changed()
    assert credentials.password() == "newer"


async def test_a_station_takes_its_new_certificate_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    tls = Tls(authority.file, *authority.issue("station"))
    world = World(tmp_path)
    more = secure(authority, tmp_path, "require_certificate true")
    with mosquitto(tmp_path / "broker", extra=more) as broker:
        address = BrokerAddress("127.0.0.1", broker.port, tls=tls)
        bridge = world.bridge(
            delivery="broker", connect=lambda will: PahoTransport(address, client_id="station", will=will)
        )
        async with running(bridge.run):
            await until(lambda: bridge.connected)
            renew(authority, "station")
            await until(lambda: bridge.counters["bridge.connections"] == 2)
            await world.put(bridge, 1)
            await until(lambda: world.outbox.stats().rows == 0)
    world.outbox.close()

    assert bridge.counters["bridge.connections_lost"] == 0


async def test_a_monitor_takes_its_new_certificate_without_a_restart(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    tls = Tls(authority.file, *authority.issue("monitor"))
    store = SqliteStore(tmp_path / "monitor.db")
    with mosquitto(tmp_path / "broker", extra=secure(authority, tmp_path, "require_certificate true")) as broker:
        address = BrokerAddress("127.0.0.1", broker.port, tls=tls)
        ingest = Ingest(store, lambda: PahoTransport(address, client_id="monitor", clean_start=False), SystemClock())
        async with running(ingest.run):
            await until(lambda: ingest.state.is_connected)
            renew(authority, "monitor")
            await until(lambda: ingest.state.connections == 2)
            async with PahoTransport(address, client_id="station") as station:
                await station.publish([Talker().result(1)])
            await until(lambda: ingest.state.commits == 1)
            ingest.stop()
    store.close()

    assert ingest.state.last_error == ""
