"""Power cuts: images of the outbox that hold what was fsynced, and any part of what was not.

A child puts groups of results while strace records every write, fsync, truncation and rename, with their bytes.
An image is what a disk may hold after a cut at some moment: everything written before the last fsync of each file,
and of the later writes any subset of 512-byte sectors. What `put` had accepted by then must be in it.
Creating and renaming files count as durable at once; the order of sectors within a write is not kept.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_sdk.base.clock import ManualClock
from edge_sdk.contract.receipt import Receipt
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.outbox.test_outbox import result

SECTOR = 512
_CALL = re.compile(r'^(\w+)\((?:(\d+)<([^>]*)>|"([^"]*)"|AT_FDCWD)?(.*)\)\s+= (-?\d+)')


def feed(path: str, synchronous: str) -> None:
    """The child: puts groups, says on standard output what was accepted, receipts some."""
    outbox = SqliteOutbox.open(path, clock=ManualClock(), synchronous=synchronous)  # type: ignore[arg-type]
    for turn in range(60):
        rows = outbox.put([result(turn, padding=300) for _ in range(1 + turn % 9)])
        sys.stdout.write(f"{rows[-1].seq}\n")
        sys.stdout.flush()
        if turn == 20:
            outbox.acknowledge(Receipt(v=1, epoch=outbox.epoch, stored=((1, 20),)))


@dataclass
class Disk:
    """Files as they are in memory, and as they are on the medium."""

    durable: dict[str, bytearray] = field(default_factory=dict)
    pending: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)

    def write(self, name: str, offset: int, data: bytes) -> None:
        self.durable.setdefault(name, bytearray())
        self.pending.setdefault(name, []).append((offset, data))

    def sync(self, name: str) -> None:
        for offset, data in self.pending.pop(name, []):
            _apply(self.durable[name], offset, data)

    def truncate(self, name: str, size: int) -> None:
        self.sync(name)
        self.durable[name] = self.durable.get(name, bytearray())[:size].ljust(size, b"\0")

    def rename(self, old: str, new: str) -> None:
        self.durable[new] = self.durable.pop(old, bytearray())
        self.pending[new] = self.pending.pop(old, [])

    def image(self, directory: Path, rng: random.Random) -> None:
        """Write what a cut may leave."""
        directory.mkdir(parents=True)
        kept = rng.choice((0.0, 0.5, 1.0))
        for name, durable in self.durable.items():
            data = bytearray(durable)
            for offset, written in self.pending.get(name, []):
                for start in range(0, len(written), SECTOR):
                    if rng.random() < kept:
                        _apply(data, offset + start, written[start : start + SECTOR])
            (directory / name).write_bytes(data)


def _apply(data: bytearray, offset: int, written: bytes) -> None:
    if len(data) < offset + len(written):
        data.extend(bytes(offset + len(written) - len(data)))
    data[offset : offset + len(written)] = written


def record(directory: Path, synchronous: str = "FULL") -> list[tuple[str, ...]]:
    """Run the child under strace; its calls, in order, as ``(verb, file, …)``."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    path, trace = directory / "recorded" / "outbox.db", directory / "trace"
    path.parent.mkdir(parents=True)
    script = f"from tests.faults.test_power_cut import feed; feed({str(path)!r}, {synchronous!r})"
    calls = "trace=pwrite64,write,fsync,fdatasync,ftruncate,rename,unlink"
    ended = subprocess.run(
        ["strace", "-y", "-xx", "-s", "200000", "-e", calls, "-o", str(trace), sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in ended.stderr:
        pytest.skip(f"strace may not trace here: {ended.stderr.strip()[:200]}")
    assert ended.returncode == 0, ended.stderr
    return [call for line in trace.read_text().splitlines() if (call := _parse(line)) is not None]


def _parse(line: str) -> tuple[str, ...] | None:
    match = _CALL.match(line)
    if match is None or int(match.group(6)) < 0:
        return None
    verb, descriptor, raw_path, quoted, rest, _ = match.groups()
    path = _text(raw_path or quoted or "")
    name = Path(path).name
    if verb == "write" and descriptor == "1":
        return ("accepted", _text(rest.split('"')[1]).strip())
    if not name.startswith("outbox.db") or name.endswith(("-shm", ".lock", ".ballast")):
        return None
    if verb in {"pwrite64", "write"}:
        payload = rest.split('"')[1]
        offset = rest.rsplit(",", 1)[1].strip() if verb == "pwrite64" else "0"
        return ("write", name, offset, payload)
    if verb in {"fsync", "fdatasync"}:
        return ("sync", name)
    if verb == "ftruncate":
        return ("truncate", name, rest.strip(", "))
    if verb == "unlink":
        return ("unlink", name)
    if verb == "rename":
        return ("rename", name, Path(_text(rest.split('"')[1])).name)
    return None


def _text(escaped: str) -> str:
    return bytes.fromhex(escaped.replace("\\x", "")).decode() if "\\x" in escaped else escaped


def losses(directory: Path, calls: list[tuple[str, ...]], cuts: int, seed: int) -> int:
    """Cut the power `cuts` times at random calls; how many images miss an accepted row, or do not start soon."""
    rng = random.Random(seed)
    begins = next(index for index, call in enumerate(calls) if call[0] == "accepted")
    moments = sorted(rng.randrange(begins, len(calls)) for _ in range(cuts))
    disk, accepted, bad = Disk(), 0, 0
    for index, call in enumerate(calls):
        if call[0] == "accepted":
            accepted = int(call[1])
        elif call[0] == "write":
            disk.write(call[1], int(call[2]), bytes.fromhex(call[3].replace("\\x", "")))
        elif call[0] == "sync":
            disk.sync(call[1])
        elif call[0] == "truncate":
            disk.truncate(call[1], int(call[2]))
        elif call[0] == "unlink":
            disk.durable.pop(call[1], None)
            disk.pending.pop(call[1], None)
        else:
            disk.rename(call[1], call[2])
        for turn in range(moments.count(index)):
            place = directory / f"{index}-{turn}"
            disk.image(place, rng)
            begun = time.monotonic()
            with closing(SqliteOutbox.open(place / "outbox.db", clock=ManualClock())) as outbox:
                seqs = {row.seq for row in outbox.read(after=0, limit=10_000)}
                # Number 1 to 20 were receipted after number 100 or so, and may be gone from then on.
                bad += not set(range(21, accepted + 1)) <= seqs or outbox.put([result(1)])[0].seq <= accepted
            bad += time.monotonic() - begun > 5.0
            shutil.rmtree(place)
    return bad


def test_no_accepted_result_is_lost_when_the_power_is_cut(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)

    assert losses(tmp_path, record(tmp_path), 20, seed) == 0, f"seed {seed}"


def test_without_full_sync_the_same_cuts_do_lose_results(tmp_path: Path) -> None:
    """Shows that the images are cruel enough, and why `synchronous="NORMAL"` is an explicit choice."""
    assert losses(tmp_path, record(tmp_path, "NORMAL"), 20, seed=1) > 0


@pytest.mark.slow
def test_the_long_form_of_power_cuts(tmp_path: Path) -> None:
    calls = record(tmp_path)

    for seed in range(4):
        assert losses(tmp_path, calls, 200, seed) == 0, f"seed {seed}"
