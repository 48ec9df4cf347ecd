"""The slots: changes that came from afar, on disk. The present one, the one that is tried, the one before.

A change takes effect when its file is there under its name, and every step is one rename: after a power cut at any
moment there is either the old or the new. What the slots name is written before they name it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from edge_sdk.base.durable import replace_file, sync_directory
from edge_sdk.base.errors import EdgeError

log = logging.getLogger(__name__)

BAD_STARTS = 3
"""So many starts that were never healthy undo a change."""
_PRESENT, _NEXT, _PREVIOUS = "present.json", "next.json", "previous.json"
_BUNDLES = "bundles"


class Replacement(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that stands in for one that the configuration names.

    Attributes:
        file: Its name among the kept bundles.
        digest: Its digest.
        replaces: Digest of the bundle that the configuration names; another one there makes this void.
    """

    file: str
    digest: str
    replaces: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was changed from afar, together; each change holds those before it.

    Attributes:
        by: Id of the last command.
        made: When, UTC.
        base: SHA-256 of the ``station.yaml`` that it was made for; another one there makes this void.
        patches: JSON merge patches (RFC 7396) on the configuration, in turn: two of them cannot always be one.
        bundles: Replacements, by the path that the configuration names.
        starts: How often the program was started with it while it was tried.
    """

    by: str
    made: datetime
    base: str
    patches: tuple[dict[str, Any], ...] = ()
    bundles: dict[str, Replacement] = {}
    starts: int = 0


class Slots:
    """The changes of one station.

    Args:
        directory: Where they are kept; made when something is.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def present(self) -> Change | None:
        """What is in use; None = the configuration as it is."""
        return self._read(_PRESENT)

    @property
    def following(self) -> Change | None:
        """What is being tried."""
        return self._read(_NEXT)

    @property
    def previous(self) -> Change | None:
        """What was in use before."""
        return self._read(_PREVIOUS)

    def propose(self, change: Change) -> None:
        """It is to be tried. Raises OSError."""
        replace_file(self.directory / _NEXT, msgspec.json.encode(change))

    def commit(self) -> None:
        """What was tried is good. Raises OSError."""
        replace_file(self.directory / _PREVIOUS, msgspec.json.encode(self.present))
        (self.directory / _NEXT).replace(self.directory / _PRESENT)
        sync_directory(self.directory)
        self._tidy()

    def withdraw(self) -> None:
        """What was tried is not good."""
        (self.directory / _NEXT).unlink(missing_ok=True)
        self._tidy()

    def revert(self) -> None:
        """What is in use is not good after all: back to what was before."""
        previous = self.previous
        if previous is None:
            (self.directory / _PRESENT).unlink(missing_ok=True)
        else:
            replace_file(self.directory / _PRESENT, msgspec.json.encode(previous))
        (self.directory / _PREVIOUS).unlink(missing_ok=True)
        self._tidy()

    @property
    def can_revert(self) -> bool:
        """Whether what was before is known."""
        return (self.directory / _PREVIOUS).exists() and (self.directory / _PRESENT).exists()

    def keep(self, file: Path, digest: str) -> str:
        """Move a bundle among the kept ones; its name there. Raises OSError."""
        name = f"{digest.removeprefix('sha256:')}.edge"
        replace_file(self.directory / _BUNDLES / name, file.read_bytes())
        file.unlink()
        return name

    def bundle(self, replacement: Replacement) -> Path:
        """Where a kept bundle is."""
        return self.directory / _BUNDLES / replacement.file

    def begin(self, bad_starts: int) -> Iterator[str]:
        """At the start of the program: undo what has started badly too often; says what was undone.

        Args:
            bad_starts: Starts in a row, until now, that were never healthy.
        """
        following = self.following
        if following is not None:
            if following.starts >= BAD_STARTS:
                self.withdraw()
                yield f"The change by {following.by} started badly {following.starts} times and was taken back."
            else:
                self.propose(msgspec.structs.replace(following, starts=following.starts + 1))
        elif bad_starts >= BAD_STARTS and self.can_revert:
            present = self.present
            self.revert()
            by = present.by if present else "nobody"
            yield f"The station started badly {bad_starts} times: the change by {by} was taken back."

    def _read(self, name: str) -> Change | None:
        try:
            return msgspec.json.decode((self.directory / name).read_bytes(), type=Change | None)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.error("remote change cannot be read", extra={"file": name, "reason": str(error)})
            return None

    def _tidy(self) -> None:
        """Remove bundles that no slot names."""
        named = {
            replacement.file
            for change in (self.present, self.following, self.previous)
            if change is not None
            for replacement in change.bundles.values()
        }
        for file in (self.directory / _BUNDLES).glob("*.edge"):
            if file.name not in named:
                file.unlink(missing_ok=True)


def base_of(path: Path) -> str:
    """SHA-256 of ``station.yaml``.

    Raises:
        EdgeError: It cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EdgeError(f"{path} cannot be read: {error.strerror}.") from error


def merged(data: Any, patch: Any) -> Any:
    """`data` after a JSON merge patch (RFC 7396): null removes, mappings are merged, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(data) if isinstance(data, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result
