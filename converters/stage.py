"""A stage: work done in a process of its own, so that a converter that crashes is an error and not the end."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from converters.cache import Cache, key_of
from edge_sdk.base import errors
from edge_sdk.base.errors import ConversionError, EdgeError

_JOB, _ANSWER, _LOG = "job.json", "answer.json", "log.txt"
_MARK = "@stage "
_PR_SET_PDEATHSIG = 1
_SCRATCH = "edge-sdk-convert-"
_LITTLE_BYTES = 64 * 1024
_Job = TypeVar("_Job", bound=msgspec.Struct)
_Answer = TypeVar("_Answer", bound=msgspec.Struct)

# Nothing here may depend on the machine's GPU, on thread timing or on hash seeds: same input, same digests.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
    "PYTHONHASHSEED": "0",
    "PYTHONWARNINGS": "ignore",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


class StageCrashError(ConversionError):
    """A stage's process died of a signal.

    Attributes:
        step: What it was doing.
    """

    def __init__(self, message: str, *, step: str) -> None:
        super().__init__(message)
        self.step = step


class _Failure(msgspec.Struct, frozen=True):
    kind: str
    message: str


def run_stage(
    module: str, job: msgspec.Struct, folder: Path, answer: type[_Answer], *, say: Callable[[str], None] = print
) -> _Answer:
    """Run ``python -m module folder`` and give back what it answers.

    Args:
        module: A module whose ``__main__`` part calls `serve`.
        job: What it is to do; travels as JSON.
        folder: Where it finds its arrays and leaves its files.
        answer: Type of its answer.
        say: Told each step, as it begins.

    Raises:
        StageCrashError: The process crashed; the message says at which step.
        EdgeError: What the stage raised, as the class that it raised.
    """
    (folder / _JOB).write_bytes(msgspec.json.encode(job))
    (folder / _ANSWER).unlink(missing_ok=True)
    step = "start"
    with (
        (folder / _LOG).open("w+", encoding="utf-8", errors="replace") as log,
        subprocess.Popen(
            [sys.executable, "-m", module, str(folder)],
            env={**os.environ, **_ENVIRONMENT, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            errors="replace",
        ) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(_MARK):
                    step = line.removeprefix(_MARK).strip()
                    say(step)
            code = process.wait()
        except BaseException:
            process.kill()
            raise
        log.seek(0)
        tail = [line.rstrip() for line in log.readlines()[-200:] if line.strip()]
    if code == 0:
        return msgspec.json.decode((folder / _ANSWER).read_bytes(), type=answer)
    if (folder / _ANSWER).is_file():
        failure = msgspec.json.decode((folder / _ANSWER).read_bytes(), type=_Failure)
        raise _revive(failure)
    if code < 0:
        name = signal.Signals(-code).name
        raise StageCrashError(f"The converter crashed ({name}) at: {step}. {_advice(step)}", step=step)
    raise ConversionError(f"The converter ended with {code} at: {step}. Its last words: {' | '.join(tail[-3:])}")


def run_cached(
    module: str,
    job: _Job,
    folder: Path,
    answer: type[_Answer],
    *,
    cache: Cache | None,
    source: str,
    say: Callable[[str], None] = print,
) -> _Answer:
    """As `run_stage`; what it makes is kept, and taken from there when nothing that it depends on has changed.

    Args:
        module: As `run_stage`.
        job: As `run_stage`; where it has a `path`, `source` stands for the file there.
        folder: As `run_stage`; every file in it belongs to what the stage depends on.
        answer: As `run_stage`.
        cache: Where; None = nowhere.
        source: Digest of the model.
        say: As `run_stage`.

    Raises:
        StageCrashError: As `run_stage`.
        EdgeError: As `run_stage`.
    """
    if cache is None:
        return run_stage(module, job, folder, answer, say=say)
    placeless = msgspec.structs.replace(job, path="") if "path" in job.__struct_fields__ else job
    before = _files(folder)
    key = key_of(f"{module} {source} ".encode() + msgspec.json.encode(placeless, order="sorted"), before)
    if cache.get(key, folder):
        say(f"{module.rpartition('.')[2]}, kept from before")
        return msgspec.json.decode((folder / _ANSWER).read_bytes(), type=answer)
    times = {file: file.stat().st_mtime_ns for file in before}
    made = run_stage(module, job, folder, answer, say=say)
    new = [file for file in _files(folder) if times.get(file) != file.stat().st_mtime_ns]
    cache.put(key, [*new, folder / _ANSWER])
    return made


def _files(folder: Path) -> list[Path]:
    """What a stage reads and writes: files of the folder itself, without the traffic between the processes."""
    return [file for file in folder.iterdir() if file.is_file() and file.name not in {_JOB, _ANSWER, _LOG}]


def serve(job_type: type[_Job], work: Callable[[_Job, Path], msgspec.Struct]) -> None:
    """The other side: read the job, do the work, leave the answer or the error."""
    _die_with_parent()
    folder = Path(sys.argv[1])
    job = msgspec.json.decode((folder / _JOB).read_bytes(), type=job_type)
    try:
        answer = work(job, folder)
    except EdgeError as error:
        _leave(folder, _Failure(type(error).__name__, str(error)))
        sys.exit(3)
    except Exception as error:  # noqa: BLE001  the outermost frame of this process: a foreign error becomes ours
        traceback.print_exc()
        words = str(error).strip().splitlines()
        _leave(folder, _Failure("ConversionError", f"{type(error).__name__}: {words[0] if words else 'no message'}"))
        sys.exit(4)
    _leave(folder, answer)


def at(step: str) -> None:
    """Say which step begins."""
    sys.stdout.write(f"{_MARK}{step}\n")
    sys.stdout.flush()


def _die_with_parent() -> None:
    """On Linux: whoever kills the parent kills us; a converter must not work on for nobody."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def scratch() -> Iterator[str]:
    """A folder for one conversion; gone afterwards, whatever happens.

    What a killed conversion left is swept out by the next one.

    Raises:
        ConversionError: No space is left in it.
    """
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}{os.getpid()}-", ignore_cleanup_errors=True) as name:
        try:
            yield name
        except OSError as error:
            # numpy says of a full disk how much it wrote, and gives no number.
            is_full = error.errno == errno.ENOSPC or shutil.disk_usage(name).free < _LITTLE_BYTES
            if isinstance(error, EdgeError) or not is_full:
                raise
            raise ConversionError(
                f"No space is left in {tempfile.gettempdir()} for a conversion's files. Free some, or set TMPDIR."
            ) from error


def _sweep() -> None:
    for left in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        owner = left.name.removeprefix(_SCRATCH).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists() and Path("/proc").exists():
            shutil.rmtree(left, ignore_errors=True)


def _leave(folder: Path, answer: msgspec.Struct) -> None:
    (folder / _ANSWER).write_bytes(msgspec.json.encode(answer))


def _revive(failure: _Failure) -> EdgeError:
    kinds: Mapping[str, Any] = vars(errors)
    kind = kinds.get(failure.kind, ConversionError)
    simple = {"ConversionError", "CalibrationError", "ConfigError", "BundleFormatError"}
    if failure.kind in simple:
        revived: EdgeError = kind(failure.message)
        return revived
    return ConversionError(failure.message)


def _advice(step: str) -> str:
    if "int8" in step or "int16" in step:
        return (
            "TensorFlow's quantizer does that on recurrent layers (LSTM, GRU): build the model with unroll=True, or "
            "take --precision float16 or dynamic."
        )
    return "Try another --format or --precision, and report the model."
