"""Settling: a former epoch of which everything has come, or been given up, has nothing left to say.

Its row stays, for it alone tells a resend from a new result, however late that comes. But nobody else reads it: lists,
totals and roll-ups see those that are not settled. Whatever comes of an epoch takes it up again.
"""

from __future__ import annotations

import msgspec

from edge_sdk.monitor.store.database import Database
from edge_sdk.monitor.store.rollup import SLICE, roll_source

_RANGES = msgspec.json.Decoder(tuple[tuple[int, int], ...])
_FORMER = (
    "SELECT sources.id, stored, ranges, rolled FROM sources JOIN stations ON stations.id = sources.station"
    " WHERE settled IS NULL AND sources.epoch <> stations.epoch ORDER BY sources.id"
)
# Another worker may have taken it up since it was read.
_SETTLE = "UPDATE sources SET settled = ? WHERE id = ? AND stored = ? AND ranges = ? AND settled IS NULL"


def settle(db: Database, *, locking: str = "") -> int:
    """Settle some former epochs; returns how many: call again until that is 0. Within a transaction.

    Args:
        db: The database.
        locking: Behind the SELECT of `roll_source`, where several workers write.
    """
    settled = work = 0
    for source, stored, ranges, rolled in db.execute(_FORMER).fetchall():
        spans = _RANGES.decode(ranges)
        highest = spans[-1][1] if spans else 0
        if spans not in {(), ((1, highest),)}:
            continue  # something is missing
        if rolled < highest:
            work += roll_source(db, source, most=SLICE, locking=locking)
            if highest - rolled > SLICE:
                return settled + 1  # it has more
        settled += db.execute(_SETTLE, (highest - stored, source, stored, ranges)).rowcount
        if settled + work >= SLICE:
            break
    return settled
