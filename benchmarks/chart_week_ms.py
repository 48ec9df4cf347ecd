"""A chart of one station's week, 600,000 raw results, in SQLite and PostgreSQL; the baseline is the 300 ms allowed."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks._delivery import report
from edge_sdk.monitor.store.base import Arrival, Batch, Source
from edge_sdk.monitor.store.place import open_store
from edge_sdk.monitor.store.reader import StoreReader
from tests.databases import postgres

RESULTS = 600_000
ALLOWED_MS = 300.0
ROUNDS = 7
_START_NS = 1_795_000_000_000_000_000
_WEEK_NS = 7 * 86_400 * 10**9
_STEP = 20_000


def fill(place: Path | str) -> None:
    """Store the week and roll it up, as a running monitor does on the side."""
    store = open_store(place)
    source, body = Source("bench", "s1", "9f3c00000000aa01"), b'{"stream":"occupancy"}' * 16
    for low in range(1, RESULTS + 1, _STEP):
        rows = [
            Arrival(
                seq, "occupancy", _START_NS + seq * 10**9, _START_NS, "abc"[seq // 50 % 3], 0.9, None, None, False,
                False, body,
            )
            for seq in range(low, low + _STEP)
        ]  # fmt: skip
        store.commit(Batch(results={source: rows}), now_ns=_START_NS + low * 10**9)
    while store.roll_up():
        pass
    store.close()


def measure(place: Path | str) -> list[float]:
    """Milliseconds of each look at the whole week, in 300 buckets with 60 whole results."""
    with StoreReader(place) as reader:
        found = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            chart = reader.chart(
                "bench", "s1", "occupancy", start_ns=_START_NS, end_ns=_START_NS + _WEEK_NS, points=300
            )
            found.append(1000 * (time.perf_counter() - begun))
            assert sum(one.count for one in chart.buckets) == RESULTS
    return found


def main() -> None:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres())
        for name, place in (
            ("chart_week_ms", directory / "monitor.db"),
            ("chart_week_postgres_ms", server.new_database()),
        ):
            fill(place)
            ours = measure(place)
            report(name, ours, [ALLOWED_MS] * len(ours), unit="ms", goal=1.0, better="lower")


if __name__ == "__main__":
    main()
