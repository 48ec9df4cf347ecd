"""City air: PM2.5 now, without a PM sensor, from a gas model and a weather model, both int8, fused on the station.

The models are made from other stations and from before March 2015, the fusion from the year behind, the test is on
stations left out and after March 2016. Run it with::

    python -m examples.city_air.run --data DIR [--holdout Tiantan,Dingling]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_sdk.base import terminal
from edge_sdk.contract.trust import SigningKey, Trust
from edge_sdk.fitting.fit import fitted
from edge_sdk.fitting.methods import estimators
from edge_sdk.fitting.record import Record, joined, recorded
from edge_sdk.fitting.score import Score, run, score
from edge_sdk.fusion.chain import Chain
from edge_sdk.fusion.file import read_fusion, write_fusion
from edge_sdk.inference.model import Model
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.windowing.align import Aligner, Moment
from edge_sdk.windowing.windower import Windower
from examples.city_air import local
from examples.city_air.data import CHANNELS, HOUR_NS, Station, load, stations

KINDS = tuple(CHANNELS)
CHOSEN = "mean, by precision"


def _ns(day: str) -> int:
    return int(np.datetime64(day).astype("datetime64[ns]").astype(np.int64))


FUSION_FROM, TEST_FROM = _ns("2015-03-01"), _ns("2016-03-01")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the task and write ``results.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder with PRSA_Data_*.csv")
    parser.add_argument(
        "--holdout", default="Tiantan,Dingling", help="stations to test on, left out of everything else"
    )
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rows", type=int, default=60_000, help="most windows to train each model on")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_name("results.json"))
    given = parser.parse_args(arguments)
    names, holdout = stations(given.data), given.holdout.split(",")
    unknown = sorted(set(holdout) - set(names))
    if unknown or len(holdout) >= len(names):
        parser.error(f"no such stations to leave out: {', '.join(unknown or holdout)}; there are {', '.join(names)}")
    with tempfile.TemporaryDirectory() as folder:
        answer = solve(given.data, holdout, Path(folder), epochs=given.epochs, rows=given.rows)
    given.json.write_bytes(msgspec.json.format(msgspec.json.encode(answer), indent=1) + b"\n")
    show(answer)


def solve(data: Path, holdout: Sequence[str], work: Path, *, epochs: int, rows: int) -> dict[str, Any]:
    """Train, convert, fit, test; the rows of ``results.json``."""
    recordings = {name: load(data, name) for name in stations(data)}
    known = [recordings[name] for name in recordings if name not in holdout]
    unseen = [recordings[name] for name in holdout]
    key = SigningKey.new()
    trust = Trust((key.public,))
    for kind in KINDS:
        x, y = training(known, kind)
        local.bundle(local.train(x, y, epochs=epochs, rows=rows), kind, x, y, work / f"{kind}.edge", key)
    models = [Model.open(work / f"{kind}.edge", trust=trust) for kind in KINDS]
    learned = joined([said(station, models, FUSION_FROM, TEST_FROM) for station in known])
    test = joined([said(station, models, TEST_FROM, 2**62) for station in unseen])
    lines = [_row(f"{kind} alone", (), score(run(Chain("weighted_mean"), test.only(kind)), test)) for kind in KINDS]
    for method in estimators():
        spec = fitted(method, learned)
        if method.title == CHOSEN:
            write_fusion(work / "air.fusion", spec, key=key)
        lines.append(_row(method.title, (), score(run(spec.open(), test), test)))
    chosen = read_fusion(work / "air.fusion", trust)
    lines += [
        _row("fused", absent, score(run(chosen.open(), test.without(absent)), test))
        for absent in [(), *((kind,) for kind in KINDS)]
    ]
    lines.append(boosted(known, unseen, rows))
    return {
        "task": "city air: PM2.5 now",
        "split": f"unseen stations {', '.join(holdout)}, after 2016-03-01",
        "pipeline": through_pipeline(unseen[0], models, chosen.open()),
        "rows": lines,
    }


def training(known: Sequence[Station], kind: str) -> tuple[Any, Any]:
    """Windows of the training stations and years."""
    cut = [local.windows(station, kind, _until(station, FUSION_FROM)) for station in known]
    x, y = np.concatenate([one.x for one in cut]), np.concatenate([one.y for one in cut])
    there = np.isfinite(y)
    return x[there], y[there]


def said(station: Station, models: Sequence[Model], from_ns: int, to_ns: int) -> Record:
    """What the int8 models say of a stretch, aligned as on a station, where PM2.5 was measured."""
    rows = slice(int(np.searchsorted(station.t_ns, from_ns)), int(np.searchsorted(station.t_ns, to_ns)))
    aligner = Aligner(KINDS, policy="on_all", max_age_ns=0, lateness_ns=HOUR_NS, tick_ns=None)
    predictions = []
    for model in models:
        windower = Windower(local.WINDOWING, sensor=model.name, channels=len(CHANNELS[model.name]))
        windows = [one for reading in station.readings(model.name, rows) for one in windower.push(reading)]
        predictions += [model.predict(window) for window in windows]
    moments: list[Moment] = []
    for prediction in sorted(predictions, key=lambda one: one.end_ns):
        moments += aligner.push(prediction)
    moments += aligner.flush()
    truth = local.truth(station, np.array([moment.t_ns for moment in moments], dtype=np.int64))
    kept = [(moment, value) for moment, value in zip(moments, truth.tolist(), strict=True) if np.isfinite(value)]
    return recorded(
        [moment for moment, _ in kept], KINDS, [value for _, value in kept], [station.name] * len(kept), unit="µg/m³"
    )


def through_pipeline(station: Station, models: Sequence[Model], fuser: Chain) -> dict[str, Any]:
    """The test year of one station through the station's own pipeline."""
    pipeline = Pipeline(models, fuser, stream="pm25", lateness_s=7200.0, max_age_s=0.0)
    rows = slice(int(np.searchsorted(station.t_ns, TEST_FROM)), len(station.t_ns))
    results = []
    for blocks in zip(*(station.readings(kind, rows, hours=1) for kind in KINDS), strict=True):
        for reading in blocks:
            results += pipeline.push(reading)
    results += pipeline.flush()
    truth = local.truth(station, np.array([result.t_ns for result in results], dtype=np.int64))
    gaps = [
        abs(result.value - value)
        for result, value in zip(results, truth.tolist(), strict=True)
        if isinstance(result.value, float) and np.isfinite(value)
    ]
    return {"station": station.name, "mae": round(float(np.mean(gaps)), 3), "n": len(gaps)}


def boosted(known: Sequence[Station], unseen: Sequence[Station], rows: int) -> dict[str, Any]:
    """Early fusion for comparison: gradient boosting on all features of both sensors, which no station runs."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = _joint(known, 0, TEST_FROM)
    pick = np.random.default_rng(1).choice(len(x), min(rows, len(x)), replace=False)
    model = HistGradientBoostingRegressor(max_iter=250, learning_rate=0.08, random_state=1).fit(x[pick], y[pick])
    x, y = _joint(unseen, TEST_FROM, 2**62)
    error = model.predict(x) - y
    r2 = 1 - float((error**2).sum() / ((y - y.mean()) ** 2).sum())
    given = Score(n=len(y), answered=1.0, mae=float(np.abs(error).mean()), r2=r2)
    return _row("gradient boosting on all features jointly", (), given)


def _joint(of: Sequence[Station], from_ns: int, to_ns: int) -> tuple[Any, Any]:
    xs, ys = [], []
    for station in of:
        rows = slice(int(np.searchsorted(station.t_ns, from_ns)), int(np.searchsorted(station.t_ns, to_ns)))
        cut = [local.windows(station, kind, rows) for kind in KINDS]
        shared = np.intersect1d(cut[0].t_ns, cut[1].t_ns)
        parts = [one.x[np.searchsorted(one.t_ns, shared)] for one in cut]
        x = np.hstack([np.hstack([part[:, 1::2].reshape(len(shared), -1)]) for part in parts])
        y = local.truth(station, shared)
        xs.append(x[np.isfinite(y)])
        ys.append(y[np.isfinite(y)])
    return np.concatenate(xs), np.concatenate(ys)


def _until(station: Station, to_ns: int) -> slice:
    return slice(0, int(np.searchsorted(station.t_ns, to_ns)))


def _row(method: str, absent: Sequence[str], given: Score) -> dict[str, Any]:
    names = ("accuracy", "macro_f1", "mae", "r2", "ece", "coverage")
    numbers = {name: None if getattr(given, name) is None else round(getattr(given, name), 4) for name in names}
    return {"method": method, "absent": list(absent), **numbers, "n": given.n}


def show(answer: dict[str, Any]) -> None:
    """Print the table."""
    rows = [
        [row["method"], ", ".join(row["absent"]) or "-", row["mae"], row["r2"], row["coverage"] or "-", row["n"]]
        for row in answer["rows"]
    ]
    terminal.table(f"{answer['task']}, {answer['split']}", ["method", "absent", "MAE", "R²", "coverage", "n"], rows)


if __name__ == "__main__":
    main()
