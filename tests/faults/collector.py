"""The monitor's ingest and store without the page, as a process.

``python -m tests.faults.collector URL STORE [RESULTS_PER_S]``; STORE is a file, or the URL of a PostgreSQL; the last
makes it no quicker than that.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import anyio

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import SystemClock
from edge_sdk.monitor.ingest import Ingest
from edge_sdk.monitor.store.base import Batch, Committed
from edge_sdk.monitor.store.place import open_store
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress
from tests.faults.wordy import Wordy


class SlowStore(SqliteStore):
    """A store on a machine that is hardly up to it."""

    def __init__(self, path: Path, results_per_s: float) -> None:
        super().__init__(path)
        self._results_per_s = results_per_s

    def commit(self, batch: Batch, *, now_ns: int) -> Committed:
        time.sleep(sum(map(len, batch.results.values())) / self._results_per_s)
        return super().commit(batch, now_ns=now_ns)


async def main(arguments: list[str]) -> None:
    url, path, *slow = arguments
    store = SlowStore(Path(path), float(slow[0])) if slow else open_store(path)
    ingest = Ingest(
        store,
        lambda: PahoTransport(
            BrokerAddress.parse(url),
            client_id="collector",
            clean_start=False,
            session_expiry_s=600,
            connect_timeout_s=5.0,
            keepalive_s=5,
        ),
        SystemClock(),
        backoff=Backoff(base_s=0.05, cap_s=0.3, stable_s=1.0),
    )
    await ingest.run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    logging.getLogger().handlers[0].setFormatter(Wordy())
    anyio.run(main, sys.argv[1:])
