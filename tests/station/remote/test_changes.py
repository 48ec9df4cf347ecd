"""Changes from afar to a real station: kept when they are good, taken back when they are not."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_sdk.contract.bundle import digest_of
from edge_sdk.contract.command import Answer, AnswerState
from edge_sdk.contract.manifest import Windowing
from edge_sdk.contract.trust import SigningKey
from edge_sdk.station.check.plan import check_station
from tests.brokers import RunningBroker
from tests.models import LENGTH, npy, tiny_bundle
from tests.station.ear import Ear, listening
from tests.station.process import Running, numbered, running, wait_for
from tests.station.remote.operator import Operator

VERBS = "[ping, config-set, bundle-install]"
FAST = Windowing(length=LENGTH, stride=2, rate_hz=50.0)


@contextmanager
def changed(config: Path, broker: RunningBroker, more: str = "") -> Iterator[tuple[Operator, Running]]:
    """A station that allows changes."""
    text = config.read_text()
    if "remote:" not in text:
        config.write_text(f"{text}health_every_s: 0.5\nremote: {{allow: {VERBS}{more}}}\n")
    with listening(broker.port) as ear, running(config) as station:
        wait_for(lambda: numbered(config.parent) > 5 or station.process.poll() is not None)
        ear.wait_for("/result/level")
        operator = Operator(ear)
        operator.join()
        yield operator, station


def new_bundle(config: Path, **changes: Any) -> Path:
    """A bundle of the model that runs, other than that."""
    path = config.parent / "upload" / "tiny.edge"
    path.parent.mkdir(exist_ok=True)
    given = {"key": SigningKey.read(config.parent / "key"), "seed": 5, "windowing": FAST, **changes}
    tiny_bundle(path, **given)
    return path


def install(operator: Operator, path: Path, **arguments: Any) -> Answer:
    sha256 = operator.upload(path, "up")
    given = {"canary_s": 0.5, "healthy_within_s": 2, "sha256": sha256, **arguments}
    return operator.ask("bundle-install", {"upload": "up", **given}, within_s=60)


def digest_in_use(ear: Ear, *, after: int = 0) -> str:
    return str(ear.wait_for("/result/level", after=after).data["contributors"][0]["bundle"])


def flows(operator: Operator) -> bool:
    """Results come after now."""
    operator.ear.wait_for("/result/level", after=len(operator.ear.said))
    return True


# ---- config-set


def test_a_setting_is_changed_and_stays_changed(config: Path, broker: RunningBroker) -> None:
    with changed(config, broker) as (operator, station):
        patch = {"sensors": {"thing": {"options": {"mean": 3.0, "swing": 0.0, "noise": 0.0}}}}
        answer = operator.ask("config-set", {"patch": patch, "healthy_within_s": 2})
        assert flows(operator)
        station.stop()
    with changed(config, broker) as (operator, _):
        assert flows(operator)
        present = json.loads((config.parent / "state" / "remote" / "present.json").read_text())

    assert answer.state is AnswerState.DONE, answer
    assert present["patches"] == [patch]
    assert "mean" not in config.read_text()


@pytest.mark.parametrize(
    ("patch", "reason", "says"),
    [
        ({"helth_every_s": 1}, "invalid", "Did you mean 'health_every_s'"),
        ({"trust": {"allow_unsigned": True}}, "fixed", "trust cannot be changed from afar"),
        ({"remote": {"allow_downgrade": True}}, "fixed", "remote cannot be changed from afar"),
        ({"station": "other"}, "fixed", "station cannot be changed from afar"),
        ({"streams": {"level": {"models": [{"bundle": "gone.edge"}]}}}, "invalid", "gone.edge cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_changes_nothing(
    config: Path, broker: RunningBroker, patch: dict[str, Any], reason: str, says: str
) -> None:
    with changed(config, broker) as (operator, _):
        answer = operator.ask("config-set", {"patch": patch, "healthy_within_s": 2})
        assert flows(operator)

    assert (answer.state, answer.reason) == (AnswerState.REFUSED, reason), answer
    assert says in answer.message
    assert not (config.parent / "state" / "remote" / "present.json").exists()


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ({"sensors": {"thing": {"options": {"block_s": 600.0}}}}, "sensor thing does not measure"),
        ({"broker": {"url": "mqtt://127.0.0.1:1"}}, "the broker cannot be reached"),
        ({"streams": {"level": {"deadline_s": 1e-9}}}, "no result was made"),
    ],
)
def test_a_setting_that_makes_the_station_ill_is_taken_back(
    config: Path, broker: RunningBroker, patch: dict[str, Any], says: str
) -> None:
    with changed(config, broker) as (operator, station):
        answer = operator.ask("config-set", {"patch": patch, "healthy_within_s": 3}, within_s=60)
        assert flows(operator)
        assert station.stop() == 0

    assert (answer.state, answer.reason) == (AnswerState.FAILED, "unhealthy"), answer
    assert says in answer.message
    assert not list((config.parent / "state" / "remote").glob(".*.json.*"))
    assert not (config.parent / "state" / "remote" / "next.json").exists()


def test_one_change_at_a_time(config: Path, broker: RunningBroker) -> None:
    with changed(config, broker) as (operator, _):
        first = operator.send("config-set", {"patch": {"health_every_s": 1}, "healthy_within_s": 4})
        operator.ear.wait(lambda said: said.topic.endswith(f"/ack/{first}"))
        second = operator.ask("config-set", {"patch": {"health_every_s": 2}, "healthy_within_s": 2})
        done = operator.answer(first)

    assert (second.state, second.reason) == (AnswerState.REFUSED, "busy")
    assert done.state is AnswerState.DONE


def test_a_file_that_was_changed_by_hand_goes_before_what_came_from_afar(config: Path, broker: RunningBroker) -> None:
    with changed(config, broker) as (operator, station):
        assert operator.ask("config-set", {"patch": {"health_every_s": 1}, "healthy_within_s": 2}).state == "done"
        station.stop()
    config.write_text(config.read_text() + "# by hand\n")
    with changed(config, broker) as (_, station):
        pass

    assert "what was changed from afar is void" in station.log


def test_a_kill_while_a_change_is_tried_ends_in_the_old_or_the_new(config: Path, broker: RunningBroker) -> None:
    with changed(config, broker) as (operator, station):
        command = operator.send("config-set", {"patch": {"health_every_s": 1}, "healthy_within_s": 30})
        operator.ear.wait(lambda said: said.topic.endswith(f"/ack/{command}"))
        wait_for(lambda: (config.parent / "state" / "remote" / "next.json").exists())
        station.process.kill()
        station.process.wait()
    with changed(config, broker) as (operator, _):
        event = operator.ear.wait(
            lambda said: "/event/" in said.topic and said.data["name"].startswith("remote."), within_s=60
        )

    assert event.data["name"] == "remote.kept"
    assert (config.parent / "state" / "remote" / "present.json").exists()


# ---- bundle-install


def test_a_bundle_is_installed_over_mqtt_and_stays(config: Path, broker: RunningBroker) -> None:
    path = new_bundle(config)
    with changed(config, broker) as (operator, station):
        before = digest_in_use(operator.ear)
        answer = install(operator, path)
        heard = len(operator.ear.said)
        after = digest_in_use(operator.ear, after=heard)
        birth = operator.ear.wait(lambda said: said.topic.endswith("/birth") and after.encode() in said.payload)
        assert station.stop() == 0
    with changed(config, broker) as (operator, _):
        restarted = digest_in_use(operator.ear)

    assert answer.state is AnswerState.DONE, answer
    assert answer.result["from"] == before == digest_of(config.parent / "tiny.edge")
    assert answer.result["to"] == after == restarted == digest_of(path)
    assert answer.result["canary"]["compared"] > 0
    assert birth.data["models"][0]["bundle"] == after


@contextmanager
def web(directory: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_bundle_is_fetched_from_where_that_is_allowed(config: Path, broker: RunningBroker) -> None:
    path = new_bundle(config)
    with web(path.parent) as url, changed(config, broker, f", fetch_from: ['{url}/']") as (operator, _):
        sha256 = operator.upload(path, "other")
        given = {"sha256": sha256, "upload": "up", "canary_s": 0, "healthy_within_s": 2}
        elsewhere = operator.ask("bundle-install", {**given, "url": "http://127.0.0.2/tiny.edge"})
        gone = operator.ask("bundle-install", {**given, "url": f"{url}/gone.edge"})
        answer = operator.ask("bundle-install", {**given, "url": f"{url}/tiny.edge"}, within_s=60)

    assert (elsewhere.reason, gone.reason) == ("not_allowed", "fetch")
    assert answer.state is AnswerState.DONE, answer


def unsigned(config: Path) -> Path:
    return new_bundle(config, key=None)


def of_a_stranger(config: Path) -> Path:
    return new_bundle(config, key=SigningKey.new())


def of_another_model(config: Path) -> Path:
    return new_bundle(config, name="other")


def an_old_one(config: Path) -> Path:
    key = SigningKey.read(config.parent / "key")
    tiny_bundle(config.parent / "tiny.edge", key=key, windowing=FAST, release=7)
    return new_bundle(config, release=6)


def one_that_answers_wrongly(config: Path) -> Path:
    """Its recorded answers are not what the model says here."""
    from edge_sdk.contract.bundle import read_bundle, write_bundle
    from edge_sdk.contract.trust import Trust

    path = new_bundle(config)
    bundle = read_bundle(path, Trust(allow_unsigned=True))
    wrong = npy(np.full((2, 3), 1 / 3, np.float32))
    write_bundle(
        path, bundle.manifest, {**bundle.files, "check-output.npy": wrong}, key=SigningKey.read(config.parent / "key")
    )
    return path


def a_damaged_one(config: Path) -> Path:
    path = new_bundle(config)
    raw = bytearray(path.read_bytes())
    raw[-200] ^= 1
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("make", "reason", "says"),
    [
        (unsigned, "invalid", "not signed"),
        (of_a_stranger, "invalid", "trusted are"),
        (of_another_model, "unknown_model", "there are tiny"),
        (an_old_one, "downgrade", "release 7 runs"),
        (one_that_answers_wrongly, "invalid", "recorded"),
        (a_damaged_one, "invalid", ""),
    ],
)
def test_a_bundle_that_must_not_be_used_is_refused(
    config: Path, broker: RunningBroker, make: Any, reason: str, says: str
) -> None:
    path = make(config)
    with changed(config, broker) as (operator, _):
        before = digest_in_use(operator.ear)
        answer = install(operator, path)
        after = digest_in_use(operator.ear, after=len(operator.ear.said))

    assert (answer.state, answer.reason) == (AnswerState.REFUSED, reason), answer
    assert says in answer.message
    assert before == after
    assert not list((config.parent / "state" / "remote").rglob("*.part"))


def test_a_downgrade_is_taken_where_it_is_allowed(config: Path, broker: RunningBroker) -> None:
    path = an_old_one(config)
    with changed(config, broker, ", allow_downgrade: true") as (operator, _):
        answer = install(operator, path)

    assert answer.state is AnswerState.DONE, answer


def test_pieces_that_are_missing_or_wrong_are_named(config: Path, broker: RunningBroker) -> None:
    with changed(config, broker, ", max_bundle_mb: 0.1") as (operator, _):
        piece = {"upload": "up", "index": 0, "of": 2, "data": "AAAA"}
        answers = [
            operator.ask("bundle-chunk", piece),
            operator.ask("bundle-chunk", {**piece, "index": 2}),
            operator.ask("bundle-chunk", {**piece, "data": "?"}),
            operator.ask("bundle-chunk", {**piece, "of": 1000}),
            operator.ask("bundle-chunk", {**piece, "index": 1}),
            operator.ask("bundle-install", {"upload": "up", "sha256": "0" * 64}),
            operator.ask("bundle-install", {"upload": "none", "sha256": "0" * 64}),
        ]

    reasons = [answer.reason for answer in answers]
    assert reasons == ["malformed", "too_large", "malformed", "too_large", "", "incomplete", "incomplete"]


def test_a_bundle_that_disagrees_as_a_canary_does_not_take_over(config: Path, broker: RunningBroker) -> None:
    path = new_bundle(config, seed=3)
    with changed(config, broker) as (operator, _):
        before = digest_in_use(operator.ear)
        answer = install(operator, path, least_agreement=1.0, canary_s=1.5)
        after = digest_in_use(operator.ear, after=len(operator.ear.said))

    if answer.state is AnswerState.DONE:  # by luck both say the same of everything
        assert answer.result["canary"]["agreed"] == answer.result["canary"]["compared"]
        return
    assert (answer.state, answer.reason) == (AnswerState.FAILED, "canary"), answer
    assert "agreed with the one in use" in answer.message
    assert before == after


def test_a_bundle_that_makes_the_station_ill_is_taken_back(config: Path, broker: RunningBroker) -> None:
    """Windows of three hours: nothing would come of it."""
    path = new_bundle(config, windowing=Windowing(length=LENGTH, stride=500_000, rate_hz=50.0))
    with changed(config, broker) as (operator, _):
        before = digest_in_use(operator.ear)
        answer = install(operator, path, canary_s=0, healthy_within_s=3)
        after = digest_in_use(operator.ear, after=len(operator.ear.said))

    assert (answer.state, answer.reason) == (AnswerState.FAILED, "unhealthy"), answer
    assert before == after
    assert not list((config.parent / "state" / "remote" / "bundles").glob("*.edge"))


def test_an_installed_bundle_that_rots_is_taken_back_at_the_start(config: Path, broker: RunningBroker) -> None:
    path = new_bundle(config)
    with changed(config, broker) as (operator, station):
        before = digest_in_use(operator.ear)
        assert install(operator, path).state is AnswerState.DONE
        station.stop()
    [kept] = (config.parent / "state" / "remote" / "bundles").glob("*.edge")
    kept.write_bytes(kept.read_bytes()[:1000])

    with changed(config, broker) as (operator, _):
        event = operator.ear.wait(lambda said: "/event/" in said.topic and said.data["name"] == "remote.refused")
        after = digest_in_use(operator.ear)

    assert "cannot start with the change" in event.data["message"]
    assert before == after


def test_three_starts_that_end_badly_take_the_change_back(config: Path, broker: RunningBroker) -> None:
    with changed(config, broker) as (operator, station):
        operator.send("config-set", {"patch": {"health_every_s": 1}, "healthy_within_s": 600})
        wait_for(lambda: (config.parent / "state" / "remote" / "next.json").exists())
        station.process.kill()
        station.process.wait()
    for _ in range(3):
        with running(config) as station:
            station.says("station starts")
            station.process.kill()
            station.process.wait()

    with changed(config, broker) as (operator, _):
        event = operator.ear.wait(lambda said: "/event/" in said.topic and said.data["name"] == "remote.refused")

    assert "started badly 3 times and was taken back" in event.data["message"]
    assert not (config.parent / "state" / "remote" / "next.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_power_cut_at_any_moment_of_an_installation_leaves_a_station_that_works(
    config: Path, broker: RunningBroker, seed: int
) -> None:
    path = new_bundle(config)
    with changed(config, broker) as (operator, station):
        known = {digest_in_use(operator.ear), digest_of(path)}
        sha256 = operator.upload(path, "up")
        given = {"upload": "up", "sha256": sha256, "canary_s": 0.3, "healthy_within_s": 2}
        operator.send("bundle-install", given)
        time.sleep(random.Random(seed).uniform(0.0, 3.0))
        station.process.kill()
        station.process.wait()

    with changed(config, broker) as (operator, station):
        assert digest_in_use(operator.ear) in known
        assert station.stop() == 0


def test_check_looks_at_what_was_changed_from_afar(config: Path, broker: RunningBroker) -> None:
    path = new_bundle(config)
    with changed(config, broker) as (operator, station):
        assert install(operator, path).state is AnswerState.DONE
        station.stop()

    findings = {finding.what: finding for finding in check_station(config, with_broker=False)}

    assert "0 patches, 1 bundles" in findings["remote"].detail
    assert findings["model tiny.edge"].ok
    config.write_text(config.read_text() + "# by hand\n")
    [void] = [finding for finding in check_station(config, with_broker=False) if finding.what == "remote"]
    assert "is void" in void.detail
