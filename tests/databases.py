"""PostgreSQL for tests: a real server of Debian's packages, on a private socket, in a directory that goes away."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # a test's data need not outlive the machine
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "autovacuum": "off",
    "timezone": "UTC",
    "deadlock_timeout": "200ms",
}

_DEADLINE_S = 120.0


@dataclass
class RunningPostgres:
    """A server that is up, and can be killed and started again.

    Attributes:
        directory: Where its socket and its data are.
    """

    directory: Path
    _bin: Path
    _as_user: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def make(self) -> None:
        """Make its data directory."""
        words = ("-D", "data", "-U", "postgres", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8")
        command = [*self._as_user, str(self._bin / "initdb"), *words]
        done = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers; after a kill it replays its log first."""
        options = [word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [*self._as_user, str(self._bin / "postgres"), "-D", "data", "-k", str(self.directory), *options]
        log = self.directory / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, cwd=self.directory, stdout=output, stderr=output)
        deadline = time.monotonic() + _DEADLINE_S
        while True:
            with suppress(psycopg.OperationalError), psycopg.connect(self.url("postgres")):
                return
            assert self._process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it without more ado."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_DEADLINE_S)

    def kill(self) -> None:
        """End every process of it with -9."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # it starts no more of them
        others = _children(self._process.pid)
        for pid in (self._process.pid, *others):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(_DEADLINE_S)
        deadline = time.monotonic() + _DEADLINE_S
        while any(map(_is_alive, others)):
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self.directory), safe='')}"

    def new_database(self, template: str = "template0") -> str:
        """Make a database; gives its URL."""
        name = f"made_{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return self.url(name)


def binaries() -> Path | None:
    """Where Debian put the server, the newest first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


@contextmanager
def postgres() -> Iterator[RunningPostgres]:
    """A PostgreSQL of its own, run as a user who is not root."""
    bin_ = binaries()
    if bin_ is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    directory = Path(tempfile.mkdtemp(prefix="edge-pg-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(directory, user.pw_uid, user.pw_gid)
        as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    server = RunningPostgres(directory, bin_, as_user)
    try:
        server.make()
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
