"""The witness: what this machine remembers of an outbox in memory, for as long as it runs, and no card carries away.

An outbox whose witness speaks for it is the one that was here before. One without is perhaps an old image of it, or a
copy: it begins a new epoch, so that a number that was given since is not given to something else.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import stat
import struct
from contextlib import suppress
from pathlib import Path

from edge_sdk.base.clock import boot_id

log = logging.getLogger(__name__)

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (every machine's own memory; each file is checked to be ours)
_PREFIX = "edge-sdk-outbox-"
_NEWEST = struct.Struct("<q")
_BYTES = 4096
_LOOKED_AT = 8


class Witness:
    """Remembers an outbox's epoch and its newest number.

    Args:
        path: The outbox.
        directory: Memory that does not outlive the machine's run.
    """

    def __init__(self, path: Path, directory: Path = _SHARED_MEMORY) -> None:
        self._text = str(path.absolute())
        name = hashlib.sha256(self._text.encode()).hexdigest()[:24]
        self._file = directory / f"{_PREFIX}{os.geteuid()}-{name}"
        self._handle: int | None = None

    def speaks_for(self, epoch: str, newest: int) -> bool:
        """Whether the outbox that was here had this epoch, and gave no number above `newest`."""
        found = _read(self._file)
        if found is None or found[_NEWEST.size :].rstrip(b"\0") != self._said(epoch):
            return False
        return bool(_NEWEST.unpack_from(found)[0] <= newest)

    def swear_in(self, epoch: str, newest: int) -> None:
        """Remember from now on. Where there is no such memory, nobody will speak for the outbox."""
        self.close()
        try:
            _sweep(self._file)
            handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            if not _is_ours(os.fstat(handle)):
                os.close(handle)
                return
            self._handle = handle
            text = (_NEWEST.pack(newest) + self._said(epoch)).ljust(_BYTES, b"\0")
            if len(text) > _BYTES or os.pwrite(handle, text, 0) < _BYTES:
                self._dismiss("there is no room for it")
        except OSError as error:
            self._dismiss(str(error))

    def saw(self, newest: int) -> None:
        """Numbers up to `newest` were given."""
        if self._handle is None:
            return
        try:
            os.pwrite(self._handle, _NEWEST.pack(newest), 0)
        except OSError as error:
            self._dismiss(str(error))

    def close(self) -> None:
        """Let go of the memory; what it holds stays."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _dismiss(self, why: str) -> None:
        """A witness that does not know the newest number must not speak."""
        log.info("outbox has no witness", extra={"reason": why})
        if self._handle is not None:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)
            self.close()

    def _said(self, epoch: str) -> bytes:
        return f"{epoch} {boot_id()} {self._text}".encode()


def _read(file: Path) -> bytes | None:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.read(handle, _BYTES) if _is_ours(os.fstat(handle)) else b""
    finally:
        os.close(handle)
    return found if len(found) == _BYTES else None


def _is_ours(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()


def _sweep(new: Path) -> None:
    """Before one more is made, look at some others, and remove those of outboxes that are no more."""
    if new.exists():
        return
    others = list(new.parent.glob(f"{_PREFIX}{os.geteuid()}-*"))
    for file in random.sample(others, min(_LOOKED_AT, len(others))):
        found = _read(file)
        words = (found or b"")[_NEWEST.size :].rstrip(b"\0").decode("utf-8", "replace").split(" ", 2)
        if len(words) == 3 and not Path(words[2]).exists():
            with suppress(OSError):
                file.unlink()
