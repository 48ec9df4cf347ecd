"""Standby: a model on a delegate, with the CPU beside it; no window is lost when the delegate fails."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.backoff import Backoff
from edge_sdk.base.errors import BackendError, BackendUnavailableError, EdgeError, InferenceError, UnavailableReason
from edge_sdk.contract.manifest import Coverage, Variant
from edge_sdk.inference.base import Backend
from edge_sdk.inference.jobs import Open, Opened
from edge_sdk.inference.worker import DelegateBusyError, Worker, worker_for

log = logging.getLogger(__name__)


class DelegateState(str, Enum):
    """What the delegate is doing."""

    WORKING = "working"
    LOST = "lost"
    OPENING = "opening"


class Standby:
    """A model on a delegate in a process of its own, and the same model on the CPU in this one.

    A call that fails, hangs longer than the delegate's `timeout_s`, or answers NaN where the CPU does not, ends the
    delegate's process; the CPU answers that window and those after it. The delegate is opened anew after a back-off,
    beside the windows, and used again once it gives the recorded answers.

    Attributes:
        runtime: The runtime of both.
        version: Its version.
        state: What the delegate is doing.
        fallback: Why the CPU answers at the moment; empty while the delegate does.
        last_loss: Why the delegate was lost the last time; empty when it never was.
        counters: ``delegate.lost``, ``delegate.tries``, ``delegate.returned``, ``delegate.windows_on_cpu``.
    """

    def __init__(
        self,
        job: Open,
        judge: Callable[[Sequence[NDArray[np.float32]]], object],
        spare: Backend | None,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        """Open the delegate and wait for it.

        Args:
            job: What the delegate's process is to open.
            judge: Raises WrongAnswerError where these are not the recorded answers.
            spare: The model on the CPU; None = there is none, and a lost delegate's windows fail.
            backoff: Waiting between tries.

        Raises:
            BackendUnavailableError: The delegate is not here, refuses the model, crashes, or takes too long.
            WrongAnswerError: It answers, and not what was recorded.
        """
        self.runtime = job.runtime
        self.state, self.fallback, self.last_loss = DelegateState.LOST, "", ""
        self.counters: Counter[str] = Counter()
        self._job, self._judge, self._spare = job, judge, spare
        self._backoff = backoff or Backoff(base_s=1.0, cap_s=300.0, stable_s=60.0)
        self._title = ", ".join(delegate.title for delegate in job.request.delegates)
        self._timeout_s = max(delegate.timeout_s for delegate in job.request.delegates)
        self._open_timeout_s = max(delegate.opens_within_s for delegate in job.request.delegates)
        self._worker: Worker = worker_for(job)
        self._ticket, self._opened, self._since = 0, None, 0.0  # type: tuple[int, Opened | None, float]
        self._next_try = 0.0
        self._open_now()

    @property
    def version(self) -> str:
        """Version of the runtime."""
        return self._opened.version if self._opened else ""

    @property
    def variant(self) -> Variant:
        """What runs at the moment."""
        return self._job.variant if self._spare is None or self._is_working else self._spare.variant

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """What runs where at the moment."""
        if self._is_working and self._opened:
            return self._opened.coverage
        return self._spare.coverage if self._spare else ()

    @property
    def host(self) -> int:
        """Id of the delegate's process."""
        return self._worker.id

    def run(self, inputs: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Run once, on the delegate or on the CPU.

        Raises:
            TensorMismatchError: An input has another shape.
            InferenceError: Both failed.
        """
        if not self._is_working:
            self._try_again()
        doubtful: list[NDArray[np.float32]] | None = None
        if self._opened is not None and self._is_working:
            try:
                outputs = self._worker.run(self._opened.handle, self._job.variant, inputs, timeout_s=self._timeout_s)
            except DelegateBusyError:
                pass  # another model is being opened on it: this window is the CPU's
            except InferenceError as error:
                self._lose(str(error))
            else:
                if all(np.isfinite(output).all() for output in outputs):
                    return outputs
                doubtful = outputs
        if self._spare is None:
            if doubtful is not None:
                return doubtful
            raise InferenceError(f"{self.fallback or self._title}; the CPU has no variant of this model.")
        self.counters["delegate.windows_on_cpu"] += 1
        outputs = self._spare.run(inputs)
        if doubtful is not None and all(np.isfinite(output).all() for output in outputs):
            self._lose("answered NaN or infinity where the CPU does not.")
        return outputs

    def close(self) -> None:
        """Let go of both."""
        if self._opened is not None and self._is_working:
            self._worker.close(self._opened.handle)
        elif self.state is DelegateState.OPENING:
            self._worker.kill()
        self.state = DelegateState.LOST
        self._next_try = float("inf")
        if self._spare is not None:
            self._spare.close()

    @property
    def _is_working(self) -> bool:
        return self.state is DelegateState.WORKING

    def _open_now(self) -> None:
        """Open and wait: at start there are no windows yet."""
        try:
            ticket = self._worker.begin(self._job, timeout_s=self._open_timeout_s, wait_s=self._open_timeout_s)
            while (opened := self._worker.opened(ticket, wait_s=1.0)) is None:
                pass
            self._accept(opened)
        except BackendError:
            if not self._worker.holds_models:
                self._worker.kill()
            raise

    def _accept(self, opened: Opened) -> None:
        """Use what was opened if it answers as recorded, and quickly enough."""
        try:
            shape = self._job.variant.outputs[0].shape
            self._judge([np.frombuffer(raw, np.float32).reshape(shape) for raw in opened.answers])
            if opened.slowest_s > self._timeout_s:
                raise BackendUnavailableError(
                    f"Delegate {self._title!r} for {self._job.variant.file}",
                    reason=UnavailableReason.NO_ANSWER,
                    cure=f"A call takes {opened.slowest_s:.2g} s and its timeout_s is {self._timeout_s:g}. Raise it.",
                )
        except BackendError:
            self._worker.close(opened.handle, grace_s=0.0)
            raise
        self._opened, self._since = opened, time.monotonic()
        self.state, self.fallback = DelegateState.WORKING, ""

    def _lose(self, why: str) -> None:
        self._worker.kill()
        self._backoff.worked_for(time.monotonic() - self._since)
        self.counters["delegate.lost"] += 1
        self.last_loss = why
        log.warning("delegate is lost", extra={"delegate": self._title, "model": self._job.variant.file, "why": why})
        self._wait(why)

    def _wait(self, why: str) -> None:
        self.state, self.fallback = DelegateState.LOST, f"{self._title}: {why}"
        self._next_try = time.monotonic() + self._backoff.next_delay_s()

    def _try_again(self) -> None:
        """One step towards having it back; never waits."""
        try:
            if self.state is DelegateState.LOST and time.monotonic() >= self._next_try:
                self._worker = worker_for(self._job)
                self._ticket = self._worker.begin(self._job, timeout_s=self._open_timeout_s)
                self.state = DelegateState.OPENING
                self.counters["delegate.tries"] += 1
            if self.state is DelegateState.OPENING:
                opened = self._worker.opened(self._ticket)
                if opened is not None:
                    self._accept(opened)
                    self.counters["delegate.returned"] += 1
                    log.warning("delegate is back", extra={"delegate": self._title, "model": self._job.variant.file})
        except DelegateBusyError:
            return
        except EdgeError as error:
            self._wait(str(error))
