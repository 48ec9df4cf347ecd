"""Workers: a process of its own for each delegate, with every model that runs on it; killed when it hangs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import BackendUnavailableError, InferenceError, UnavailableReason
from edge_sdk.contract.manifest import Variant
from edge_sdk.inference.jobs import Answer, Close, Failed, Message, Open, Opened, Run, Wire

_COMMAND = "from edge_sdk.inference.host import main; main()"
_KILLED_WITHIN_S = 0.2
_UNDEAD_LIMIT = 3


class DelegateBusyError(InferenceError):
    """The delegate's process is opening another model; the next window may find it free."""


class Worker:
    """One process. It ends with the first call that fails or hangs, and is never used again.

    Attributes:
        title: The delegate's name, for messages.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._lock = threading.RLock()
        self._opening: tuple[int, float] | None = None  # whose turn, and until when
        self._turn = 0
        self._opened: dict[int, Opened | Exception] = {}
        self._models: set[int] = set()
        _bury(title)
        here, there = socket.socketpair()
        life, self._life = os.pipe()
        environment = {**os.environ, "PYTHONSAFEPATH": "1"}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND, str(there.fileno()), str(life)],
                pass_fds=(there.fileno(), life),
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        finally:
            there.close()
            os.close(life)
        self._wire = Wire(here)
        self._is_alive = True

    @property
    def is_alive(self) -> bool:
        """Whether it can still be used."""
        return self._is_alive

    @property
    def id(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def holds_models(self) -> bool:
        """Whether a model is open in it."""
        return bool(self._models)

    def begin(self, job: Open, *, timeout_s: float, wait_s: float = 0.0) -> int:
        """Ask it to open a model; returns with the ticket to `opened`.

        Args:
            job: What to open.
            timeout_s: How long that may take.
            wait_s: How long to wait for the opening of another model.

        Raises:
            DelegateBusyError: It is opening another.
            BackendUnavailableError: It is gone.
        """
        with self._lock:
            self._pump(wait_s)
            if self._opening is not None:
                raise DelegateBusyError(f"{self.title} is opening another model.")
            try:
                self._wire.send(job, timeout_s=timeout_s, as_file=True)
            except OSError as error:
                raise self._gone(f"its process ended: {error}", UnavailableReason.CRASHED) from error
            self._turn += 1
            self._opening = (self._turn, time.monotonic() + timeout_s)
            return self._turn

    def opened(self, ticket: int, *, wait_s: float = 0.0) -> Opened | None:
        """What became of `begin`; None while it is still at it.

        Raises:
            BackendError: It cannot be opened, or the process crashed or hung over it.
        """
        with self._lock:
            if ticket not in self._opened:
                self._pump(wait_s)
            answer = self._opened.pop(ticket, None)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                self._models.add(answer.handle)
            return answer

    def run(
        self, handle: int, variant: Variant, inputs: Sequence[NDArray[np.float32]], *, timeout_s: float
    ) -> list[NDArray[np.float32]]:
        """Run a model once.

        Raises:
            DelegateBusyError: It is opening another model.
            InferenceError: It failed, crashed, or did not answer in time; then the process is no more.
        """
        with self._lock:
            self._pump(0.0)
            if self._opening is not None:
                raise DelegateBusyError(f"{self.title} is opening another model.")
            if not self._is_alive:
                raise InferenceError("Its process ended.")
            job = Run(handle=handle, inputs=tuple(np.ascontiguousarray(given).tobytes() for given in inputs))
            deadline = time.monotonic() + timeout_s
            try:
                self._wire.send(job, timeout_s=timeout_s)
                answer = self._wire.receive(deadline - time.monotonic())
            except (OSError, EOFError) as error:
                self.kill()
                raise InferenceError(f"Its process ended ({self._process.returncode}).") from error
            if answer is None:
                self.kill()
                raise InferenceError(f"It did not answer within {timeout_s:g} s; its process was killed.")
            if isinstance(answer, Failed):
                self.kill()
                raise InferenceError(str(answer.error()))
            assert isinstance(answer, Answer)
            return [
                np.frombuffer(raw, np.float32).reshape(spec.shape)
                for raw, spec in zip(answer.outputs, variant.outputs, strict=True)
            ]

    def close(self, handle: int, *, grace_s: float = 2.0) -> None:
        """Let go of a model; the process ends with its last one, and has `grace_s` to put the device down."""
        with self._lock:
            self._models.discard(handle)
            if not self._is_alive or self._opening is not None:
                return
            with contextlib.suppress(OSError):  # it died a moment ago: nothing to let go of
                self._wire.send(Close(handle=handle), timeout_s=1.0)
            if not self._models:
                self._wire.close()  # the host ends when we hang up
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(grace_s)
                self.kill()

    def kill(self) -> None:
        """End the process; a driver that cannot be interrupted may keep it, and that is counted."""
        with self._lock:
            if not self._is_alive:
                return
            self._is_alive = False
            if self._opening is not None:
                self._opened[self._opening[0]] = self._gone("its process was ended", UnavailableReason.CRASHED)
                self._opening = None
            self._wire.close()
            os.close(self._life)
            self._process.kill()
            try:
                self._process.wait(_KILLED_WITHIN_S)
            except subprocess.TimeoutExpired:
                _undead.append(self._process)

    def _pump(self, wait_s: float) -> None:
        """Take in the answer to an `Open` that is under way, whoever asked for it."""
        if self._opening is None:
            return
        ticket, deadline = self._opening
        try:
            answer = self._wire.receive(min(wait_s, max(0.0, deadline - time.monotonic())))
        except EOFError:
            self._opening = None
            self.kill()
            ended = f"its process ended ({self._process.returncode})"
            self._opened[ticket] = self._gone(ended, UnavailableReason.CRASHED)
            return
        if answer is None and time.monotonic() < deadline:
            return
        self._opening = None
        self._opened[ticket] = self._verdict(answer)

    def _verdict(self, answer: Message | None) -> Opened | Exception:
        if isinstance(answer, Opened):
            return answer
        if isinstance(answer, Failed):
            if not self._models:
                self.kill()
            return answer.error()
        return self._gone("it did not open the model in time", UnavailableReason.NO_ANSWER)

    def _gone(self, why: str, reason: UnavailableReason) -> BackendUnavailableError:
        self.kill()
        cure = f"{why[:1].upper()}{why[1:]}. Look into the log for what its driver said, or write `fallback: cpu`."
        return BackendUnavailableError(f"Delegate {self.title!r}", reason=reason, cure=cure)


_undead: list[subprocess.Popen[bytes]] = []
_workers: dict[bytes, Worker] = {}
_workers_lock = threading.Lock()


def worker_for(job: Open) -> Worker:
    """The process of the delegates that `job` wants: the one that runs, or a new one.

    All models on the same delegate with the same options share a process: an Edge TPU, for one, belongs to one process.

    Raises:
        BackendUnavailableError: Too many of its processes cannot be killed.
    """
    key = msgspec.msgpack.encode(
        [job.runtime, [(one.name, one.library, one.options) for one in job.request.delegates]], order="sorted"
    )
    with _workers_lock:
        worker = _workers.get(key)
        if worker is None or not worker.is_alive:
            worker = _workers[key] = Worker(", ".join(one.title for one in job.request.delegates))
        return worker


def _bury(title: str) -> None:
    """Reap killed processes that the kernel has let go by now; refuse to make ever more of them."""
    _undead[:] = [process for process in _undead if process.poll() is None]
    if len(_undead) >= _UNDEAD_LIMIT:
        raise BackendUnavailableError(
            f"Delegate {title!r}",
            reason=UnavailableReason.NO_ANSWER,
            cure=f"{len(_undead)} of its processes hang in the kernel and cannot be killed. Restart the board.",
        )
