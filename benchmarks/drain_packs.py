"""A backlog drains in packs, each result committed with FULL before; results a second, against bare paho.

What is measured is the drain, from opening the connection to an empty outbox; `commit_and_drain` has the commits, too.
"""

from __future__ import annotations

from benchmarks._delivery import report
from benchmarks._drain import RESULTS, rounds


def main() -> None:
    rates = [(RESULTS / one.drain_s, RESULTS / one.bare_s) for one in rounds()]
    report("drain_packs", *zip(*rates, strict=True), unit="results/s", goal=5.0, better="higher")


if __name__ == "__main__":
    main()
