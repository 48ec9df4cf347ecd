"""The C allocator: told to keep one heap for all threads."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # malloc.h of glibc


def share_one_heap() -> bool:
    """Let all threads take memory from one heap; to be called before they begin. False where there is no glibc.

    glibc gives threads heaps of their own, up to eight a core. What each took at its worst moment stays with it, so
    that a program with few busy threads and many that come and go grows for days: 4 MB more after three days of a
    station's work, measured in accelerated replay.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1))
    except AttributeError:  # musl has one heap anyway
        return False
