"""Smartwatch exercises: an accelerometer and a gyroscope model, int8, fused, on people that neither has seen.

Two people at a time are left out; the networks are made from the others, signed, and opened as a station opens them;
the two people's recordings go through the real `Pipeline`. Run it with::

    python -m examples.smartwatch.run [--data DIR] [--holdout 1,2] [--work WORK]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_sdk.base import terminal
from edge_sdk.contract.trust import SigningKey, Trust
from edge_sdk.contract.window import Window
from edge_sdk.demo import exercises
from edge_sdk.demo.exercises import EXERCISES, RATE_HZ, SENSORS, Recording
from edge_sdk.fitting.coverage import Asked, limits_of_others
from edge_sdk.fitting.record import Opinion, Record, joined
from edge_sdk.fitting.score import Score, run, score
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.chain import Chain
from edge_sdk.fusion.file import FusionSpec
from edge_sdk.inference.model import Model
from edge_sdk.runtime.pipeline import Pipeline
from examples import kept
from examples.smartwatch import local
from examples.smartwatch.data import played

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "mean of both": ("weighted_mean", {}),
    "vote": ("vote", {}),
    "Dempster-Shafer": ("dempster_shafer", {}),
}
CHOSEN = FusionSpec(task="classification", labels=EXERCISES, method="log_opinion_pool", options={"temper": 0.5})
"""Two models of different sensors, nothing fitted: half-way between a geometric mean and independent evidence."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the task and write ``results.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, help="folder with watch_dataset.npy; default: the installed seglearn")
    parser.add_argument("--holdout", help="people to leave out together, A,B; default: five pairs, one after the other")
    parser.add_argument("--work", type=Path, help="folder that keeps bundles; default: a temporary one")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_name("results.json"))
    given = parser.parse_args(arguments)
    recordings = exercises.load_recordings(given.data)
    people = {recording.person for recording in recordings}
    groups: list[tuple[int, ...]] = [*exercises.folds()]
    if given.holdout:
        groups = [tuple(int(number) for number in given.holdout.split(","))]
    unknown = sorted({person for group in groups for person in group} - people)
    if unknown:
        parser.error(f"no such people: {unknown}; there are {sorted(people)}")
    with tempfile.TemporaryDirectory() as folder:
        answer = solve(recordings, groups, given.work or Path(folder))
    kept.write(answer, given.json)
    show(answer)


def solve(recordings: Sequence[Recording], groups: Sequence[tuple[int, ...]], work: Path) -> dict[str, Any]:
    """Leave each group of people out in turn; the rows of ``results.json``."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not (work / "signing.key").exists():
        SigningKey.new().write(work / "signing.key")
    key = SigningKey.read(work / "signing.key")
    tests: list[Record] = []
    early: list[Fused | None] = []
    right = n_piped = 0
    with terminal.progress("leaving people out", len(groups) * 3) as bar:
        for group in groups:
            seen = [recording for recording in recordings if recording.person not in group]
            unseen = [recording for recording in recordings if recording.person in group]
            folder = work / "-".join(map(str, group))
            folder.mkdir(exist_ok=True)
            put_station(folder, unseen)
            for sensor in SENSORS:
                bar.say(f"without {', '.join(map(str, group))}: {sensor}")
                local.bundle(sensor, seen, folder / f"{sensor}.edge", key)
                bar.advance()
            models = [Model.open(folder / f"{sensor}.edge", trust=Trust((key.public,))) for sensor in SENSORS]
            tests.append(said(models, unseen, "-".join(map(str, group))))
            early += [Fused(probabilities=row) for row in local.joint(seen, unseen)]
            hits, n = through_pipeline(models, unseen)
            right, n_piped = right + hits, n_piped + n
            bar.advance()
    return {
        "task": "smartwatch exercises, windows of 4 s, nothing smoothed",
        "split": f"people left out: {'; '.join(' and '.join(map(str, group)) for group in groups)}",
        "pipeline": {"accuracy": round(right / n_piped, 4), "n": n_piped},
        "rows": [*_rows(tests), _row("random forest on features of both jointly", (), score(early, joined(tests)))],
    }


def put_station(folder: Path, unseen: Sequence[Recording]) -> None:
    """Put people's recordings and a ``station.yaml`` beside the bundles, for `edge-sdk station run`."""
    readings = [reading for _, _, both in played(unseen) for reading in both]
    blocks = {sensor: [one for one in readings if one.sensor == sensor] for sensor in SENSORS}
    times_ns = np.concatenate([one.sample_times_ns for one in next(iter(blocks.values()))])
    arrays: dict[str, Any] = {sensor: np.concatenate([one.samples for one in of]) for sensor, of in blocks.items()}
    np.savez(folder / "exercises.npz", times_s=(times_ns - times_ns[0]) * 1e-9, **arrays)
    shutil.copy(Path(__file__).with_name("station.yaml"), folder / "station.yaml")


def said(models: Sequence[Model], unseen: Sequence[Recording], group: str) -> Record:
    """What the int8 models say of every window of some people; the same stretch of time for both."""
    opinions: dict[str, Opinion] = {}
    for model in models:
        x, truth, _ = exercises.windows(unseen, model.name)
        ends = round(x.shape[1] / RATE_HZ * 1e9)
        answers = [model.predict(Window(model.name, 0, ends, samples)).probabilities for samples in x]
        fresh = np.array([one is not None for one in answers])
        rows = [np.full(len(EXERCISES), 1 / len(EXERCISES)) if one is None else one for one in answers]
        opinions[model.name] = Opinion(fresh=fresh, probabilities=np.array(rows))
    times = np.arange(len(truth), dtype=np.int64) * 1_000_000_000
    return Record(opinions, truth, times, np.full(len(truth), group), labels=EXERCISES)


def through_pipeline(models: Sequence[Model], unseen: Sequence[Recording]) -> tuple[int, int]:
    """Play people's recordings through the station's pipeline; how many results are right, of how many."""
    pipeline = Pipeline(models, CHOSEN.open(), stream="exercise")
    right = n = 0
    for recording, start_ns, blocks in played(unseen):
        results = [result for reading in blocks for result in pipeline.push(reading)]
        ends_ns = start_ns + round(len(recording.samples) / RATE_HZ * 1e9)
        # a window that reaches into the pause before is made with the next recording's first block, and not covered
        answered = [one for one in results if isinstance(one.label, str) and start_ns < one.t_ns <= ends_ns]
        right += sum(one.label == recording.exercise for one in answered)
        n += len(answered)
    return right, n


def _rows(tests: Sequence[Record]) -> list[dict[str, Any]]:
    whole = joined(tests)
    rows = [
        _row(f"{sensor} alone", (), score(run(Chain("weighted_mean"), whole.only(sensor)), whole)) for sensor in SENSORS
    ]
    for title, (method, options) in METHODS.items():
        rows.append(_row(title, (), score(run(Chain(method, options), whole), whole)))
    for absent in [(), *((sensor,) for sensor in SENSORS)]:
        asked: list[Asked] = [(CHOSEN, test.without(absent)) for test in tests]
        limits = limits_of_others(asked, 0.9)
        answers = [
            answer
            for (spec, test), limit in zip(asked, limits, strict=True)
            for answer in run(msgspec.structs.replace(spec, conformal=limit).open(), test)
        ]
        rows.append(_row("fused", absent, score(answers, whole)))
    return rows


def _row(method: str, absent: Sequence[str], given: Score) -> dict[str, Any]:
    names = ("accuracy", "macro_f1", "mae", "r2", "ece", "coverage")
    numbers = {name: None if getattr(given, name) is None else round(getattr(given, name), 4) for name in names}
    return {"method": method, "absent": list(absent), **numbers, "n": given.n}


def show(answer: dict[str, Any]) -> None:
    """Print the table."""
    columns = ["method", "absent", "accuracy", "macro-F1", "ECE", "coverage", "n"]
    keys = ("accuracy", "macro_f1", "ece", "coverage", "n")
    rows = [
        [row["method"], ", ".join(row["absent"]) or "-", *("-" if row[key] is None else row[key] for key in keys)]
        for row in answer["rows"]
    ]
    terminal.table(f"{answer['task']}; {answer['split']}", columns, rows)


if __name__ == "__main__":
    main()
