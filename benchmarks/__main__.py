"""Run every benchmark (or the one named) as its own process and write ``benchmarks/results.json``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
NOT_BENCHMARKS = {"__init__", "__main__"}


def main(only: list[str]) -> int:
    names = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_BENCHMARKS and path.stem[0] != "_")
    if unknown := set(only) - set(names):
        print(f"error: no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    rows = {row["name"]: row for row in (json.loads(RESULTS.read_text()) if RESULTS.exists() else [])}
    failed = 0
    for name in only or names:
        print(f"{name} …", file=sys.stderr, flush=True)
        answer = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True)
        if answer.returncode:
            failed += 1
            continue
        for line in filter(str.strip, answer.stdout.splitlines()):
            row = json.loads(line)
            rows[row["name"]] = row
            reached = row["ratio"] <= row["goal"] if row["better"] == "lower" else row["ratio"] >= row["goal"]
            verdict = "reached" if reached else "NOT reached"
            print(
                f"{row['name']:32} ours {row['ours']:.4g} {row['unit']}, baseline {row['baseline']:.4g}, "
                f"ratio {row['ratio']:.3f}, goal {row['goal']} ({row['better']}): {verdict}",
                flush=True,
            )
        RESULTS.write_text(json.dumps([rows[name] for name in sorted(rows)], indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
