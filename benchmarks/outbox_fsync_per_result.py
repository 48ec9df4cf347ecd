"""What durability costs: fsyncs for each result, in groups of 100.

The goal is of the figure itself, 0.05, so the ratio is to that; the second line compares with one result at a time.
"""

from __future__ import annotations

from benchmarks._delivery import report
from benchmarks._outbox import GROUPED, ROUNDS, SINGLE, measure

GOAL = 0.05


def main() -> None:
    pairs = [(measure(100, GROUPED)[0], measure(1, SINGLE)[0]) for _ in range(ROUNDS)]
    grouped = [one for one, _ in pairs]
    report("outbox_fsync_per_result", grouped, [GOAL] * ROUNDS, unit="fsync/result", goal=1.0, better="lower")
    report("outbox_fsync_grouped_to_single", *zip(*pairs, strict=True), unit="fsync/result", goal=0.2, better="lower")


if __name__ == "__main__":
    main()
