"""The monitor's ingest and store without the page, as a process: ``python -m tests.faults.collector URL STORE``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import anyio

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.clock import SystemClock
from edge_sdk.monitor.ingest import Ingest
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress
from tests.faults.wordy import Wordy


async def main(arguments: list[str]) -> None:
    url, store = arguments
    ingest = Ingest(
        SqliteStore(Path(store)),
        lambda: PahoTransport(
            BrokerAddress.parse(url),
            client_id="collector",
            clean_start=False,
            session_expiry_s=600,
            connect_timeout_s=2.0,
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
