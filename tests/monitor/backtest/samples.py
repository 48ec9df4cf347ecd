"""An archive of samples for back-tests: stations that measure what the tiny model reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from tests.models import CHANNELS, LABELS, LENGTH, WINDOWING, expected, weights

START_NS = 1_795_000_000_000_000_000
STEP_NS = round(1e9 / WINDOWING.rate_hz)


def in_blocks(samples: Path, blocks: Path, length: int) -> None:
    """The same archive, so many samples a row."""
    for file in samples.rglob("*.parquet"):
        table = pyarrow.parquet.ParquetFile(file).read()
        rows = []
        for station in table["station"].unique():
            found = table.filter(pc.equal(table["station"], station)).sort_by("t").to_pydict()
            rows += [
                {
                    "station": station.as_py(),
                    "sensor": found["sensor"][at],
                    "t": found["t"][at],
                    "values": found["values"][at : at + length],
                    "rate_hz": WINDOWING.rate_hz,
                }
                for at in range(0, len(found["t"]), length)
            ]
        place = blocks / file.relative_to(samples)
        place.parent.mkdir(parents=True)
        kinds = (pa.string(), pa.string(), table.schema.field("t").type, pa.list_(pa.list_(pa.float32())), pa.float64())
        schema = pa.schema(list(zip(("station", "sensor", "t", "values", "rate_hz"), kinds, strict=True)))
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), place)


def write_samples(directory: Path, *, stations: int, samples: int, seed: int = 0, noise: float = 0.0) -> dict[str, int]:
    """One file a site; the truth is what the model of that seed answers, so that it is right always.

    Args:
        directory: Where.
        stations: How many, on two sites.
        samples: Of each station.
        seed: Of the model whose answers are the truth.
        noise: Share of truths that are spoiled.

    Returns:
        How many windows each station's samples hold.
    """
    w = weights(seed)
    rows: dict[str, list[tuple[str, str, int, list[float], str]]] = {"north": [], "south": []}
    for number in range(stations):
        rng = np.random.default_rng(1000 + number)
        values = rng.normal(size=(samples, CHANNELS)).astype(np.float32)
        truths = [LABELS[0]] * samples
        for end in range(LENGTH, samples + 1, WINDOWING.stride):
            answer = LABELS[int(expected(values[end - LENGTH : end], w).argmax())]
            if rng.random() < noise:
                answer = LABELS[(LABELS.index(answer) + 1) % len(LABELS)]
            for at in range(end - WINDOWING.stride, end):
                truths[at] = answer
        site = list(rows)[number % 2]
        rows[site] += [
            (f"s{number}", "thing", START_NS + at * STEP_NS, values[at].tolist(), truths[at]) for at in range(samples)
        ]
    kinds = (pa.string(), pa.string(), pa.timestamp("ns", tz="UTC"), pa.list_(pa.float32()), pa.string())
    schema = pa.schema(list(zip(("station", "sensor", "t", "values", "label"), kinds, strict=True)))
    for site, found in rows.items():
        if not found:
            continue
        home = directory / f"site={site}"
        home.mkdir(parents=True)
        columns = [pa.array(list(column), kind) for column, kind in zip(zip(*found, strict=True), kinds, strict=True)]
        pyarrow.parquet.write_table(pa.table(columns, schema=schema), home / "part-0.parquet", row_group_size=5000)
    return {"windows": stations * len(range(LENGTH, samples + 1, WINDOWING.stride))}
