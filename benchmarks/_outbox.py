"""What the benchmarks of the outbox share: what durability costs, in fsyncs and in bytes written to the medium.

Each group is receipted before the next, as with a monitor that keeps up. ``python -m benchmarks._outbox DIRECTORY
GROUP COUNT KEEP_S`` is the child that is measured.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks._delivery import typical_result
from edge_sdk.base.clock import SystemClock
from edge_sdk.contract.receipt import Receipt
from edge_sdk.contract.result import FusedResult
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox

GROUPED = 10_000
SINGLE = 1_000
ROUNDS = 5


def measure(group: int, count: int, *, keep_s: float = 0.0) -> tuple[float, float]:
    """Fsyncs, counted by the kernel's tracer, and bytes written to the medium, for each result."""
    if shutil.which("strace") is None:
        raise SystemExit("strace is not installed: apt-get install strace")
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory) / "trace"
        command = [sys.executable, "-m", "benchmarks._outbox", directory, str(group), str(count), str(keep_s)]
        strace = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
        answer = subprocess.run([*strace, *command], capture_output=True, text=True, check=True)
        calls = sum(
            int(match.group(1))
            for match in re.finditer(
                r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?f(?:data)?sync$", trace.read_text(), re.M
            )
        )
        return calls / count, json.loads(answer.stdout)["bytes"] / count


def _feed(directory: str, group: int, count: int, keep_s: float) -> None:
    results = [_varied(n) for n in range(group)]
    quota = Quota(keep_after_receipt_s=keep_s)
    outbox = SqliteOutbox.open(Path(directory) / "outbox.db", clock=SystemClock(), quota=quota)
    before = _written_bytes()
    for _ in range(count // group):
        rows = outbox.put(results)
        outbox.acknowledge(Receipt(v=1, epoch=outbox.epoch, stored=((1, rows[-1].seq),)))
    print(json.dumps({"bytes": _written_bytes() - before}))
    outbox.close()


def _varied(number: int) -> FusedResult:
    """A typical result with digests and numbers of its own, as real ones have; all alike would flatter us."""
    rng, typical = random.Random(number), typical_result(number)
    contributors = tuple(
        msgspec.structs.replace(
            one,
            bundle=f"sha256:{hashlib.sha256(one.model.encode()).hexdigest()}",
            age_ms=rng.randrange(300),
            weight=round(rng.random(), 4),
            confidence=round(rng.random(), 4),
        )
        for one in typical.contributors
    )
    probabilities = {label: round(rng.random(), 4) for label in typical.probabilities or {}}
    return msgspec.structs.replace(typical, contributors=contributors, probabilities=probabilities)


def _written_bytes() -> int:
    """What this process gave to the medium: whole pages of the filesystem."""
    text = Path("/proc/self/io").read_text()
    return int(text.partition("write_bytes: ")[2].split()[0])


if __name__ == "__main__":
    _feed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
