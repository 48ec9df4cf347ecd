"""A scene: a broker, a feeder and a collector as processes, and the ledger of what `put` accepted."""

from __future__ import annotations

import itertools
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from edge_sdk.outbox.meta import read_meta

if TYPE_CHECKING:
    from typing_extensions import Self


class Stored(NamedTuple):
    """One row of the monitor's store."""

    epoch: str
    seq: int
    value: int
    backlog: bool
    t_ns: int
    stored_ns: int


class Child:
    """A process that can be killed and started again."""

    def __init__(self, log: Path, *command: str, within: Sequence[str] = ()) -> None:
        self._log, self._command, self._within = log, command, within
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._within, sys.executable, "-m", *self._command], stdout=log, stderr=log
            )

    def kill(self) -> None:
        assert self.process.poll() is None, self.said()
        self.process.kill()
        self.process.wait()

    def finish(self, deadline_s: float) -> None:
        """Tell it to end in order, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.said()}") from None
        assert code == 0, self.said()

    def rss_bytes(self) -> int:
        """Its resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024

    def said_in_all(self) -> str:
        """Its whole log."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def said(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-5000:]


class Scene:
    """What a fault is played on.

    Args:
        directory: Where the files of all of them are.
        url: The broker.
        rate: Results a second that the feeder puts; 0 = as many as it can.
        field: What the feeder's command begins with: another network name space.
        centre: The same for the collector.
        more: Further arguments of the feeder, after the rate.
        slow: Results a second that the collector can store; None = as many as it can.
        database: URL of the PostgreSQL that the collector stores in; None = a file.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        *,
        rate: float = 400.0,
        field: Sequence[str] = (),
        centre: Sequence[str] = (),
        more: Sequence[str] = (),
        slow: float | None = None,
        database: str | None = None,
    ) -> None:
        self._ledger, self._store = directory / "ledger.txt", directory / "monitor.db"
        self._database = database
        self._outbox = directory / "card" / "outbox.db"
        taken = [url, database or str(self._store)]
        log = directory / "collector.log"
        self.collector = Child(log, "tests.faults.collector", *taken, *([str(slow)] if slow else []), within=centre)
        self.quick_collector = Child(log, "tests.faults.collector", *taken, within=centre)
        self.feeder = Child(
            directory / "feeder.log",
            "tests.faults.feeder",
            str(self._outbox),
            url,
            str(self._ledger),
            str(rate),
            *more,
            within=field,
        )

    def accepted(self) -> dict[tuple[str, int], int]:
        """What `put` gave back, by epoch and number."""
        book = {}
        text = self._ledger.read_text() if self._ledger.exists() else ""
        for line in text[: text.rfind("\n") + 1].splitlines():  # the last one may be being written
            epoch, seq, value = line.split()
            assert (epoch, int(seq)) not in book, "a number was given twice"
            book[epoch, int(seq)] = int(value)
        return book

    def count_accepted(self) -> int:
        """How many `put` gave back so far."""
        return self._ledger.read_bytes().count(b"\n") if self._ledger.exists() else 0

    def stored(self) -> list[Stored]:
        """In the order in which they were stored."""
        rows = self._ask(
            "SELECT epoch, seq, value, backlog, t_ns, stored_ns FROM results JOIN sources ON sources.id = source"
            f" ORDER BY {'stored_ns, seq' if self._database else 'results.rowid'}"
        )
        return [Stored(epoch, seq, int(value), bool(backlog), *times) for epoch, seq, value, backlog, *times in rows]

    def count(self, *, live: bool = False) -> int:
        """How many are stored; `live` = of those that came by themselves."""
        rows = self._ask("SELECT count(*) FROM results" + (" WHERE NOT backlog" if live else ""))
        return int(rows[0][0]) if rows else 0

    def _ask(self, sql: str) -> list[Any]:
        """Rows of the store; none while it is being made."""
        if self._database is not None:
            try:
                with psycopg.connect(self._database) as connection:
                    return connection.execute(sql.encode()).fetchall()
            except psycopg.errors.UndefinedTable:
                return []
        if not self._store.exists():
            return []
        with closing(sqlite3.connect(f"file:{self._store}?mode=ro", uri=True, timeout=30.0)) as db:
            try:
                return db.execute(sql).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return []
                raise

    def given_up(self) -> int:
        """How many results the outbox says it has given up."""
        with closing(sqlite3.connect(f"file:{self._outbox}?mode=ro", uri=True, timeout=30.0)) as db:
            return read_meta(db).dropped

    def compare(self) -> tuple[int, int]:
        """After the feeder drained: nothing lost, nothing double. Returns how many were accepted, and stored."""
        accepted, stored = self.accepted(), self.stored()
        keys = {(one.epoch, one.seq): one.value for one in stored}
        assert len(keys) == len(stored), "a key is stored twice"
        assert len({one.value for one in stored}) == len(stored), "a result is stored under two keys"
        lost = [key for key, value in accepted.items() if keys.get(key) != value]
        assert len(lost) == self.given_up(), (
            f"{len(lost)} lost or changed: {lost[:10]} of {len(accepted)}, {len(stored)} stored"
        )
        by_number = sorted(stored, key=lambda one: (one.epoch, one.seq))
        pairs = [(a, b) for a, b in itertools.pairwise(by_number) if a.epoch == b.epoch]
        assert all(a.t_ns <= b.t_ns for a, b in pairs), "times lost their order"
        return len(accepted), len(stored)

    def finish(self, deadline_s: float = 60.0) -> tuple[int, int]:
        """Let the feeder drain and end, then compare."""
        self.feeder.finish(deadline_s)
        return self.compare()


def wait_for(condition: Callable[[], object], deadline_s: float = 120.0) -> None:
    """Until it is so; an error when it does not come true."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def fresh_seed() -> int:
    """A seed for one run, to be printed."""
    return random.SystemRandom().randrange(1 << 32)
