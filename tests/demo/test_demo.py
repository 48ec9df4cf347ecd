"""The main job, end to end, once and short: so that it can never rot."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_sdk.demo import broker as demo_broker
from edge_sdk.demo import exercises, people, workshop
from edge_sdk.demo.cli import cache_directory
from edge_sdk.demo.score import Accuracy

SECONDS = 12


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    directory = tmp_path_factory.mktemp("demo")
    out = directory / "demo.json"
    command = [sys.executable, "-m", "edge_sdk.cli", "demo", "--seconds", str(SECONDS), "--no-browser"]
    answer = subprocess.run(
        [*command, "--json", str(out), "--keep", str(directory / "kept")], capture_output=True, text=True, timeout=900
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    data: dict[str, object] = json.loads(out.read_text())
    return data


def test_nothing_is_lost_or_doubled_while_the_broker_is_killed(played: dict[str, dict[str, int]]) -> None:
    results = played["results"]

    assert results["made"] == results["stored"] > 1000
    assert (results["lost"], results["duplicated"]) == (0, 0)
    assert results["backlog"] > 0


def test_fused_beats_the_best_single_sensor_on_unseen_people(played: dict[str, dict[str, float]]) -> None:
    accuracy = played["accuracy"]

    assert accuracy["fused"] > max(accuracy["accelerometer"], accuracy["gyroscope"])
    assert accuracy["fused"] >= 0.87


def test_every_bundle_is_int8_and_within_a_point_of_float(played: dict[str, list[dict[str, object]]]) -> None:
    bundles = played["bundles"]

    assert {(row["name"], row["format"]) for row in bundles} == {
        (name, file_format) for name in exercises.SENSORS for file_format in ("tflite", "onnx")
    }
    for row in bundles:
        assert row["precision"] == "int8"
        assert row["accuracy"] >= row["accuracy_float"] - 0.01  # type: ignore[operator]


def test_latency_is_measured_from_the_last_sample_to_the_commit(played: dict[str, dict[str, float]]) -> None:
    latency = played["latency_ms"]

    assert 0 < latency["live_p50"] <= latency["p50"] <= latency["p99"]


@pytest.mark.usefixtures("played")
def test_a_second_demo_waits_for_the_bundles_of_the_first() -> None:
    told: list[str] = []
    with (cache_directory() / "lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)

        def progress(title: str, _done: int, _total: int) -> None:
            told.append(title)
            fcntl.flock(first, fcntl.LOCK_UN)

        made = workshop.cached(cache_directory(), exercises.load_recordings(), progress=progress)

    assert told[0] == "waiting for another demo that makes the same bundles"
    assert set(made) == set(exercises.SENSORS)


def test_people_are_never_on_both_sides_of_a_fold() -> None:
    left_out = [person for fold in exercises.folds() for person in fold]

    assert sorted(left_out) == list(range(1, 11))


def test_the_truth_of_a_window_is_known_only_wholly_inside_one_recording() -> None:
    line = people.Timeline((0.0, 30.0), (24.0, 50.0), ("row", "abduction"))

    assert [line.truth(at) for at in (3.9, 4.0, 24.0, 24.1, 33.0, 34.0, 50.0, 51.0)] == [
        None, "row", "row", None, None, "abduction", "abduction", None,
    ]  # fmt: skip


def test_a_persons_replay_holds_all_their_samples(tmp_path: Path) -> None:
    recordings = exercises.load_recordings()

    person = people.prepare(8, recordings, tmp_path, runtime="litert", seed=1)

    with np.load(person.recording) as arrays:
        assert len(arrays["times_s"]) == sum(len(one.samples) for one in recordings if one.person == 8)
        assert (np.diff(arrays["times_s"]) > 0).all()


def test_the_embedded_broker_serves_where_mosquitto_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import anyio

    from edge_sdk.mqtt.paho import PahoTransport
    from edge_sdk.mqtt.transport import BrokerAddress, Message

    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    got: list[Message] = []

    async def exchange(url: str) -> None:
        async with PahoTransport(BrokerAddress.parse(url), client_id="one") as transport:
            await transport.subscribe("a/+/b/#")
            await transport.publish([Message("a/1/b/c", b"x" * 100_000)])
            with anyio.fail_after(60):
                got.extend(await transport.receive())
            transport.ack(got)

    with demo_broker.DemoBroker(tmp_path) as broker:
        assert broker.kind == "iotcore"
        anyio.run(exchange, broker.url)
        broker.cut()
        broker.start()
        anyio.run(exchange, broker.url)

    assert [(message.topic, len(message.payload)) for message in got] == [("a/1/b/c", 100_000)] * 2


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0), (50, 100, 0.404, 0.596)]
)
def test_intervals_are_wilsons(right: int, n: int, low: float, high: float) -> None:
    one = Accuracy.of(right, n)

    assert one.low == pytest.approx(low, abs=1e-3)
    assert one.high == pytest.approx(high, abs=1e-3)
