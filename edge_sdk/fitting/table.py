"""Tables: a CSV of samples and truth becomes a record, by running the bundles as a station would."""

from __future__ import annotations

import csv
import gzip
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.clock import from_datetime
from edge_sdk.base.errors import CalibrationError, nearest
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.window import Window
from edge_sdk.fitting.record import Opinion, Record, recorded
from edge_sdk.inference.model import Model
from edge_sdk.windowing.align import Aligner, Moment
from edge_sdk.windowing.windower import Windower

_TIMES = ("time", "timestamp", "datetime", "date")
_PARTS = ("year", "month", "day", "hour", "minute", "second")
_MISSING = {"", "na", "nan", "null", "none"}
_BLOCK = 256

Spoil = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Changes a sensor's samples ``(n, channels)``."""

Key = tuple[str, int]
"""Name of a series and time of a moment in it, nanoseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of samples in order of time.

    Attributes:
        t_ns: int64 ``(n,)``.
        columns: Every other column as text, ``(n,)`` each.
        path: Where it was read from.
        groups_apart: Column whose groups are measured at the same times, as stations are: their rows are no one
            series. Empty = all rows are one.
    """

    t_ns: NDArray[np.int64]
    columns: Mapping[str, Sequence[str]]
    path: Path
    groups_apart: str = ""

    @classmethod
    def read(cls, path: Path, *, time: str | None = None) -> Table:
        """Read a ``.csv`` or ``.csv.gz`` with a header.

        Args:
            path: The file.
            time: The column of times: ISO 8601 (UTC where no zone is given), or seconds since the Unix epoch; or two,
                ``DATE,TIME``. None = ``date`` and ``time`` together, or the first of ``time``, ``timestamp``,
                ``datetime``, ``date``, or ``year``, ``month``, ``day``, ``hour``, or ``t``.

        Raises:
            CalibrationError: It cannot be read; the message names the column, and the row where it is known.
        """
        rows = _rows(path)
        names = list(rows[0]) if rows else []
        if not rows:
            raise CalibrationError(f"{path} has no rows; wanted is a CSV with a header.")
        chosen = time.split(",") if time and time not in names else [time] if time else _columns_of_times(names)
        missing = [name for name in chosen if name not in names]
        if missing or not chosen:
            wanted = missing[0] if missing else "time"
            raise CalibrationError(f"{path} has no column of times {','.join(chosen)}. {nearest(wanted, names)}")
        texts = [_joined([row[name].strip() for name in chosen]) for row in rows]
        times = np.array([_time(text, path, number) for number, text in enumerate(texts, start=2)], np.int64)
        order = np.argsort(times, kind="stable")
        columns = {name: [rows[index][name] for index in order] for name in names if name not in chosen}
        return cls(times[order], columns, path)

    def apart(self, group: str) -> Table:
        """The same, with the groups of a column taken as series of their own where some are measured at one time."""
        groups = np.asarray(self.groups(group))
        _, moment = np.unique(self.t_ns, return_inverse=True)
        pairs = {(at, name) for at, name in zip(moment.tolist(), groups.tolist(), strict=True)}
        return replace(self, groups_apart=group) if len(pairs) > moment.max() + 1 else self

    def series(self) -> Iterator[tuple[str, Table]]:
        """Each series by the name of its group; all rows by an empty name where they are one."""
        if not self.groups_apart:
            yield "", self
            return
        groups = np.asarray(self.groups(self.groups_apart))
        for name in sorted(set(groups.tolist())):
            rows = np.flatnonzero(groups == name)
            columns = {key: [column[row] for row in rows.tolist()] for key, column in self.columns.items()}
            yield name, Table(self.t_ns[rows], columns, self.path)

    def keys(self, record: Record) -> list[Key]:
        """Of each moment of a record the name of its series, and its time."""
        names = record.groups.tolist() if self.groups_apart else [""] * len(record)
        return list(zip(names, record.t_ns.tolist(), strict=True))

    def column(self, name: str) -> Sequence[str]:
        """A column as text.

        Raises:
            CalibrationError: There is no such column.
        """
        if name not in self.columns:
            raise CalibrationError(f"{self.path} has no column {name!r}. {nearest(name, self.columns)}")
        return self.columns[name]

    def numbers(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Columns as float32 ``(n, len(names))``; ``NA`` and the like are NaN: not measured.

        Raises:
            CalibrationError: A value is no number.
        """
        out = np.empty((len(self.t_ns), len(names)), dtype=np.float32)
        for index, name in enumerate(names):
            for row, text in enumerate(self.column(name)):
                try:
                    out[row, index] = np.nan if text.strip().lower() in _MISSING else float(text)
                except ValueError:
                    raise CalibrationError(
                        f"{self.path}: column {name!r} holds {text!r}, wanted is a number."
                    ) from None
        return out

    def groups(self, name: str) -> Sequence[str]:
        """The column of groups; ``day`` and ``month`` are made from the times where there is no such column."""
        if name in self.columns:
            return self.columns[name]
        if name in {"day", "month"}:
            unit = "D" if name == "day" else "M"
            return [str(day) for day in self.t_ns.astype("datetime64[ns]").astype(f"datetime64[{unit}]")]
        raise CalibrationError(f"{self.path} has no column {name!r}. {nearest(name, [*self.columns, 'day', 'month'])}")


def record(table: Table, models: Sequence[Model], *, target: str, group: str) -> Record:
    """Run bundles over a table, and put beside what they say what was true.

    Args:
        table: Samples; each model finds its channels by name.
        models: The contributors.
        target: Column of the truth: a label, or a number in the models' unit.
        group: Column of groups, or ``day``, ``month``.

    Raises:
        CalibrationError: A column is missing, or holds what it must not.
    """
    first = models[0].bundle.manifest
    labels = {label: index for index, label in enumerate(first.labels)}
    kept: list[Moment] = []
    truth: list[float] = []
    group_of: list[str] = []
    for _, part in table.series():
        texts, groups = part.column(target), part.groups(group)
        for moment in _moments(part, models):
            row = max(int(np.searchsorted(part.t_ns, moment.t_ns, side="left")) - 1, 0)
            text = texts[row].strip()
            if text.lower() in _MISSING:
                continue
            truth.append(_truth(text, labels, table, target))
            kept.append(moment)
            group_of.append(groups[row])
    if not kept:
        raise CalibrationError(f"{table.path}: the models made no window on it; check channels, rate and length.")
    names = [model.name for model in models]
    return recorded(kept, names, truth, group_of, labels=first.labels, unit=first.unit)


def _moments(table: Table, models: Sequence[Model]) -> list[Moment]:
    lateness_ns = round(2e9 * max(1 / model.bundle.manifest.windowing.rate_hz for model in models))
    aligner = Aligner(
        [model.name for model in models], policy="on_all", max_age_ns=0, lateness_ns=lateness_ns, tick_ns=None
    )
    predictions = [model.predict(window) for model in models for window in _windows(table, model, None)]
    moments: list[Moment] = []
    for prediction in sorted(predictions, key=lambda one: one.end_ns):
        moments += aligner.push(prediction)
        moments += aligner.advance(prediction.end_ns)
    return moments + list(aligner.flush())


def _truth(text: str, labels: Mapping[str, int], table: Table, target: str) -> float:
    if not labels:
        try:
            return float(text)
        except ValueError:
            raise CalibrationError(f"{table.path}: {target!r} holds {text!r}, wanted is a number.") from None
    if text not in labels:
        raise CalibrationError(f"{table.path}: {target!r} holds {text!r}, no label. {nearest(text, labels)}")
    return labels[text]


def opinion(table: Table, model: Model, spoil: Spoil, given: Record) -> Opinion:
    """What one contributor says at a record's moments when its samples are spoilt: noise, a stuck sensor."""
    said = {
        (name, window.end_ns): model.predict(window)
        for name, part in table.series()
        for window in _windows(part, model, spoil)
    }
    nothing = ContributorState.ABSENT
    moments = [
        Moment(key[1], (said.get(key, Prediction(model.name, key[1], key[1], state=nothing)),))
        for key in table.keys(given)
    ]
    if not any(moment.predictions[0].state is ContributorState.FRESH for moment in moments):
        return replace(given.opinions[model.name], fresh=np.zeros(len(given), dtype=np.bool_))
    spoilt = recorded(
        moments, [model.name], given.truth.tolist(), given.groups.tolist(), labels=given.labels, unit=given.unit
    )
    return spoilt.opinions[model.name]


def windows(table: Table, model: Model) -> dict[Key, Window]:
    """The windows of a model's sensor, as a station cuts them, by series and end."""
    return {(name, window.end_ns): window for name, part in table.series() for window in _windows(part, model, None)}


def _windows(table: Table, model: Model, spoil: Spoil | None) -> Iterator[Window]:
    manifest = model.bundle.manifest
    samples = table.numbers([channel.name for channel in manifest.channels])
    if spoil is not None:
        samples = spoil(samples)
    windower = Windower(manifest.windowing, sensor=model.name, channels=samples.shape[1])
    for low in range(0, len(samples), _BLOCK):
        times = table.t_ns[low : low + _BLOCK]
        reading = Reading(model.name, samples[low : low + _BLOCK], int(times[0]), times_ns=times)
        yield from windower.push(reading)
    yield from windower.flush()


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise CalibrationError(f"{path} cannot be read: {error}.") from error
    reader = csv.DictReader(text.splitlines())
    rows = list(reader)
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise CalibrationError(f"{path}, row {number}: has another number of fields than the header.")
    return rows


def _columns_of_times(names: Sequence[str]) -> list[str]:
    """What of a header says when: a date and a time, one column, or year, month, day and what follows."""
    by_name = {name.lower(): name for name in names}
    if "date" in by_name and "time" in by_name:
        return [by_name["date"], by_name["time"]]
    one = next((name for name in names if name.lower() in _TIMES), None)
    if one is not None:
        return [one]
    parts = [by_name[part] for part in itertools.takewhile(by_name.__contains__, _PARTS)]
    return parts if len(parts) > 2 else [by_name["t"]] if "t" in by_name else []


def _joined(texts: Sequence[str]) -> str:
    """One text of a date and a time, or of numbers from the year to the second."""
    if len(texts) < 3:
        return " ".join(texts)
    padded = [text.zfill(2) for text in texts] + ["00"] * (len(_PARTS) - len(texts))
    return f"{'-'.join(padded[:3])} {':'.join(padded[3:])}"


def _time(text: str, path: Path, number: int) -> int:
    try:
        return round(float(text) * 1e9)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("/", "-"))
    except ValueError:
        raise CalibrationError(f"{path}, row {number}: {text!r} is no time; wanted is ISO 8601 or seconds.") from None
    return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc))
