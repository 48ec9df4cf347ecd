"""Encoding a result, putting its envelope on, and decoding it: against the standard library's json."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import msgspec

from benchmarks._delivery import EPOCH, report, typical_result
from edge_sdk.contract.envelope import OutboxRow, decode_result, encode_body, encode_result

TIMES = 5000
ROUNDS = 7


def us(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    for _ in range(TIMES):
        work()
    return (time.perf_counter() - begun) / TIMES * 1e6


def main() -> None:
    result = typical_result()
    builtins = msgspec.to_builtins(result)
    envelope = {"v": 1, "station": "station", "epoch": EPOCH, "seq": 1, "backlog": False}

    def ours() -> object:
        row = OutboxRow(1, "occupancy", encode_body(result), 0)
        return decode_result(encode_result(row, station="station", epoch=EPOCH))

    def standard() -> object:
        return json.loads(json.dumps({**envelope, **builtins}, separators=(",", ":")))

    pairs = [(us(ours), us(standard)) for _ in range(ROUNDS)]
    report("encode_decode", *zip(*pairs, strict=True), unit="us", goal=0.25, better="lower")


if __name__ == "__main__":
    main()
