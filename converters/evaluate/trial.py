"""A trial: one variant in a fresh process, from nothing to its first answer; what it costs in time and memory."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from converters.stage import serve
from edge_sdk.base import plugins
from edge_sdk.contract.manifest import Variant
from edge_sdk.inference.base import BackendRequest
from edge_sdk.inference.delegates import Delegate


class TrialJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to try; the model lies in the job's folder.

    Attributes:
        runtime: Plug-in's name.
        variant: What the model is.
        threads: Threads for one call.
        delegates: Delegates that are part of the CPU's runtime: ``xnnpack``, ``none``.
    """

    runtime: str
    variant: Variant
    threads: int = 1
    delegates: tuple[Delegate, ...] = ()


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What it cost.

    Attributes:
        import_ms: Loading the runtime's library.
        open_ms: Opening the model.
        first_ms: The first answer.
        rss_bytes: Resident memory of the whole process at its highest.
    """

    import_ms: float
    open_ms: float
    first_ms: float
    rss_bytes: int

    @property
    def cold_ms(self) -> float:
        """From nothing to the first answer."""
        return self.import_ms + self.open_ms + self.first_ms


def attempt(job: TrialJob, folder: Path) -> Trial:
    """Import, open, run once."""
    content = (folder / job.variant.file).read_bytes()
    window = np.zeros(job.variant.inputs[0].shape, np.float32)
    times = [time.perf_counter()]
    opener: Any = plugins.load("edge_sdk.backends", job.runtime)
    times.append(time.perf_counter())
    backend = opener(content, job.variant, BackendRequest(threads=job.threads, delegates=job.delegates))
    times.append(time.perf_counter())
    backend.run([window])
    times.append(time.perf_counter())
    imported, opened, first = (1e3 * (after - before) for before, after in pairwise(times))
    return Trial(import_ms=imported, open_ms=opened, first_ms=first, rss_bytes=peak_bytes())


def peak_bytes(process: int | None = None) -> int:
    """Highest resident memory of a process, by default this one; 0 where the kernel does not tell.

    Not ``getrusage``: on Linux, that begins with what the process had that started this one.
    """
    for line in Path(f"/proc/{process or 'self'}/status").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    serve(TrialJob, attempt)
