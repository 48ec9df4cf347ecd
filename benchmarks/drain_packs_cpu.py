"""A backlog drains in packs: CPU for each result, against bare paho that publishes as many one by one."""

from __future__ import annotations

from benchmarks._delivery import report
from benchmarks._drain import RESULTS, rounds


def main() -> None:
    costs = [(one.drain_cpu_s / RESULTS * 1e6, one.bare_cpu_s / RESULTS * 1e6) for one in rounds()]
    report("drain_packs_cpu", *zip(*costs, strict=True), unit="us/result", goal=0.25, better="lower")


if __name__ == "__main__":
    main()
