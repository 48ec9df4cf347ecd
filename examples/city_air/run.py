"""City air: PM2.5 now or in some hours, from a gas and a weather model (and a particle sensor's history), int8, fused.

Two stations at a time are left out. Models and fusion are made from the others and from before March 2016, the test is
on the two and after it. Run it with::

    python -m examples.city_air.run --data DIR [--holdout Tiantan,Dingling] [--ahead 6] [--work WORK]
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_sdk.base import terminal
from edge_sdk.contract.trust import SigningKey, Trust
from edge_sdk.fitting.coverage import Asked, conformal
from edge_sdk.fitting.fit import fitted
from edge_sdk.fitting.methods import estimators
from edge_sdk.fitting.record import Opinion, Record, joined, recorded
from edge_sdk.fitting.score import Score, run, score
from edge_sdk.fitting.stack import stack
from edge_sdk.fusion.base import Fused
from edge_sdk.fusion.chain import Chain
from edge_sdk.fusion.file import FusionSpec, read_fusion, write_fusion
from edge_sdk.inference.model import Model
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.windowing.align import Aligner, Moment
from edge_sdk.windowing.windower import Windower
from examples import kept
from examples.city_air import boosting, local
from examples.city_air.data import CHANNELS, HOUR_NS, Station, load, stations
from examples.city_air.encoders import AHEAD, NOW, Encoders, Shape, train

PAIRS = ("Tiantan,Dingling", "Aotizhongxin,Changping", "Dongsi,Guanyuan", "Nongzhanguan,Wanshouxigong")
EVERY = 3  # hours from moment to moment that the stack is fitted to: neighbours say the same
COVERAGE = 0.9


def _ns(day: str) -> int:
    return int(np.datetime64(day).astype("datetime64[ns]").astype(np.int64))


YEARS = tuple(_ns(f"{year}-03-01") for year in (2013, 2014, 2015, 2016))
TEST_FROM, END = YEARS[-1], _ns("2018-01-01")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the task and write ``results.json``, or ``results_6h.json`` for six hours ahead."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder with PRSA_Data_*.csv")
    parser.add_argument(
        "--holdout", help="stations to leave out together, A,B; default: four pairs, one after the other"
    )
    parser.add_argument(
        "--ahead", type=int, default=0, help="hours from the last sample to the PM2.5 that is asked for"
    )
    parser.add_argument("--epochs", type=int, help="of training; fewer are quicker and worse")
    parser.add_argument("--work", type=Path, help="folder that keeps bundles and fusions; default: a temporary one")
    parser.add_argument("--json", type=Path, help="default: beside this file")
    given = parser.parse_args(arguments)
    names = stations(given.data)
    groups = [group.split(",") for group in ([given.holdout] if given.holdout else PAIRS)]
    for group in groups:
        unknown = sorted(set(group) - set(names))
        if unknown or len(group) > len(names) - 3:
            parser.error(f"cannot leave out {', '.join(unknown or group)}; there are {', '.join(names)}")
    with tempfile.TemporaryDirectory() as folder:
        shape = AHEAD if given.ahead else NOW
        shape = replace(shape, epochs=given.epochs or shape.epochs)
        answer = solve(given.data, groups, given.work or Path(folder), ahead=given.ahead, shape=shape)
    name = f"results_{given.ahead}h.json" if given.ahead else "results.json"
    target = given.json or Path(__file__).with_name(name)
    kept.write(answer, target)
    show(answer)


def solve(data: Path, groups: Sequence[Sequence[str]], work: Path, *, ahead: int, shape: Shape) -> dict[str, Any]:
    """Leave each group of stations out in turn; what ``results.json`` says."""
    kinds = tuple(CHANNELS) if ahead else ("gas", "weather")
    cuts = local.Cuts({name: load(data, name) for name in stations(data)}, kinds)
    if not (work / "signing.key").exists():
        SigningKey.new().write(work / "signing.key")
    key = SigningKey.read(work / "signing.key")
    tables: list[Table] = []
    with terminal.progress("leaving stations out", len(groups)) as bar:
        for group in groups:
            bar.say(f"without {', '.join(group)}")
            folder = work / "-".join(group)
            folder.mkdir(exist_ok=True)
            put_station(folder, cuts.stations[group[0]], kinds)
            tables.append(left_out(cuts, group, folder, key, ahead=ahead, shape=shape))
            bar.advance()
    return {
        "task": f"city air: PM2.5 {f'in {ahead} hours' if ahead else 'now'}",
        "split": f"stations left out: {'; '.join(' and '.join(group) for group in groups)}; after 2016-03-01",
        "pipeline": [table.pipeline for table in tables],
        "left_out": [table.summary(group) for table, group in zip(tables, groups, strict=True)],
        "rows": Table.rows(tables),
    }


def put_station(folder: Path, station: Station, kinds: Sequence[str]) -> None:
    """Put the test year of a station and a ``station.yaml`` beside its bundles, for `edge-sdk station run`."""
    rows = station.rows(TEST_FROM, END)
    arrays: dict[str, Any] = {kind: station.samples[kind][rows] for kind in kinds}
    np.savez(folder / "year.npz", times_s=(station.t_ns[rows] - TEST_FROM) * 1e-9, **arrays)
    name = "station_6h.yaml" if "history" in kinds else "station.yaml"
    shutil.copy(Path(__file__).with_name(name), folder / "station.yaml")


class Table:
    """Answers of every method on the stations of one group."""

    def __init__(self, test: Record, kinds: Sequence[str], pipeline: dict[str, Any]) -> None:
        there = np.logical_and.reduce([test.opinions[kind].fresh for kind in kinds])
        self.gapped, self.test, self.pipeline = test, test.take(there), pipeline
        self.answers: dict[tuple[str, tuple[str, ...]], tuple[list[Fused | None], Record]] = {}
        for kind in kinds:
            self.add(f"{kind} alone", Chain("weighted_mean"), self.test.only(kind))

    def add(self, method: str, chain: Chain, record: Record, absent: tuple[str, ...] = ()) -> None:
        """Ask a fuser about the test's moments."""
        self.answers[(method, absent)] = (run(chain, record.without(absent)), record)

    @staticmethod
    def rows(tables: Sequence[Table]) -> list[dict[str, Any]]:
        """Rows of ``results.json``: all groups' moments together."""
        rows = []
        for method, absent in tables[0].answers:
            answers = [one for table in tables for one in table.answers[(method, absent)][0]]
            whole = joined([table.answers[(method, absent)][1] for table in tables])
            rows.append(_row(method, absent, score(answers, whole)))
        return rows

    def summary(self, group: Sequence[str]) -> dict[str, Any]:
        """How far fusion came in one group, from the best single model to joint boosting."""
        scores = {at: score(*pair) for at, pair in self.answers.items() if not at[1]}
        alone = {method: one for (method, _), one in scores.items() if method.endswith(" alone")}
        best = min(alone, key=lambda method: alone[method].mae or np.inf)
        fused, joint = scores["fused", ()], scores[boosting.TITLE, ()]
        gap = (alone[best].mae or 0) - (joint.mae or 0)
        return {
            "stations": list(group),
            "best": best,
            "mae_best": _round(alone[best].mae),
            "mae_fused": _round(fused.mae),
            "mae_joint": _round(joint.mae),
            "share_of_the_way": _round(((alone[best].mae or 0) - (fused.mae or 0)) / gap) if gap > 0 else None,
            "coverage": _round(fused.coverage),
        }


def left_out(
    cuts: local.Cuts, group: Sequence[str], folder: Path, key: SigningKey, *, ahead: int, shape: Shape
) -> Table:
    """Everything for one group: rehearse, train, convert, fit, test, run the pipeline."""
    known, trust = [name for name in cuts.stations if name not in group], Trust((key.public,))
    rehearsals = rehearse(cuts, known, ahead, shape)
    rehearsed = joined([record for _, record in rehearsals])
    until = TEST_FROM - ahead * HOUR_NS
    rows = cuts.rows(known, 0, until, ahead)
    encoders = train(rows.x, rows.there, rows.y, shape)
    for kind in cuts.kinds:
        local.bundle(encoders, kind, rows, folder / f"{kind}.edge", key)
    models = [Model.open(folder / f"{kind}.edge", trust=trust) for kind in cuts.kinds]
    learned = joined([said(cuts, name, models, 0, until, ahead, every=EVERY) for name in known])
    spec = msgspec.structs.replace(
        fitted(stack(shape.fuser, root=True), learned, coverage=None),
        contributors={model.name: model.bundle.digest for model in models},
        conformal=conformal(rehearsals, COVERAGE),
    )
    write_fusion(folder / "air.fusion", spec, key=key)
    chosen = read_fusion(folder / "air.fusion", trust)
    test = joined([said(cuts, name, models, TEST_FROM, END, ahead) for name in group])
    table = Table(test, cuts.kinds, through_pipeline(cuts, group[0], models, chosen, ahead))
    for method in estimators():
        table.add(method.title, fitted(method, rehearsed).open(), table.test)
    for absent in [(), *((kind,) for kind in cuts.kinds)]:
        table.add("fused", chosen.open(), table.test, absent)
    table.add("fused, with the sensors' own gaps", chosen.open(), table.gapped)
    joint = boosting.train(rows)
    values = boosting.values(joint, cuts, table.test)
    table.answers[boosting.TITLE, ()] = ([Fused(value=value) for value in values.tolist()], table.test)
    return table


def rehearse(cuts: local.Cuts, known: Sequence[str], ahead: int, shape: Shape) -> list[Asked]:
    """How far a fusion is off where and when it has not been: two known stations and a known year left out, in turn."""
    rehearsals: list[Asked] = []
    for turn, (begin, end) in enumerate(itertools.pairwise(YEARS)):
        unseen = known[turn::3]
        others = [name for name in known if name not in unseen]
        before = cuts.rows(others, 0, begin - ahead * HOUR_NS, ahead)
        rows = before.and_then(cuts.rows(others, end, TEST_FROM - ahead * HOUR_NS, ahead))
        encoders = train(rows.x, rows.there, rows.y, shape)
        every = np.arange(0, len(rows.y), EVERY)
        learned = _record(encoders, rows.take(every), np.zeros(len(every), dtype=np.str_))
        parts = []
        for name in unseen:
            one = cuts.rows([name], begin, end, ahead)
            parts.append(_record(encoders, one, np.full(len(one.y), name)))
        rehearsals.append((fitted(stack(shape.fuser, root=True), learned, coverage=None), joined(parts)))
    return rehearsals


def _record(encoders: Encoders, rows: local.Rows, groups: Any) -> Record:
    opinions = {}
    for kind, there in rows.there.items():
        values, features = encoders.said(kind, rows.x[kind])
        opinions[kind] = Opinion(fresh=there, values=values, features=features)
    return Record(opinions, rows.y, np.arange(len(rows.y)) * HOUR_NS, groups, unit="µg/m³")


def said(
    cuts: local.Cuts, name: str, models: Sequence[Model], from_ns: int, to_ns: int, ahead: int, *, every: int = 1
) -> Record:
    """What the int8 models say of a stretch, aligned as on a station, where PM2.5 was measured."""
    station = cuts.stations[name]
    rows = station.rows(from_ns, to_ns)
    kinds = [model.name for model in models]
    aligner = Aligner(kinds, policy="on_all", max_age_ns=0, lateness_ns=HOUR_NS, tick_ns=None)
    predictions = []
    for model in models:
        windower = Windower(local.WINDOWING, sensor=model.name, channels=len(CHANNELS[model.name]))
        windows = [one for reading in station.readings(model.name, rows) for one in windower.push(reading)]
        predictions += [model.predict(window) for window in windows if window.end_ns // HOUR_NS % every == 0]
    moments: list[Moment] = []
    for prediction in sorted(predictions, key=lambda one: one.end_ns):
        moments += aligner.push(prediction)
    moments += aligner.flush()
    truth = station.truth(np.array([moment.t_ns for moment in moments], dtype=np.int64), ahead)
    known = [(moment, value) for moment, value in zip(moments, truth.tolist(), strict=True) if np.isfinite(value)]
    answers = [value for _, value in known]
    return recorded([moment for moment, _ in known], kinds, answers, [name] * len(known), unit="µg/m³")


def through_pipeline(
    cuts: local.Cuts, name: str, models: Sequence[Model], spec: FusionSpec, ahead: int
) -> dict[str, Any]:
    """The test year of one station through the station's own pipeline."""
    station = cuts.stations[name]
    pipeline = Pipeline(models, spec.open(), stream="pm25", lateness_s=7200.0, max_age_s=0.0)
    rows = station.rows(TEST_FROM, END)
    results = []
    for blocks in zip(*(station.readings(model.name, rows, hours=1) for model in models), strict=True):
        for reading in blocks:
            results += pipeline.push(reading)
    results += pipeline.flush()
    truth = station.truth(np.array([result.t_ns for result in results], dtype=np.int64), ahead)
    gaps = [
        abs(result.value - value)
        for result, value in zip(results, truth.tolist(), strict=True)
        if isinstance(result.value, float) and np.isfinite(value)
    ]
    return {"station": name, "mae": round(float(np.mean(gaps)), 3), "n": len(gaps)}


def _row(method: str, absent: Sequence[str], given: Score) -> dict[str, Any]:
    names = ("accuracy", "macro_f1", "mae", "r2", "ece", "coverage")
    numbers = {name: _round(getattr(given, name)) for name in names}
    return {"method": method, "absent": list(absent), **numbers, "n": given.n}


def _round(number: float | None) -> float | None:
    return None if number is None else round(number, 4)


def show(answer: dict[str, Any]) -> None:
    """Print the tables."""
    rows = [
        [row["method"], ", ".join(row["absent"]) or "-", row["mae"], row["r2"], row["coverage"] or "-", row["n"]]
        for row in answer["rows"]
    ]
    terminal.table(f"{answer['task']}, {answer['split']}", ["method", "absent", "MAE", "R²", "coverage", "n"], rows)
    columns = ["best single", "its MAE", "fused", "boosting, jointly", "share of the way", "coverage"]
    keys = ("best", "mae_best", "mae_fused", "mae_joint", "share_of_the_way", "coverage")
    each = [[", ".join(one["stations"]), *(one[key] for key in keys)] for one in answer["left_out"]]
    terminal.table("each group left out", ["stations", *columns], each)


if __name__ == "__main__":
    main()
