"""PostgreSQL for tests: a real server of Debian's packages, on a private socket, in a directory that goes away."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


@dataclass
class RunningPostgres:
    """A server that is up.

    Attributes:
        directory: Where its socket is.
    """

    directory: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

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
    data = directory / "data"

    def run(*command: object) -> None:
        done = subprocess.run([*as_user, *map(str, command)], cwd=directory, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr

    options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
    try:
        run(bin_ / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8")
        log = directory / "log"
        run(bin_ / "pg_ctl", "-D", data, "-l", log, "-w", "-o", f"{options} -k {directory}", "start")
        try:
            yield RunningPostgres(directory)
        finally:
            run(bin_ / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
