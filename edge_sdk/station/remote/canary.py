"""The canary: a new model works beside the old one on the same readings, and nobody hears it but us."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from edge_sdk.base.clock import Clock, from_datetime
from edge_sdk.contract.envelope import OutboxRow
from edge_sdk.contract.prediction import ContributorState
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import FusedResult
from edge_sdk.inference.model import Model
from edge_sdk.runtime.pipeline import Pipeline
from edge_sdk.runtime.scheduler import Scheduler

_WAITING = 256
_REMEMBERED = 10_000


class Canary:
    """Feeds a model with what its sensor measures, and compares it with the one that is in use.

    Args:
        model: The new one.
        sensor: Name of the sensor that it reads.
        clock: For how long its calls take.
    """

    def __init__(self, model: Model, sensor: str, *, clock: Clock) -> None:
        self._name = model.name
        pipeline = Pipeline([model], stream="canary", sensors={model.name: sensor})
        self._sensor, self._scheduler = sensor, Scheduler(pipeline, clock=clock)
        self._waiting: deque[Reading] = deque()
        self._stir = anyio.Event()
        self._mine: dict[int, FusedResult] = {}
        self._theirs: dict[int, FusedResult] = {}
        self._missed = 0

    def hear(self, reading: Reading) -> None:
        """A sensor measured something. To be called on the event loop."""
        if reading.sensor != self._sensor:
            return
        if len(self._waiting) >= _WAITING:
            self._missed += 1
            return
        self._waiting.append(reading)
        self._stir.set()

    def compare(self, rows: Sequence[OutboxRow]) -> None:
        """Results of the station were committed."""
        for row in rows:
            result = msgspec.json.decode(row.body, type=FusedResult)
            if len(self._theirs) < _REMEMBERED:
                self._theirs[from_datetime(result.t)] = result

    async def run(self, seconds: float) -> None:
        """Let it work for so long."""
        with anyio.move_on_after(seconds):
            while True:
                self._stir = anyio.Event()
                while self._waiting:
                    blocks = [self._waiting.popleft()]
                    for result in await anyio.to_thread.run_sync(self._scheduler.push, blocks):
                        if len(self._mine) < _REMEMBERED:
                            self._mine[from_datetime(result.t)] = result
                await self._stir.wait()

    def report(self) -> dict[str, Any]:
        """What it did: windows, failures, agreement with the model in use, latency."""
        latency = self._scheduler.latencies[self._name]
        states = [result.contributors[0].state for result in self._mine.values()]
        pairs = [
            (mine, theirs)
            for t, result in self._mine.items()
            if (mine := _said(result, self._name)) is not None
            and (theirs := _said(self._theirs.get(t), self._name)) is not None
        ]
        return {
            "windows": len(states),
            "failed": sum(state is ContributorState.FAILED for state in states),
            "rejected": sum(state is ContributorState.REJECTED for state in states),
            "compared": len(pairs),
            "agreed": sum(mine == theirs for mine, theirs in pairs),
            "blocks_missed": self._missed,
            "p50_ms": round((latency.quantile_s(0.5) or 0.0) * 1e3, 3),
            "p99_ms": round((latency.quantile_s(0.99) or 0.0) * 1e3, 3),
        }

    def ills(self, *, least_agreement: float) -> list[str]:
        """Why it must not take over."""
        report = self.report()
        windowing = self._scheduler.pipeline.models[0].bundle.manifest.windowing
        ills = []
        if report["failed"]:
            ills.append(f"it failed on {report['failed']} of {report['windows']} windows")
        if self._theirs and not report["windows"]:
            ills.append("it made no prediction while the one in use did")
        if report["compared"] and report["agreed"] < least_agreement * report["compared"]:
            ills.append(f"it agreed with the one in use on {report['agreed']} of {report['compared']} windows")
        if report["p50_ms"] / 1e3 > windowing.stride / windowing.rate_hz:
            ills.append(f"it takes {report['p50_ms']} ms a window, longer than windows are apart")
        if report["blocks_missed"]:
            ills.append(f"it was too slow for {report['blocks_missed']} blocks")
        return ills

    def close(self) -> None:
        """Let go of the model."""
        self._scheduler.close()
        self._scheduler.pipeline.close()


def _said(result: FusedResult | None, model: str) -> object:
    """The label that a model gave within a result; None where it gave none."""
    for contributor in result.contributors if result is not None else ():
        if contributor.model == model and isinstance(contributor.label, str):
            return contributor.label
    return None
