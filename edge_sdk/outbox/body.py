"""The body of a result as the outbox's file holds it: its JSON, or that squeezed, where rows stay after their receipt.

A row that stays is written twice, to the log and to the file. Results are much alike, so that a dictionary of what they
usually say makes a fifth of one. Where rows leave at once they are written once, and squeezing is not worth its time.
"""

from __future__ import annotations

import zlib

_MARK = b"\x01"  # what follows was squeezed with the words below; JSON begins with a brace
_WINDOW_BITS = -11  # 2 KiB, without a header: each row has a checksum of its own
_WORDS = (
    b'"lower":,"upper":,"value":,"unit":"std":,"interval":[true,"clock":"unsynced","retimed"],"set":["failed","rejected",'
    b'"absent","stale","method":"weighted_mean","mean_pool","rules","stacking","majority_vote","features":{'
    b'{"stream":"occupancy","t":"2026-01-01T00:00:00.000000Z","observed":"2026-01-01T00:00:00.000000Z","clock":"synced",'
    b'"method":"log_opinion_pool","degraded":false,"contributors":[{"model":"","bundle":"sha256:","state":"fresh",'
    b'"age_ms":41,"weight":0.3333,"label":"2","confidence":0.8},{"model":"","bundle":"sha256:'
    b'"state":"fresh","age_ms":0,"weight":1.0,"value":0.0}],"absent":[],"flags":[],'
    b'"label":"0","confidence":0.9,"probabilities":{"0":0.0,"1":0.0,"2":0.9,"3":0.0}}'
)
"""For ever as it is: files hold rows that only it expands. Another one gets another mark."""


def squeezed(body: bytes) -> bytes:
    """A body in fewer bytes, if it can be; see `expanded`."""
    squeezer = zlib.compressobj(level=1, wbits=_WINDOW_BITS, memLevel=5, zdict=_WORDS)
    short = _MARK + squeezer.compress(body) + squeezer.flush()
    return short if len(short) < len(body) else body


def expanded(stored: bytes) -> bytes:
    """The body that was stored, squeezed or not. Raises zlib.error for what was never squeezed."""
    if stored[:1] != _MARK:
        return stored
    return zlib.decompressobj(wbits=_WINDOW_BITS, zdict=_WORDS).decompress(stored[1:])
