"""The black box: what a run that did not end in order leaves behind, and what the next one says of it."""

from __future__ import annotations

import faulthandler
import logging
import os
import platform
import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Literal

import msgspec

import edge_sdk
from edge_sdk.base.clock import Clock, boot_id, to_datetime
from edge_sdk.base.durable import replace_file
from edge_sdk.base.errors import leaves

log = logging.getLogger(__name__)

_RUN_FILE = "run.json"
_TRACE_FILE = "trace.txt"
_KEPT_REPORTS = 5
_LONGEST_TRACE = 64 * 1024

How = Literal["crashed", "native", "killed", "power"]


class Run(msgspec.Struct, kw_only=True):
    """``run.json``: the run that goes on, or the last one.

    Attributes:
        pid: Process id.
        boot: The kernel's id of the boot.
        version: Version of this software.
        started: When it started, UTC.
        ended: How it ended; empty while it goes on, or when nobody could write it any more.
        error: What it ended with, one line.
        bad_starts: Runs in a row, this one included, that have not been found healthy.
    """

    pid: int
    boot: str
    version: str
    started: datetime
    ended: Literal["", "stopped", "refused", "crashed"] = ""
    error: str = ""
    bad_starts: int = 1


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How the run before this one ended, when that was not in order.

    Attributes:
        how: ``crashed``: it failed; ``native``: a runtime library failed, or the watchdog ended it; ``killed``: from
            outside, such as for want of memory; ``power``: the machine went off.
        message: The same for a person.
        started: When that run had started, UTC.
        bad_starts: Runs in a row that were never healthy, until then.
        report: Name of the report's file; empty when there is none.
    """

    how: How
    message: str
    started: datetime
    bad_starts: int
    report: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """``crash-….json``.

    Attributes:
        version: Version of this software.
        python: Version of Python.
        machine: What ``uname`` says.
        started: When the run started, UTC.
        ended: When it ended, or when that was found out, UTC.
        errors: What it failed with: one text for each task that failed, with its traceback.
        trace: What every thread was doing, when a library failed.
        counters: Everything counted until then.
        log: The last lines of the log.
    """

    version: str
    python: str
    machine: str
    started: datetime
    ended: datetime
    errors: tuple[str, ...] = ()
    trace: str = ""
    counters: dict[str, int] = {}
    log: tuple[str, ...] = ()


def bad_starts(directory: Path) -> int:
    """Runs in a row, until now, that were never found healthy."""
    last = _read(directory / _RUN_FILE)
    return last.bad_starts if last is not None else 0


class BlackBox:
    """Keeps one station's runs apart: opened at the start, closed at an orderly end.

    Args:
        directory: Where its files are; made when missing.
        clock: Where the time comes from.

    Attributes:
        bad_starts: Runs in a row, this one included, that have not been found healthy.
    """

    def __init__(self, directory: Path, *, clock: Clock) -> None:
        self._directory, self._clock = directory, clock
        self._trace: IO[bytes] | None = None
        self._run = Run(pid=os.getpid(), boot=boot_id(), version=edge_sdk.__version__, started=self._now())

    @property
    def bad_starts(self) -> int:
        """Runs in a row, this one included, that have not been found healthy."""
        return self._run.bad_starts

    def open(self) -> Ending | None:
        """Begin a run; how the one before ended, when that was not in order. A full disk stops nobody."""
        last = _read(self._directory / _RUN_FILE)
        if last is not None:
            self._run.bad_starts = last.bad_starts + 1
        ending = None
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            ending = self._ending(last) if last is not None else None
            self._write()
            self._trace = (self._directory / _TRACE_FILE).open("wb")
        except OSError as error:
            log.error("run cannot be written down", extra={"reason": str(error)})
        else:
            faulthandler.enable(self._trace)
        return ending

    def healthy(self) -> None:
        """This run does its work: bad starts are counted anew from the next one on."""
        self._run.bad_starts = 0
        try:
            self._write()
        except OSError as error:
            log.error("healthy run cannot be written down", extra={"reason": str(error)})

    def record(self, error: BaseException, *, counters: Mapping[str, int], lines: Sequence[str]) -> Path | None:
        """Write down why the run ends; where, or None when the disk does not take it."""
        errors = tuple("".join(traceback.format_exception(leaf)) for leaf in leaves(error))
        self._run.ended, self._run.error = "crashed", _one_line(error)
        report = msgspec.structs.replace(
            self._blank(self._run), errors=errors, counters=dict(counters), log=tuple(lines)
        )
        try:
            return self._keep(report)
        except OSError as problem:
            log.error("crash report cannot be written", extra={"reason": str(problem)})
            return None

    def close(self, ended: Literal["stopped", "refused"] = "stopped") -> None:
        """The run is over; unless it was recorded otherwise, in order."""
        if self._trace is not None:
            faulthandler.disable()
            self._trace.close()
            self._trace = None
        self._run.ended = self._run.ended or ended
        try:
            self._write()
            (self._directory / _TRACE_FILE).unlink(missing_ok=True)
        except OSError as error:
            log.error("end of the run cannot be written", extra={"reason": str(error)})

    def _ending(self, last: Run) -> Ending | None:
        """Judge the last run by what it left."""
        how: How
        report = ""
        if last.ended == "crashed":
            how, message = "crashed", f"The last run failed: {last.error}"
            report = max((path.name for path in self._directory.glob("crash-*.json")), default="")
        elif last.ended:
            return None
        elif last.boot != self._run.boot:
            how, message = "power", "The machine went off while the station ran."
        elif trace := self._read_trace():
            how = "native"
            message = f"A library failed, or the watchdog found that nothing moved: {trace.splitlines()[0]}"
            report = self._keep(msgspec.structs.replace(self._blank(last), trace=trace)).name
        else:
            how, message = "killed", "The last run was killed from outside: for want of memory?"
        return Ending(how=how, message=message, started=last.started, bad_starts=last.bad_starts, report=report)

    def _read_trace(self) -> str:
        try:
            raw = (self._directory / _TRACE_FILE).read_bytes()
        except OSError:
            return ""
        return raw[:_LONGEST_TRACE].decode("utf-8", "replace")

    def _write(self) -> None:
        replace_file(self._directory / _RUN_FILE, msgspec.json.encode(self._run))

    def _blank(self, run: Run) -> Report:
        return Report(
            version=run.version,
            python=platform.python_version(),
            machine=platform.platform(),
            started=run.started,
            ended=self._now(),
        )

    def _keep(self, report: Report) -> Path:
        path = self._directory / f"crash-{report.ended:%Y%m%dT%H%M%S%f}.json"
        replace_file(path, msgspec.json.format(msgspec.json.encode(report), indent=1))
        for old in sorted(self._directory.glob("crash-*.json"))[:-_KEPT_REPORTS]:
            old.unlink()
        return path

    def _now(self) -> datetime:
        return to_datetime(self._clock.wall_ns())


def _read(file: Path) -> Run | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Run)
    except (OSError, msgspec.MsgspecError):  # the first run, or a power cut in the middle of writing
        return None


def _one_line(error: BaseException) -> str:
    first = leaves(error)[0]
    return f"{type(first).__name__}: {first}".splitlines()[0][:300]
