"""What durability costs: fsyncs and bytes written to the medium per result, in groups of 100, receipts included.

The baseline is the same outbox fed one result at a time. Fsyncs are counted by the kernel's tracer (strace), bytes
are the process's `write_bytes` of /proc/self/io, which counts whole pages of the filesystem.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks._delivery import report, typical_result
from edge_sdk.base.clock import SystemClock
from edge_sdk.contract.receipt import Receipt
from edge_sdk.outbox.sqlite import SqliteOutbox

GROUPED = 10_000
SINGLE = 1_000
ROUNDS = 5


def written_bytes() -> int:
    text = Path("/proc/self/io").read_text()
    return int(text.partition("write_bytes: ")[2].split()[0])


def feed(directory: str, group: int, count: int) -> None:
    """Put `count` results; each group is receipted before the next, as with a monitor that keeps up."""
    results = [typical_result(n) for n in range(group)]
    outbox = SqliteOutbox.open(Path(directory) / "outbox.db", clock=SystemClock())
    before = written_bytes()
    for _ in range(count // group):
        rows = outbox.put(results)
        outbox.acknowledge(Receipt(v=1, epoch=outbox.epoch, stored=((1, rows[-1].seq),)))
    print(json.dumps({"bytes": written_bytes() - before}))
    outbox.close()


def measure(group: int, count: int) -> tuple[float, float]:
    """Fsyncs and bytes per result."""
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory) / "trace"
        command = [sys.executable, "-m", "benchmarks.outbox_fsync_per_result", directory, str(group), str(count)]
        strace = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
        answer = subprocess.run([*strace, *command], capture_output=True, text=True, check=True)
        calls = sum(
            int(match.group(1))
            for match in re.finditer(
                r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?f(?:data)?sync$", trace.read_text(), re.M
            )
        )
        return calls / count, json.loads(answer.stdout)["bytes"] / count


def main() -> None:
    if shutil.which("strace") is None:
        raise SystemExit("strace is not installed: apt-get install strace")
    syncs: list[tuple[float, float]] = []
    sizes: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        grouped, single = measure(100, GROUPED), measure(1, SINGLE)
        syncs.append((grouped[0], single[0]))
        sizes.append((grouped[1], single[1]))
    # The goals are of the figures themselves, so the ratio is to them: 0.05 fsyncs and 2,000 bytes per result.
    report(
        "outbox_fsync_per_result", [a for a, _ in syncs], [0.05] * ROUNDS, unit="fsync/result", goal=1.0, better="lower"
    )
    report(
        "outbox_bytes_per_result",
        [a for a, _ in sizes],
        [2000.0] * ROUNDS,
        unit="bytes/result",
        goal=1.0,
        better="lower",
    )
    for name, pairs, unit in (("fsync", syncs, "fsync/result"), ("bytes", sizes, "bytes/result")):
        report(f"outbox_{name}_grouped_to_single", *zip(*pairs, strict=True), unit=unit, goal=0.2, better="lower")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        feed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
