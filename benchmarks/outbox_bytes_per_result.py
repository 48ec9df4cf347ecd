"""What durability costs: bytes written to the medium for each result, in groups of 100.

The goal is of the figure itself, 2000, so the ratio is to that; the second line compares with one result at a time, and
the third keeps each result for an hour after its receipt, as `keep_after_receipt_s` does unless told otherwise.
"""

from __future__ import annotations

from benchmarks._delivery import report
from benchmarks._outbox import GROUPED, ROUNDS, SINGLE, measure

GOAL = 2000.0


def main() -> None:
    pairs = [(measure(100, GROUPED)[1], measure(1, SINGLE)[1]) for _ in range(ROUNDS)]
    grouped = [one for one, _ in pairs]
    report("outbox_bytes_per_result", grouped, [GOAL] * ROUNDS, unit="bytes/result", goal=1.0, better="lower")
    kept = [measure(100, GROUPED, keep_s=3600.0)[1] for _ in range(ROUNDS)]
    report("outbox_bytes_kept_per_result", kept, [GOAL] * ROUNDS, unit="bytes/result", goal=1.0, better="lower")
    report("outbox_bytes_grouped_to_single", *zip(*pairs, strict=True), unit="bytes/result", goal=0.2, better="lower")


if __name__ == "__main__":
    main()
