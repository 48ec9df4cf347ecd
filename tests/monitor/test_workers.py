"""Several workers share the messages and write one database; any of them may be killed and nothing is lost."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from edge_sdk.base.errors import ConfigError
from edge_sdk.base.yaml import parse_yaml
from edge_sdk.monitor.config import MonitorConfig
from edge_sdk.monitor.store.psycopg import PostgresConnection
from edge_sdk.monitor.store.reader import StoreReader
from tests.brokers import mosquitto
from tests.faults.scene import Child
from tests.monitor.test_program import wait

_CLI = "edge_sdk.cli"


def test_any_worker_may_be_killed_and_nothing_is_lost(new_database: Callable[[], str], tmp_path: Path) -> None:
    url = new_database()
    ledger = tmp_path / "ledger.txt"
    rng = random.Random()
    with ExitStack() as stack:
        broker = stack.enter_context(mosquitto(tmp_path / "broker"))
        config = tmp_path / "monitor.yaml"
        config.write_text(
            f'store: monitor.db\ndatabase: "{url}"\nbroker: {{url: "{broker.url}"}}\n'
            'ingest: {share: monitors}\nweb: {listen: "127.0.0.1:0"}\n'
        )
        ready = [tmp_path / f"{name}.json" for name in ("main", "second")]
        main = stack.enter_context(
            Child(tmp_path / "main.log", _CLI, "monitor", "run", str(config), "--ready-file", str(ready[0]))
        )
        worker = stack.enter_context(
            Child(tmp_path / "w.log", _CLI, "monitor", "worker", "second", str(config), "--ready-file", str(ready[1]))
        )
        wait(lambda: all(path.exists() for path in ready))
        feeder = stack.enter_context(
            Child(tmp_path / "feeder.log", "tests.faults.feeder", str(tmp_path / "outbox.db"), broker.url, str(ledger))
        )
        with StoreReader(url) as reader:
            for number in range(4):
                at_least = reader.counters().results + 60
                wait(lambda least=at_least: reader.counters().results >= least)  # type: ignore[misc]
                (main, worker)[number % 2 if number < 2 else rng.randrange(2)].kill()
                for child, path in zip((main, worker), ready, strict=True):
                    if child.process.poll() is not None:
                        path.unlink(missing_ok=True)
                        child.start()
            feeder.process.send_signal(signal.SIGTERM)
            assert feeder.process.wait(60) == 0, (tmp_path / "feeder.log").read_text()
            wait(lambda: all(path.exists() for path in ready))  # who was killed last may be starting still
            worker.finish(20)
            accepted = sorted(
                (parts[0], int(parts[1]), float(parts[2])) for parts in map(str.split, ledger.read_text().splitlines())
            )
            stored = sorted((one.epoch, one.seq, one.result.value) for one in reader.results())
    assert stored == accepted
    assert len(accepted) > 240


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ingest: {share: monitors}", "need a database"),
        ("database: mysql://x", "wanted is postgresql://"),
        ("database: postgresql://a:b@c/d", "holds a password"),
        ("database: postgresql://a/b\ningest: {share: 'a b'}", "share"),
    ],
)
def test_a_configuration_that_cannot_be_shared_says_what_is_wanted(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_yaml(text, MonitorConfig, source="monitor.yaml")


def test_a_password_comes_from_its_file_and_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/word\n")
    text = "database: postgresql://edge@db.example:5433/edge?sslmode=require\ndatabase_password_file: password\n"

    config = parse_yaml(text, MonitorConfig, source=str(tmp_path / "monitor.yaml"))

    assert config.place == "postgresql://edge:p%40ss%2Fword@db.example:5433/edge?sslmode=require"
    assert PostgresConnection(config.place).where == "postgresql://edge@db.example:5433/edge?sslmode=require"
