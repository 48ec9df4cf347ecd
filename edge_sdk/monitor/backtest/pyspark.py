"""The Spark engine: the same replay in `mapInPandas`, a station's rows together on one worker, in order of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from pyspark import SparkFiles
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from edge_sdk.monitor.backtest.replay import Bench, Question, Replay, Row, Said
from edge_sdk.monitor.backtest.tally import Tally

_SCHEMA = (
    "site string, station string, t long, label string, confidence double, value double, truth string, tally binary"
)
_COLUMNS = ("site", "station", "t", "label", "confidence", "value", "truth", "tally")
_BATCH = 2000


def run_spark(
    question: Question,
    samples: str,
    deployed: str | None,
    *,
    master: str,
    partitions: int = 0,
    keep: Path | str | None = None,
) -> Tally:
    """Try a question on an archive, on Spark.

    Args:
        question: What is to be tried; its files are sent to the workers.
        samples: Directory or URL of the samples, which every worker can read.
        deployed: Directory or URL of what was deployed; None = none.
        master: ``local[2]``, ``spark://HOST:PORT`` …; the workers need this package and pandas.
        partitions: How many tasks; 0 = twice the cores that there are.
        keep: Write the results below here, as Parquet; None = they are counted alone.
    """
    session = (
        SparkSession.builder.master(master)
        .appName("edge-sdk backtest")
        .config("spark.sql.legacy.parquet.nanosAsLong", "true")
        .config("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", str(_BATCH))
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    try:
        for path in (*question.bundles, *((question.fusion,) if question.fusion else ())):
            session.sparkContext.addFile(path)
        there = replace(
            question,
            bundles=tuple(Path(path).name for path in question.bundles),
            fusion=Path(question.fusion).name if question.fusion else None,
        )
        rows = _samples(session.read.parquet(samples))
        if deployed:
            rows = rows.unionByName(_results(session.read.parquet(deployed), question.stream))
        tasks = partitions or 2 * session.sparkContext.defaultParallelism
        ordered = rows.repartition(tasks, "site", "station").sortWithinPartitions("site", "station", "t")

        def work(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            yield from _work(there, batches)

        said = ordered.mapInPandas(work, _SCHEMA)
        if keep is not None:
            said = said.persist()
        total = Tally()
        for (tally,) in said.where("tally IS NOT NULL").select("tally").collect():
            total.add(msgspec.json.decode(bytes(tally), type=Tally))
        if keep is not None:
            kept = said.where("tally IS NULL").drop("tally")
            kept.withColumn("t", f.timestamp_micros((f.col("t") / 1000).cast("long"))).write.parquet(str(keep))
        return total
    finally:
        session.stop()


def _samples(found: DataFrame) -> DataFrame:
    return found.select(
        _site(found), "station", _time(found).alias("t"), "sensor", "values",
        (f.col("label").cast("string") if "label" in found.columns else f.lit(None).cast("string")).alias("label"),
        f.lit(None).cast("double").alias("confidence"), f.lit(None).cast("double").alias("value"),
    )  # fmt: skip


def _results(found: DataFrame, stream: str | None) -> DataFrame:
    if stream is not None:
        found = found.where(f.col("stream") == stream)
    return found.select(
        _site(found), "station", _time(found).alias("t"), f.lit(None).cast("string").alias("sensor"),
        f.lit(None).cast("array<float>").alias("values"), "label", "confidence", "value",
    )  # fmt: skip


def _site(found: DataFrame) -> Any:
    return (f.col("site").cast("string") if "site" in found.columns else f.lit("")).alias("site")


def _time(found: DataFrame) -> Any:
    return f.col("t") if dict(found.dtypes)["t"] == "bigint" else f.unix_micros("t") * 1000


def _work(question: Question, batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """On a worker: rows of some stations, one station after the other."""
    here = replace(
        question,
        bundles=tuple(SparkFiles.get(name) for name in question.bundles),
        fusion=SparkFiles.get(question.fusion) if question.fusion else None,
    )
    bench: Bench | None = None
    for (site, station), rows in groupby(_rows(batches), key=lambda one: one[0]):
        bench = bench or Bench(here)
        replay = Replay(bench)
        out: list[tuple[Any, ...]] = []
        for said in chain(replay.feed(row for _, row in rows), replay.finish()):
            out.append(_told(site, station, said, None))
            if len(out) >= _BATCH:
                yield pd.DataFrame(out, columns=_COLUMNS)
                out = []
        out.append(_told(site, station, Said(0, None, None, None, None), msgspec.json.encode(replay.tally)))
        yield pd.DataFrame(out, columns=_COLUMNS)


def _told(site: str, station: str, said: Said, tally: bytes | None) -> tuple[Any, ...]:
    return (site, station, *said, tally)


def _rows(batches: Iterator[pd.DataFrame]) -> Iterator[tuple[tuple[str, str], Row]]:
    for batch in batches:
        columns = (batch[name] for name in ("site", "station", "t", "sensor", "values", "label", "confidence", "value"))
        for site, station, t_ns, sensor, values, label, confidence, value in zip(*columns, strict=True):
            if isinstance(sensor, str):
                yield (site, station), Row(int(t_ns), sensor, values, _text(label))
            else:
                yield (site, station), Row(int(t_ns), None, None, _text(label), _number(confidence), _number(value))


def _text(value: Any) -> str | None:
    """Pandas says None as NaN."""
    return value if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
