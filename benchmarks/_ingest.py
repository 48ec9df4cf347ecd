"""What the ingest benchmarks share: queued messages, a bare paho loop into SQLite as the baseline, and ours."""

from __future__ import annotations

import json
import socket
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_sdk.base.clock import SystemClock
from edge_sdk.monitor.ingest import Ingest
from edge_sdk.monitor.store.base import Committed
from edge_sdk.monitor.store.sqlite import SqliteStore
from edge_sdk.mqtt.paho import PahoTransport
from edge_sdk.mqtt.transport import BrokerAddress
from tests.brokers import RunningBroker, mosquitto

WINDOW = 20_000


@contextmanager
def broker() -> Iterator[RunningBroker]:
    """A mosquitto on loopback that keeps what is queued and does not slow a reader with a window of 20."""
    extra = "max_inflight_messages 0\nmax_queued_messages 1000000"
    with tempfile.TemporaryDirectory() as directory, mosquitto(Path(directory) / "broker", extra=extra) as running:
        yield running


def subscribe_and_leave(port: int, client_id: str, filters: Sequence[str]) -> None:
    """Make a session that the broker keeps."""
    client, ready = _client(client_id), threading.Event()
    client.on_subscribe = lambda *_: ready.set()
    _connect(client, port)
    client.loop_start()
    while not client.is_connected():
        time.sleep(0.002)
    client.subscribe([(name, 1) for name in filters])
    assert ready.wait(10)
    client.disconnect()
    client.loop_stop()


class Publisher:
    """The lightest publisher there is: MQTT 3.1.1 packets made beforehand, acknowledgements counted and thrown away."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04load")
        assert self._socket.recv(4) == b"\x20\x02\x00\x00"
        self._acknowledged = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, packets: bytes) -> None:
        self._socket.sendall(packets)

    def wait(self, count: int) -> None:
        """Until the broker has acknowledged `count` messages in all."""
        deadline = time.monotonic() + 120
        while self._acknowledged < 4 * count:
            assert time.monotonic() < deadline, self._acknowledged
            time.sleep(0.005)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    def _read(self) -> None:
        while received := self._socket.recv(65_536):
            self._acknowledged += len(received)


def packet(topic: str, payload: bytes, mid: int) -> bytes:
    """One QoS 1 PUBLISH."""
    name = topic.encode()
    left = 2 + len(name) + 2 + len(payload)
    head = bytearray(b"\x32")
    while True:
        left, digit = divmod(left, 128)
        head.append(digit | (128 if left else 0))
        if not left:
            break
    return bytes(head) + len(name).to_bytes(2, "big") + name + (mid % 65_535 + 1).to_bytes(2, "big") + payload


def drain_bare(port: int, client_id: str, results: int) -> float:
    """Seconds of a short script: paho, json, INSERT OR IGNORE, commit in groups, acknowledge after the commit."""
    with tempfile.TemporaryDirectory() as directory, BareLoop(port, client_id, Path(directory) / "bare.db") as loop:
        start = time.perf_counter()
        loop.until(results)
        return time.perf_counter() - start


class BareLoop:
    """The baseline: callbacks fill a list, a thread commits it."""

    def __init__(self, port: int, client_id: str, path: Path) -> None:
        self.stored = 0
        self.on_commit: Callable[[list[tuple[str, int]]], None] | None = None
        self._path = path
        self._waiting: list[paho.MQTTMessage] = []
        self._arrived = threading.Condition()
        self._stopping = False
        self._client = _client(client_id)
        self._client.on_message = self._take
        self._thread = threading.Thread(target=self._work)
        self._port = port

    def __enter__(self) -> BareLoop:
        self._thread.start()
        _connect(self._client, self._port)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._arrived:
            self._stopping = True
            self._arrived.notify()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def until(self, results: int) -> None:
        deadline = time.monotonic() + 120
        while self.stored < results:
            assert time.monotonic() < deadline, self.stored
            time.sleep(0.002)

    def _take(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        with self._arrived:
            self._waiting.append(message)
            self._arrived.notify()

    def _work(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(
            "CREATE TABLE results (station TEXT, epoch TEXT, seq INTEGER, t TEXT, label TEXT, confidence REAL,"
            " body BLOB, PRIMARY KEY (station, epoch, seq)) WITHOUT ROWID"
        )
        while True:
            with self._arrived:
                while not self._waiting and not self._stopping:
                    self._arrived.wait()
                if self._stopping:
                    break
                messages, self._waiting = self._waiting, []
            rows: list[tuple[object, ...]] = []
            for message in messages:
                data = json.loads(message.payload)
                rows.extend(
                    (
                        data["station"],
                        data["epoch"],
                        one["seq"],
                        one["t"],
                        one["label"],
                        one["confidence"],
                        json.dumps(one),
                    )
                    for one in data.get("results", (data,))
                )
            db.execute("BEGIN")
            db.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            db.execute("COMMIT")
            for message in messages:
                self._client.ack(message.mid, message.qos)
            self.stored += len(rows)
            if self.on_commit is not None:
                self.on_commit([(str(row[0]), int(str(row[2]))) for row in rows])
        db.close()


def drain_ours(port: int, client_id: str, results: int) -> float:
    """Seconds of the monitor's ingest, receipts included."""

    async def work() -> float:
        with tempfile.TemporaryDirectory() as directory:
            store = SqliteStore(Path(directory) / "monitor.db")
            stored, done = 0, anyio.Event()

            def committed(one: Committed) -> None:
                nonlocal stored
                stored += sum(map(len, one.new.values()))
                if stored >= results:
                    done.set()

            ingest = make_ingest(store, port, client_id, committed)
            start = time.perf_counter()
            async with anyio.create_task_group() as group:
                group.start_soon(ingest.run)
                with anyio.fail_after(120):
                    await done.wait()
                seconds = time.perf_counter() - start
                ingest.stop()
            store.close()
            return seconds

    return anyio.run(work)


def make_ingest(store: SqliteStore, port: int, client_id: str, on_commit: Callable[[Committed], None]) -> Ingest:
    def connect() -> PahoTransport:
        return PahoTransport(
            BrokerAddress(port=port),
            client_id=client_id,
            clean_start=False,
            session_expiry_s=600,
            receive_window=WINDOW,
        )

    return Ingest(store, connect, SystemClock(), on_commit=on_commit)


def rate(results: int, seconds: Sequence[float]) -> list[float]:
    return [results / one for one in seconds]


def percentile(values: Sequence[float], share: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def _client(client_id: str) -> paho.Client:
    return paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, manual_ack=True)


def _connect(client: paho.Client, port: int) -> None:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 600
    properties.ReceiveMaximum = WINDOW
    client.connect("127.0.0.1", port, clean_start=False, properties=properties)
