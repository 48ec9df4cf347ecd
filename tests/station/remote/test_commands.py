"""Commands over a real broker to a real station."""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.contract.command import AnswerState
from tests.brokers import RunningBroker, mosquitto
from tests.models import CHANNELS, LENGTH
from tests.station.ear import listening
from tests.station.process import Running, configured, numbered, running, wait_for
from tests.station.remote.operator import ROOT, Operator

QUICK = "[ping, rebirth, snapshot, log-level, pause]"


def allow(config: Path, verbs: str) -> None:
    config.write_text(config.read_text() + f"health_every_s: 0.3\nremote: {{allow: {verbs}}}\n")


@contextmanager
def commanded(config: Path, broker: RunningBroker, verbs: str = QUICK) -> Iterator[tuple[Operator, Running]]:
    allow(config, verbs)
    with listening(broker.port) as ear, running(config) as station:
        ear.wait_for("/result/level")
        operator = Operator(ear)
        operator.join()
        yield operator, station


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commanded")


@pytest.fixture(scope="module")
def operator(yard: Path) -> Iterator[Operator]:
    """Somebody who commands one station, which all these tests share."""
    with mosquitto(yard / "broker") as broker, commanded(configured(yard, broker), broker) as (operator, _):
        yield operator


def test_ping_is_answered(operator: Operator) -> None:
    answer = operator.ask("ping")

    assert (answer.state, answer.station, answer.verb) == (AnswerState.DONE, "alone", "ping")
    assert answer.result["working"] is True


def test_nothing_is_obeyed_that_is_not_allowed(config: Path, broker: RunningBroker) -> None:
    with commanded(config, broker, "[ping]") as (operator, _):
        answer = operator.ask("log-level", {"level": "debug"})
        unknown = operator.ask("self-destruct")

    assert (answer.state, answer.reason) == (AnswerState.REFUSED, "not_allowed")
    assert "remote: allow:" in answer.message
    assert unknown.reason == "unknown"


def test_a_station_that_allows_nothing_does_not_even_listen(config: Path, broker: RunningBroker) -> None:
    with listening(broker.port) as ear, running(config):
        ear.wait_for("/result/level")
        operator = Operator(ear)
        command = operator.send("ping")
        heard = len(ear.said)
        for _ in range(20):  # as long as a ping takes, many times over
            ear.wait_for("/result/level", after=heard)
            heard = len(ear.said)

    assert not operator.answers(command)


def test_a_reload_may_allow_what_was_not_at_the_start(config: Path, broker: RunningBroker) -> None:
    with listening(broker.port) as ear, running(config) as station:
        ear.wait_for("/result/level")
        allow(config, "[ping]")
        station.process.send_signal(signal.SIGHUP)
        operator, sent = Operator(ear), list[str]()

        def is_answered() -> bool:  # what is sent before it listens is lost
            sent.append(operator.send("ping"))
            return any(operator.answers(one) for one in sent)

        wait_for(is_answered)


def test_a_retained_command_is_refused(config: Path, broker: RunningBroker) -> None:
    with listening(broker.port) as early:
        Operator(early).send("ping", id="kept", retain=True)
        with commanded(config, broker) as (operator, _):
            answer = operator.answer("kept")

    assert (answer.state, answer.reason) == (AnswerState.REFUSED, "retained")


def test_a_command_to_an_earlier_run_is_refused(operator: Operator) -> None:
    mine, operator.session = operator.session, "0123456789abcdef"
    answer = operator.ask("ping")
    operator.session = mine

    assert (answer.state, answer.reason) == (AnswerState.REFUSED, "session")


def test_a_command_is_obeyed_once_even_across_a_restart(config: Path, broker: RunningBroker) -> None:
    with commanded(config, broker) as (operator, station):
        command = operator.send("pause", {"stream": "level", "for_s": 0.0})
        assert operator.answer(command).state is AnswerState.DONE
        heard = len(operator.ear.said)
        operator.send("pause", {"stream": "level", "for_s": 0.0}, id=command)
        again = operator.answer(command, after=heard)
        station.stop()
    with listening(broker.port) as ear, running(config):
        ear.wait_for("/result/level")
        late = Operator(ear)
        late.join()
        late.send("pause", {"stream": "level", "for_s": 0.0}, id=command)
        later = late.answer(command)

    assert (again.reason, later.reason) == ("replayed", "replayed")


@pytest.mark.parametrize(
    ("verb", "arguments", "reason"),
    [
        ("log-level", {"level": "loud"}, "arguments"),
        ("log-level", {}, "arguments"),
        ("ping", {"surprise": 1}, "arguments"),
        ("pause", {"stream": "nosuch", "for_s": 1}, "arguments"),
        ("pause", {"stream": "level", "for_s": 1e9}, "arguments"),
    ],
)
def test_wrong_arguments_are_refused(operator: Operator, verb: str, arguments: dict[str, object], reason: str) -> None:
    answer = operator.ask(verb, arguments)

    assert (answer.state, answer.reason) == (AnswerState.REFUSED, reason)


def test_nonsense_is_survived(operator: Operator) -> None:
    for topic, payload in (
        ("cmd/ping/x1", b"{"),
        ("cmd/ping/x2", b"\xff\xfe"),
        ("cmd/ping/x3", b'{"v": 9, "issued": "2026-11-21T00:00:00Z", "expires": "2026-11-21T00:00:00Z"}'),
        ("cmd/ping/x4", b'{"issued": "2026-11-21T00:00:00", "expires": "2026-11-21T00:00:00"}'),
        ("cmd/ping", b"{}"),
        ("cmd/ping/a b", b"{}"),
        ("cmd/ping/x/y", b"{}"),
    ):
        operator.ear.publish(f"{ROOT}/{topic}", payload)
    answer = operator.ask("ping")
    reasons = [operator.answer(f"x{number}").reason for number in range(1, 5)]

    assert answer.state is AnswerState.DONE
    assert reasons == ["malformed", "malformed", "version", "schema"]


def test_rebirth_says_anew_who_we_are(operator: Operator) -> None:
    heard = len(operator.ear.said)
    operator.ask("rebirth")
    birth = operator.ear.wait_for("/birth", after=heard).data

    assert birth["station"] == "alone"


def test_a_snapshot_is_the_last_window_of_each_model(operator: Operator) -> None:
    result = operator.ask("snapshot", {"stream": "level"}).result

    window = result["level.tiny"]
    samples = np.frombuffer(base64.b64decode(window["float32"]), "<f4").reshape(window["shape"])
    assert samples.shape == (LENGTH, CHANNELS)
    assert np.isfinite(samples).all()


def test_the_log_is_louder_for_a_while(config: Path, broker: RunningBroker) -> None:
    with commanded(config, broker) as (operator, station):
        answer = operator.ask("log-level", {"level": "error", "for_s": 0.5})
        station.stop()

    assert answer.state is AnswerState.DONE
    assert answer.result == {"level": "info"}
    assert "station stops" in station.log


def test_a_paused_stream_predicts_nothing_and_goes_on(operator: Operator, yard: Path) -> None:
    operator.ask("pause", {"stream": "level", "for_s": 600})
    operator.ask("ping")
    before = numbered(yard)
    health = operator.ear.wait(lambda said: said.topic.endswith("/health") and paused(said.data))
    during = numbered(yard)
    operator.ask("pause", {"stream": "level", "for_s": 0})
    wait_for(lambda: numbered(yard) > during)

    assert during <= before + 5
    assert health.data["counters"]["level.windows.skipped.paused"] > 0


def paused(health: dict[str, dict[str, int]]) -> bool:
    return health["counters"].get("level.windows.skipped.paused", 0) > 0
