"""The scheduler: one stream's models at work, side by side where that pays, and less work when there is too much."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from edge_sdk.base.clock import Clock
from edge_sdk.contract.prediction import Prediction
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import FusedResult
from edge_sdk.contract.window import Window
from edge_sdk.inference.model import Model
from edge_sdk.runtime.budget import Budget
from edge_sdk.runtime.counters import Counters
from edge_sdk.runtime.latency import Latency
from edge_sdk.runtime.overload import Overload
from edge_sdk.runtime.pipeline import Cut, Pipeline
from edge_sdk.runtime.plan import ModelPlan


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One call of a model, and its place: the cut that it belongs to, and its number within it."""

    cut: int
    place: int
    model: Model
    window: Window


class Scheduler:
    """Pushes blocks through one pipeline; its results are those of `Pipeline.push`, less what overload gave up.

    What came at once is windowed at once. Then tiny models run here, one after the other; large ones run side by side,
    each in its own thread and as far as the station's budget allows.

    Args:
        pipeline: The stream.
        clock: For how long blocks have waited.
        plans: What each of its models is given, by name; a model without a plan is tiny.
        budget: The cores that all streams of the station share; tiny models do not ask for them. None = one core.
        priority: Streams with a higher one get cores first.
        deadline_ns: A window that waited longer than this since its last sample came is given up; 0 = none is.
        overload: What happens when more windows wait than can be predicted.

    Attributes:
        pipeline: The stream.
        counters: ``windows.skipped.deadline``, ``windows.skipped.overload``, ``windows.skipped.governor``.
        every: Only every n-th window is predicted; the governor's.
        latencies: How long calls of each model took, by its name.
        last: The last window of each model, by its name.
        paused_until_ns: Until then, monotonic, nothing is predicted.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        clock: Clock,
        plans: Mapping[str, ModelPlan] | None = None,
        budget: Budget | None = None,
        priority: int = 0,
        deadline_ns: int = 0,
        overload: Overload | None = None,
    ) -> None:
        self.pipeline, self.counters, self.every = pipeline, Counters(), 1
        self.latencies = {model.name: Latency() for model in pipeline.models}
        self.last: dict[str, Window] = {}
        self.paused_until_ns = 0
        self._clock, self._plans, self._budget = clock, dict(plans or {}), budget or Budget(1)
        self._priority, self._deadline_ns, self._overload = priority, deadline_ns, overload or Overload()
        self._behind_ns, self._lock = 0, threading.Lock()
        beside = sum(plan.pooled for plan in self._plans.values()) - 1
        self._pool = ThreadPoolExecutor(beside, f"models of {pipeline.stream}") if beside > 0 else None

    def push(self, blocks: Sequence[Reading]) -> list[FusedResult]:
        """Take blocks in the order in which they came; give the results that they complete."""
        with self._lock:
            return self._push(blocks)

    def replace(self, old: Model, new: Model) -> None:
        """Let another variant of a model answer from now on, also from another thread; see `Pipeline.replace`."""
        with self._lock:
            self.pipeline.replace(old, new)

    def _push(self, blocks: Sequence[Reading]) -> list[FusedResult]:
        came_ns = self._clock.monotonic_ns()
        cuts: list[Cut] = []
        ages: list[int] = []
        for block in blocks:
            cuts.append(self.pipeline.cut(block))
            ages.append(came_ns - block.monotonic_ns if block.monotonic_ns else 0)
        jobs = [
            _Job(index, place, model, window)
            for index, cut in enumerate(cuts)
            for place, (model, window) in enumerate(cut.jobs)
        ]
        self._behind_ns = max(self._behind_ns, *ages)
        answers = self._run(self._worth(jobs, ages))
        results: list[FusedResult] = []
        for index, cut in enumerate(cuts):
            results += self.pipeline.join(cut, answers.get(index, ()))
        return results

    def flush(self) -> list[FusedResult]:
        """The sources have ended: give what still waits."""
        return self.pipeline.flush()

    def threads(self, model: str) -> int:
        """Threads for one call of a model."""
        plan = self._plans.get(model)
        return plan.threads if plan else 1

    def behind_s(self) -> float:
        """Age of the oldest block when its turn came, since the last call, seconds."""
        behind_ns, self._behind_ns = self._behind_ns, 0
        return behind_ns / 1e9

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def _worth(self, jobs: list[_Job], ages: Sequence[int]) -> list[_Job]:
        """Those that are not given up, and counts of the others."""
        if self.paused_until_ns and self._clock.monotonic_ns() < self.paused_until_ns:
            self.counters.count("windows.skipped.paused", len(jobs))
            return []
        if self.every > 1:
            kept = [job for job in jobs if _number(job) % self.every == 0]
            self.counters.count("windows.skipped.governor", len(jobs) - len(kept))
            jobs = kept
        if self._deadline_ns:
            kept = [job for job in jobs if ages[job.cut] <= self._deadline_ns]
            self.counters.count("windows.skipped.deadline", len(jobs) - len(kept))
            jobs = kept
        if self._overload.policy == "wait":
            return jobs
        wanted = self._overload.wanted([(job.model.name, job.window.end_ns) for job in jobs])
        kept = [job for job in jobs if job.window.end_ns in wanted]
        self.counters.count("windows.skipped.overload", len(jobs) - len(kept))
        return kept

    def _run(self, jobs: list[_Job]) -> dict[int, list[Prediction]]:
        """Predictions by cut, in the order of their windows."""
        by_model: dict[Model, list[_Job]] = {}
        for job in jobs:
            by_model.setdefault(job.model, []).append(job)
        large = [group for model, group in by_model.items() if self._is_pooled(model)]
        futures: list[Future[list[tuple[_Job, Prediction]]]] = []
        if self._pool is not None:
            futures = [self._pool.submit(self._predict, group) for group in large[1:]]
            large = large[:1]
        said = [pair for model, group in by_model.items() if not self._is_pooled(model) for pair in self._answer(group)]
        for group in large:
            said += self._predict(group)
        for future in futures:
            said += future.result()
        answers: dict[int, list[Prediction]] = {}
        for job, prediction in sorted(said, key=lambda pair: (pair[0].cut, pair[0].place)):
            answers.setdefault(job.cut, []).append(prediction)
        return answers

    def _predict(self, jobs: Iterable[_Job]) -> list[tuple[_Job, Prediction]]:
        """Call one large model again and again, asking for its cores each time."""
        said = []
        for job in jobs:
            with self._budget.hold(self._plans[job.model.name].threads, priority=self._priority):
                said += self._answer([job])
        return said

    def _answer(self, jobs: Iterable[_Job]) -> list[tuple[_Job, Prediction]]:
        """Call one model for each window, and keep how long that took."""
        said = []
        before_ns = self._clock.monotonic_ns()
        for job in jobs:
            said.append((job, job.model.predict(job.window)))
            self.last[job.model.name] = job.window
            after_ns = self._clock.monotonic_ns()
            self.latencies[job.model.name].took((after_ns - before_ns) / 1e9)
            before_ns = after_ns
        return said

    def _is_pooled(self, model: Model) -> bool:
        plan = self._plans.get(model.name)
        return plan is not None and plan.pooled


def _number(job: _Job) -> int:
    """Number of the window since the epoch: the same for all models of one stride, whatever came when."""
    windowing = job.model.bundle.manifest.windowing
    return round(job.window.end_ns * windowing.rate_hz / (windowing.stride * 1e9))
