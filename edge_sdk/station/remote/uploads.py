"""Uploads: bundles on their way in, in pieces over MQTT or fetched from a URL."""

from __future__ import annotations

import base64
import binascii
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from edge_sdk.base.errors import CommandError
from edge_sdk.base.ids import check_id

CHUNK_BYTES = 64 * 1024
_AT_ONCE = 2


class Uploads:
    """Files that are not whole yet. What an earlier run left is removed.

    Args:
        directory: Where they are.
        limit_bytes: Larger ones are refused.
    """

    def __init__(self, directory: Path, *, limit_bytes: int) -> None:
        self._directory, self.limit_bytes = directory, limit_bytes
        self._missing: dict[str, set[int]] = {}
        shutil.rmtree(directory, ignore_errors=True)

    def put(self, upload: str, index: int, of: int, data: str) -> int:
        """Take one piece; how many are still missing. A piece that comes again changes nothing.

        Raises:
            CommandError: It does not fit, or cannot be written.
        """
        check_id("upload", upload)
        if not (0 <= index < of) or of * CHUNK_BYTES > self.limit_bytes + CHUNK_BYTES:
            raise CommandError(
                f"Piece {index} of {of}: at most {self.limit_bytes} bytes are taken here.", reason="too_large"
            )
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            raise CommandError(f"Piece {index} is not base64: {error}.", reason="malformed") from error
        if len(raw) > CHUNK_BYTES or (index < of - 1 and len(raw) != CHUNK_BYTES):
            raise CommandError(f"Piece {index} has {len(raw)} bytes, wanted are {CHUNK_BYTES}.", reason="malformed")
        if upload not in self._missing:
            while len(self._missing) >= _AT_ONCE:
                self.drop(next(iter(self._missing)))
            self._missing[upload] = set(range(of))
        path = self.path(upload)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with path.open("r+b" if path.exists() else "wb") as file:
                file.seek(index * CHUNK_BYTES)
                file.write(raw)
        except OSError as error:
            raise CommandError(f"Piece {index} cannot be written: {error.strerror}.", reason="disk") from error
        self._missing[upload].discard(index)
        return len(self._missing[upload])

    def whole(self, upload: str) -> Path:
        """The file, all pieces of which are here. Raises CommandError."""
        missing = self._missing.get(upload)
        if missing is None:
            raise CommandError(f"There is no upload {upload!r}. Send its pieces first.", reason="incomplete")
        if missing:
            raise CommandError(
                f"Of {upload!r} {len(missing)} pieces are missing: {min(missing)} …", reason="incomplete"
            )
        return self.path(upload)

    def drop(self, upload: str) -> None:
        """Forget it."""
        self._missing.pop(upload, None)
        self.path(upload).unlink(missing_ok=True)

    def path(self, upload: str) -> Path:
        """Where it is."""
        return self._directory / f"{upload}.part"

    def fetch(self, url: str, upload: str, *, allowed: Sequence[str]) -> Path:
        """Fetch a file from a URL, in a worker thread.

        Args:
            url: ``https://…`` or ``http://…``.
            upload: What it is called here.
            allowed: Beginnings of URLs, one of which must fit; redirects are not followed.

        Raises:
            CommandError: It may not be fetched, or cannot.
        """
        from edge_sdk.station.remote.fetch import pieces  # brings much, and most stations never fetch

        check_id("upload", upload)
        fits = any(url.startswith(beginning) for beginning in allowed)
        if not (fits and url.startswith(("https://", "http://"))):
            said = f"{url} begins with none of `remote: fetch_from:`: {', '.join(allowed) or 'nothing is allowed'}."
            raise CommandError(said, reason="not_allowed")
        path = self.path(upload)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for piece in pieces(url, piece_bytes=CHUNK_BYTES):
                    if file.tell() + len(piece) > self.limit_bytes:
                        raise CommandError(f"{url} has more than {self.limit_bytes} bytes.", reason="too_large")
                    file.write(piece)
        except OSError as error:
            raise CommandError(f"{url} cannot be fetched: {error}.", reason="fetch") from error
        self._missing[upload] = set()
        return path


def check_digest(path: Path, sha256: str) -> None:
    """Raise CommandError unless the file has this SHA-256."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256.lower():
        raise CommandError(f"It has SHA-256 {found}, announced was {sha256}. Send it again.", reason="damaged")
