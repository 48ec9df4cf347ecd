"""Room occupancy: five int8 models, one per kind of sensor, fused by the station's own pipeline, day by day.

Each day is left out in turn: the five models, the choice of how to fuse them and the fusion are made from the other
days, signed, and opened as a station opens them; the day's samples go through the real `Pipeline`. Run it with::

    python -m examples.room_occupancy.run --data DIR [--holdout DAY,…]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_sdk.base import terminal
from edge_sdk.contract.bundle import read_bundle
from edge_sdk.contract.trust import SigningKey, Trust
from edge_sdk.fitting.fit import fit, fitted
from edge_sdk.fitting.methods import classifiers, first_against_rest
from edge_sdk.fitting.record import Opinion, Record, joined, recorded
from edge_sdk.fitting.score import Score, run, score
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.chain import Chain
from edge_sdk.fusion.file import FusionSpec, read_fusion, write_fusion
from edge_sdk.inference.model import Model
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.windowing.align import Aligner, Moment
from edge_sdk.windowing.windower import Windower
from examples import kept
from examples.room_occupancy import local
from examples.room_occupancy.data import CHANNELS, LABELS, Room, day_of, load

KINDS = tuple(CHANNELS)
_FOLDS = 5
_ENOUGH = 3000  # moments that the fusion is chosen and fitted by: those between say the same
_LATENESS_NS = 120_000_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the task and write ``results.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder with Occupancy_Estimation.csv")
    parser.add_argument("--holdout", default="", help="days to leave out in turn, YYYY-MM-DD,…; default: every day")
    parser.add_argument("--work", type=Path, help="folder that keeps bundles between runs; default: a temporary one")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_name("results.json"))
    given = parser.parse_args(arguments)
    room = load(given.data)
    days = given.holdout.split(",") if given.holdout else room.days
    unknown = sorted(set(days) - set(room.days))
    if unknown:
        parser.error(f"no such day: {', '.join(unknown)}; there are {', '.join(room.days)}")
    if given.work is None:
        with tempfile.TemporaryDirectory() as folder:
            answer = solve(room, days, Path(folder))
    else:
        answer = solve(room, days, given.work)
    kept.write(answer, given.json)
    show(answer)


def solve(room: Room, days: Sequence[str], work: Path) -> dict[str, Any]:
    """Leave each day out in turn; the rows of ``results.json``."""
    cut = {kind: local.windows(room, kind) for kind in KINDS}
    if not (work / "signing.key").exists():
        SigningKey.new().write(work / "signing.key")
    key = SigningKey.read(work / "signing.key")
    tests: list[Record] = []
    specs: list[FusionSpec] = []
    trainings: list[Record] = []
    chosen: dict[str, str] = {}
    piped = n_piped = 0
    with terminal.progress("leaving days out", len(days) * (len(KINDS) + 2)) as bar:
        for day in days:
            bar.say(f"without {day}")
            folder = work / day
            folder.mkdir(exist_ok=True)
            for kind in KINDS:
                windows = cut[kind]
                rows = windows.days != day
                bar.advance()
                if (folder / f"{kind}.edge").exists():
                    continue
                training = local.Windows(windows.x[rows], windows.y[rows], windows.t_ns[rows], windows.days[rows])
                local.bundle(local.train(training.x, training.y), kind, training, folder / f"{kind}.edge", key)
            trainings.append(said_in_training(cut, day))
            digests = {kind: read_bundle(folder / f"{kind}.edge", Trust((key.public,))).digest for kind in KINDS}
            found = fit(trainings[-1].thinned(_ENOUGH), bundles=digests)
            chosen[day] = found.chosen
            write_fusion(folder / "room.fusion", found.spec, key=key)
            put_station(folder, room, day)
            specs.append(read_fusion(folder / "room.fusion", Trust((key.public,))))
            bar.advance()
            models = [Model.open(folder / f"{kind}.edge", trust=Trust((key.public,))) for kind in KINDS]
            tests.append(said(room, models, day))
            right, n = through_pipeline(room, models, specs[-1], day)
            piped, n_piped = piped + right, n_piped + n
            bar.advance()
    return {
        "task": "room occupancy",
        "split": f"each day left out in turn: {', '.join(days)}",
        "pipeline": {"accuracy": round(piped / n_piped, 4), "n": n_piped},
        "chosen": chosen,
        "rows": [*_rows(tests, specs, trainings), _joint(cut, days)],
    }


def put_station(folder: Path, room: Room, day: str) -> None:
    """Put the day's recording and a ``station.yaml`` beside its bundles, for `edge-sdk station run`."""
    rows = day_of(room.t_ns) == day
    times_s = (room.t_ns[rows] - room.t_ns[rows][0]) * 1e-9
    np.savez(folder / "day.npz", times_s=times_s, **{kind: room.samples[kind][rows] for kind in KINDS})
    shutil.copy(Path(__file__).with_name("station.yaml"), folder / "station.yaml")


def said_in_training(cut: dict[str, local.Windows], day: str) -> Record:
    """What models say of hours that they were not trained on, all days but `day`: what the fusion is fitted on."""
    opinions: dict[str, Opinion] = {}
    common = _common([windows.t_ns[windows.days != day] for windows in cut.values()])
    for kind, windows in cut.items():
        rows = np.isin(windows.t_ns, common)
        x, y, t_ns = windows.x[rows], windows.y[rows], windows.t_ns[rows]
        out = np.zeros((len(x), len(LABELS)))
        for fold in local.blocks(t_ns, _FOLDS):
            out[fold] = local.train(x[~fold], y[~fold]).probabilities(x[fold])
        opinions[kind] = Opinion(fresh=np.ones(len(x), dtype=np.bool_), probabilities=out)
        truth, days = y, windows.days[rows]
    return Record(opinions, truth, common, days, labels=LABELS)


def said(room: Room, models: Sequence[Model], day: str) -> Record:
    """What the int8 models say of a day, aligned as on a station."""
    aligner = Aligner(KINDS, policy="on_all", max_age_ns=0, lateness_ns=_LATENESS_NS, tick_ns=None)
    predictions = []
    for model in models:
        windower = Windower(local.windowing(model.name), sensor=model.name, channels=len(CHANNELS[model.name]))
        windows = [one for reading in room.readings(model.name, [day]) for one in windower.push(reading)]
        predictions += [model.predict(window) for window in windows]
    moments: list[Moment] = []
    for prediction in sorted(predictions, key=lambda one: one.end_ns):
        moments += aligner.push(prediction)
    moments += aligner.flush()
    t_ns = np.array([moment.t_ns for moment in moments], dtype=np.int64)
    return recorded(moments, KINDS, room.truth(t_ns).tolist(), [day] * len(moments), labels=LABELS)


def through_pipeline(room: Room, models: Sequence[Model], spec: FusionSpec, day: str) -> tuple[int, int]:
    """Push a day through the station's pipeline; how many results are right, of how many."""
    pipeline = Pipeline(models, spec.open(), stream="occupancy", lateness_s=_LATENESS_NS * 1e-9)
    results = []
    for blocks in zip(*(room.readings(kind, [day]) for kind in KINDS), strict=True):
        for reading in blocks:
            results += pipeline.push(reading)
    results += pipeline.flush()
    truth = room.truth(np.array([result.t_ns for result in results], dtype=np.int64))
    right = sum(result.label == LABELS[people] for result, people in zip(results, truth.tolist(), strict=True))
    return right, len(results)


def _rows(tests: Sequence[Record], specs: Sequence[FusionSpec], trainings: Sequence[Record]) -> list[dict[str, Any]]:
    whole = joined(tests)
    rows = [_row(f"{kind} alone", (), score(run(Chain("weighted_mean"), whole.only(kind)), whole)) for kind in KINDS]
    for method in classifiers(first_against_rest(len(LABELS))):
        answers: list[Fused | None] = []
        for test, training in zip(tests, trainings, strict=True):
            answers += run(fitted(method, training.thinned(_ENOUGH), coverage=None).open(), test)
        rows.append(_row(method.title, (), score(answers, whole)))
    for absent in [(), *((kind,) for kind in KINDS)]:
        answers = []
        for test, spec in zip(tests, specs, strict=True):
            answers += run(spec.open(), test.without(absent))
        rows.append(_row("fused", absent, score(answers, whole)))
    return rows


def _joint(cut: dict[str, local.Windows], days: Sequence[str]) -> dict[str, Any]:
    """Early fusion for comparison: one discriminant over the windows of all sensors, which no station runs."""
    common = _common([windows.t_ns for windows in cut.values()])
    rows = [np.isin(windows.t_ns, common) for windows in cut.values()]
    parts = [windows.x[there].astype(np.float64) for windows, there in zip(cut.values(), rows, strict=True)]
    first = next(iter(cut.values()))
    y, day_of_each = first.y[rows[0]], first.days[rows[0]]
    tests, answers = [], []
    for day in days:
        test = day_of_each == day
        said = local.joint(parts, y, ~test)[test]
        answers += [Fused(probabilities=row) for row in said]
        tests.append(Record({}, y[test], common[test], day_of_each[test], labels=LABELS))
    return _row("discriminant on all features jointly", (), score(answers, joined(tests)))


def _row(method: str, absent: Sequence[str], given: Score) -> dict[str, Any]:
    names = ("accuracy", "macro_f1", "mae", "r2", "ece", "coverage")
    numbers = {name: None if getattr(given, name) is None else round(getattr(given, name), 4) for name in names}
    return {"method": method, "absent": list(absent), **numbers, "n": given.n}


def _common(times: Sequence[np.ndarray[Any, np.dtype[np.int64]]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    shared = times[0]
    for other in times[1:]:
        shared = np.intersect1d(shared, other)
    return shared


def show(answer: dict[str, Any]) -> None:
    """Print the table."""
    columns = ["method", "absent", "accuracy", "macro-F1", "ECE", "coverage", "n"]
    rows = [
        [
            row["method"],
            ", ".join(row["absent"]) or "-",
            row["accuracy"],
            row["macro_f1"],
            row["ece"],
            "-" if row["coverage"] is None else row["coverage"],
            row["n"],
        ]
        for row in answer["rows"]
    ]
    terminal.table(f"Room occupancy, {answer['split']}", columns, rows)


if __name__ == "__main__":
    main()
