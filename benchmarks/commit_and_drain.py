"""Commits in groups of 1000 and the drain in packs together, though a backlog is made over hours; against bare paho."""

from __future__ import annotations

from benchmarks._delivery import report
from benchmarks._drain import RESULTS, rounds


def main() -> None:
    rates = [(RESULTS / (one.commit_s + one.drain_s), RESULTS / one.bare_s) for one in rounds()]
    report("commit_and_drain", *zip(*rates, strict=True), unit="results/s", goal=1.0, better="higher")


if __name__ == "__main__":
    main()
