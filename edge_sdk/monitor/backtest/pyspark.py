"""The Spark engine: the same replay in `mapInArrow`, a station's rows together in one task, in order of time."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from py4j.protocol import Py4JError
from pyspark import SparkFiles
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

from edge_sdk.base.errors import ConfigError
from edge_sdk.monitor.archive import WANTED, Found, found_batch, nameless, stations_of, tally_batch
from edge_sdk.monitor.backtest.replay import Bench, Question, Replay
from edge_sdk.monitor.backtest.spread import spread
from edge_sdk.monitor.backtest.tally import Tally

_SCHEMA = (
    "site string, station string, t long, label string, confidence double, value double, truth string, tally binary"
)
_ROWS = 20_000
"""An Arrow batch holds so many rows at most, and …"""
_BYTES = 32 << 20
"""… so many bytes, for a row may be a picture."""


def run_spark(
    question: Question,
    samples: str,
    deployed: str | None,
    *,
    master: str,
    keep: Path | str | None = None,
) -> Tally:
    """Try a question on an archive, on Spark.

    In a program that has a Spark session already, such as a notebook, that one is used and stays open; `master` does
    not count then.

    Args:
        question: What is to be tried; its files are sent to the workers.
        samples: Directory or URL of the samples, which every worker can read.
        deployed: Directory or URL of what was deployed; None = none.
        master: ``local[2]``, ``spark://HOST:PORT`` …; the workers need this package and pyarrow.
        keep: Write the results below here, as Parquet; None = they are counted alone.

    Raises:
        BundleError: A bundle must not be used; it is opened here first.
        ConfigError: The archive cannot be read, or Spark fails.
    """
    Bench(question)
    with _plainly(f"The back-test failed on Spark at {master}"), _session(master) as session:
        return _counted(session, question, samples, deployed, keep)


def _counted(session: SparkSession, question: Question, samples: str, deployed: str | None, keep: Any) -> Tally:
    with _sent(session, question) as there:
        rows = _samples(_read(session, samples, WANTED))
        if deployed:
            found = _results(_read(session, deployed, ("station", "t", "label")), question.stream)
            rows = rows.unionByName(found, allowMissingColumns=True)
        ordered = _divided(session, rows).sortWithinPartitions("site", "station", "t")
        is_kept = keep is not None

        def work(batches: Iterator[Any]) -> Iterator[Any]:
            yield from _work(there, is_kept, batches)

        said = ordered.mapInArrow(work, _SCHEMA)
        if is_kept:
            said = said.persist()
        total = Tally()
        for (tally,) in said.where("tally IS NOT NULL").select("tally").collect():
            total.add(msgspec.json.decode(bytes(tally), type=Tally))
        if is_kept:
            kept = said.where("tally IS NULL").drop("tally")
            kept.withColumn("t", f.timestamp_micros((f.col("t") / 1000).cast("long"))).write.parquet(str(keep))
            said.unpersist()
        return total


def _divided(session: SparkSession, rows: DataFrame) -> DataFrame:
    """Rows in two tasks for each core, alike in size: a hash of names gives one three stations and another none."""
    counted = rows.groupBy("site", "station").count().collect()
    if any(row["station"] is None for row in counted):
        raise nameless()
    sizes = {(row["site"], row["station"]): row["count"] for row in counted}
    tasks = spread(sizes, 2 * session.sparkContext.defaultParallelism)
    if not tasks:
        return rows
    places = session.createDataFrame(
        [(*one, task) for one, task in tasks.items()], "site string, station string, task int"
    )
    placed = rows.join(f.broadcast(places), ["site", "station"])
    return placed.repartitionById(max(tasks.values()) + 1, "task").drop("task")


@contextmanager
def _session(master: str) -> Iterator[SparkSession]:
    """The session that there is, or one of our own."""
    running = SparkSession.getActiveSession()
    builder = SparkSession.builder.master(master).appName("edge-sdk backtest").config("spark.ui.enabled", "false")
    session = running or builder.getOrCreate()
    session.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    session.conf.set("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
    session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(_ROWS))
    session.conf.set("spark.sql.execution.arrow.maxBytesPerBatch", str(_BYTES))  # counts from Spark 4 on
    try:
        yield session
    finally:
        if running is None:
            session.stop()


@contextmanager
def _sent(session: SparkSession, question: Question) -> Iterator[Question]:
    """The question as a worker reads it: its files travel under names of their own, for two may be called alike."""
    run = uuid4().hex
    with tempfile.TemporaryDirectory() as directory:

        def send(path: str, number: int) -> str:
            here = Path(directory) / f"{run}-{number}-{Path(path).name}"
            if Path(path).is_dir():
                shutil.copytree(path, here)
            else:
                shutil.copyfile(path, here)
            session.sparkContext.addFile(str(here), recursive=here.is_dir())
            return here.name

        yield replace(
            question,
            bundles=tuple(send(path, number) for number, path in enumerate(question.bundles, 1)),
            fusion=send(question.fusion, 0) if question.fusion else None,
        )


@contextmanager
def _plainly(what: str) -> Iterator[None]:
    """Say what Spark says in one line; the whole is the cause."""
    try:
        yield
    except (PySparkException, Py4JError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        causes = [line for line in lines if line.startswith("Caused by: ") or ("Error: " in line and line[0].isalpha())]
        reason = (causes or lines or [type(error).__name__])[-1 if causes else 0].removeprefix("Caused by: ")
        raise ConfigError(f"{what}: {reason[:300].rstrip('.')}. Spark's own log says more.") from error


def _read(session: SparkSession, place: str, wanted: tuple[str, ...]) -> DataFrame:
    there = place.replace("s3://", "s3a://", 1) if place.startswith("s3://") else place  # as Hadoop calls it
    with _plainly(f"{place} cannot be read as Parquet"):
        found = session.read.parquet(there)
    if missing := [name for name in wanted if name not in found.columns]:
        raise ConfigError(
            f"{place} has no column {', '.join(missing)}; wanted are {', '.join(wanted)}. "
            f"There are: {', '.join(found.columns)}."
        )
    return found


def _samples(found: DataFrame) -> DataFrame:
    return found.select(
        _site(found),
        f.col("station").cast("string"),
        _time(found).alias("t"),
        "sensor",
        "values",
        (f.col("rate_hz").cast("double") if "rate_hz" in found.columns else f.lit(None).cast("double")).alias(
            "rate_hz"
        ),
        (f.col("label").cast("string") if "label" in found.columns else f.lit(None).cast("string")).alias("label"),
    )


def _results(found: DataFrame, stream: str | None) -> DataFrame:
    if stream is not None:
        found = found.where(f.col("stream") == stream)
    return found.select(
        _site(found), f.col("station").cast("string"), _time(found).alias("t"), "label", "confidence", "value"
    )


def _site(found: DataFrame) -> Any:
    """A row without a site is of the site without a name."""
    return (f.coalesce(f.col("site").cast("string"), f.lit("")) if "site" in found.columns else f.lit("")).alias("site")


def _time(found: DataFrame) -> Any:
    return f.col("t") if dict(found.dtypes)["t"] == "bigint" else f.unix_micros("t") * 1000


@lru_cache(maxsize=1)
def _bench(question: Question) -> Bench:
    """On a worker: models are opened once for all its tasks."""
    return Bench(
        replace(
            question,
            bundles=tuple(SparkFiles.get(name) for name in question.bundles),
            fusion=SparkFiles.get(question.fusion) if question.fusion else None,
        )
    )


def _work(question: Question, is_kept: bool, batches: Iterator[Any]) -> Iterator[Any]:
    """On a worker: Arrow batches of some stations, one station after the other."""
    now: tuple[str, str] | None = None
    replay: Replay | None = None
    for batch in batches:
        for site, station, rows in stations_of(batch):
            if replay is not None and now is not None and now != (site, station):
                yield from _ended(replay, *now, is_kept)
                replay = None
            now, replay = (site, station), replay or Replay(_bench(question))
            said = [Found(site, station, *one) for one in replay.feed(rows)]
            if is_kept and said:
                yield found_batch(said)
    if replay is not None and now is not None:
        yield from _ended(replay, *now, is_kept)


def _ended(replay: Replay, site: str, station: str, is_kept: bool) -> Iterator[Any]:
    said = [Found(site, station, *one) for one in replay.finish()]
    if is_kept and said:
        yield found_batch(said)
    yield tally_batch(site, station, msgspec.json.encode(replay.tally))
