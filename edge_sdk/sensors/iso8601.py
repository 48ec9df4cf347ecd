"""ISO 8601: times as others write them."""

from __future__ import annotations

import re
from datetime import datetime

_FRACTION = re.compile(r"(?<=\d)[.,](\d+)")


def read_iso(text: str) -> datetime:
    """Read a time with any number of digits after the second; Python 3.10 knows three or six, and no Z.

    Raises:
        ValueError: It is none.
    """
    whole = _FRACTION.sub(lambda found: f".{found[1][:6]:<06}", text.strip(), count=1)
    return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", whole))
