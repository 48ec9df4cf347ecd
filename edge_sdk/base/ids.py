"""Names that travel in topics and keys."""

from __future__ import annotations

import re
import secrets

from edge_sdk.base.errors import ConfigError

ID_PATTERN = "^[A-Za-z0-9_-]{1,64}$"
_ID = re.compile(ID_PATTERN)


def check_id(what: str, given: str) -> str:
    """Return `given` when it can be one segment of a topic.

    Raises:
        ConfigError: It is empty, too long, or holds other characters than letters, digits, ``_`` and ``-``.
    """
    if not _ID.fullmatch(given):
        raise ConfigError(f"{what} is {given!r}; wanted are 1 to 64 letters, digits, '_' or '-'. Rename it.")
    return given


def new_epoch() -> str:
    """A random 64-bit id, made with an outbox file: 16 hexadecimal digits."""
    return secrets.token_hex(8)
