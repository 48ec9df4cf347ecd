"""Fetching: the bytes behind a URL, and nothing that it redirects to."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

_TIMEOUT_S = 30.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **more: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))


def pieces(url: str, *, piece_bytes: int) -> Iterator[bytes]:
    """What is behind ``http://…`` or ``https://…``, piece by piece.

    Raises:
        OSError: It cannot be had.
    """
    try:
        with _OPENER.open(url, timeout=_TIMEOUT_S) as answer:
            while piece := answer.read(piece_bytes):
                yield piece
    except ValueError as error:  # no URL
        raise OSError(str(error)) from error
