"""A finding: one thing that was tried, how it went, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from edge_sdk.base.errors import EdgeError

# Our messages say what was given and wanted first; the next step is the last sentences.
_NEXT_SENTENCE = re.compile(r"[.?]\)? (?=[A-Z`'\"])")
_AS_IT_SAYS = "Mend what the message names, and check again."


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried.

    Attributes:
        what: What was tried.
        ok: Whether it is well.
        detail: What was found.
        remedy: What to do, when it is not well.
        must: Whether the station cannot do its work without it; else it is a note.
        exit_code: What the program exits with for it; 0 when it is well, or a note.
    """

    what: str
    ok: bool
    detail: str
    remedy: str = ""
    must: bool = True
    exit_code: int = 0


def well(what: str, detail: str) -> Finding:
    """It is well."""
    return Finding(what, True, detail)


def note(what: str, detail: str, remedy: str) -> Finding:
    """It is not well, and the station works all the same."""
    return Finding(what, False, detail, remedy, must=False)


def bad(what: str, detail: str, remedy: str, *, exit_code: int) -> Finding:
    """The station cannot do its work so."""
    return Finding(what, False, detail, remedy, exit_code=exit_code)


def failed(what: str, error: EdgeError) -> Finding:
    """An error on purpose: its message holds what is wrong and what to do."""
    detail, remedy = _NEXT_SENTENCE.split(str(error), maxsplit=1)[0], ""
    if len(detail) < len(str(error)):
        remedy = str(error)[len(detail) :].lstrip(".?) ")
    return bad(what, detail.rstrip("."), remedy or _AS_IT_SAYS, exit_code=error.exit_code)


def attempt(what: str, work: Callable[[], str]) -> Finding:
    """Try it: what it returns is the detail, an error on purpose is a finding."""
    try:
        return well(what, work())
    except EdgeError as error:
        return failed(what, error)
