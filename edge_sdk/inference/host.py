"""The host: a delegate's own process. A driver that hangs or crashes takes this process with it, and nothing else."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base import logs, plugins
from edge_sdk.base.errors import BackendError, EdgeError
from edge_sdk.inference.base import Backend
from edge_sdk.inference.jobs import Answer, Close, Failed, Message, Open, Opened, Run, Wire

GROUP = "edge_sdk.backends"

log = logging.getLogger(__name__)


class Host:
    """Opens and runs models, one job at a time."""

    def __init__(self) -> None:
        self._backends: dict[int, Backend] = {}
        self._next = 1

    def answer(self, job: Message) -> Message | None:
        """Do one job."""
        match job:
            case Open():
                return self._open(job)
            case Run(handle=handle, inputs=inputs):
                backend = self._backends[handle]
                given = [_array(raw, spec.shape) for raw, spec in zip(inputs, backend.variant.inputs, strict=True)]
                return Answer(outputs=tuple(output.tobytes() for output in backend.run(given)))
            case Close(handle=handle):
                self._backends.pop(handle).close()
        return None

    def close(self) -> None:
        """Let go of every model, in reverse order of opening."""
        for handle in sorted(self._backends, reverse=True):
            self._backends.pop(handle).close()

    def _open(self, job: Open) -> Opened:
        opener: Any = plugins.load(GROUP, job.runtime)
        backend: Backend = opener(job.model, job.variant, job.request)
        shape = job.variant.inputs[0].shape
        answers, times = [], []
        for raw in job.checks:
            begun = time.perf_counter()
            answers.append(backend.run([_array(raw, shape)])[0].tobytes())
            times.append(time.perf_counter() - begun)
        handle, self._next = self._next, self._next + 1
        self._backends[handle] = backend
        return Opened(
            handle=handle,
            version=backend.version,
            coverage=backend.coverage,
            answers=tuple(answers),
            slowest_s=max(times[1:], default=0.0),  # the first call often compiles
        )


def _array(raw: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.frombuffer(raw, np.float32).reshape(shape)


def main() -> None:
    """Serve the socket named by the first argument until the other end is gone."""
    number, life = int(sys.argv[1]), int(sys.argv[2])
    os.dup2(2, 1)  # what drivers print belongs into the log
    Path("/proc/self/comm").write_text("edge-delegate", encoding="ascii")  # for ps and top
    _die_with(life)
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)  # the station decides when: it drains first
    logs.configure("warning")
    wire, host = Wire(socket.socket(fileno=number)), Host()
    while True:
        try:
            job = wire.receive(None)
        except EOFError:
            host.close()
            return
        assert job is not None
        try:
            answer = host.answer(job)
        except EdgeError as error:
            answer = Failed.of(error)
        except Exception as error:
            log.exception("delegate's process failed")
            answer = Failed.of(BackendError(f"{type(error).__name__}: {error}"))
        if answer is not None:
            wire.send(answer, timeout_s=60.0)


def _die_with(life: int) -> None:
    """End when the station ends, even while a driver hangs: the kernel signals the closing of the pipe `life`."""
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # which ends the process, with no help from Python
