"""The quarantine and the counters, as both stores keep them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from edge_sdk.monitor.store.base import Arrival, Refusal, Source
from edge_sdk.monitor.store.database import Database

QUARANTINE_ROWS = 1000
_RETIMED = b'"retimed"'


def is_resend(one: Arrival, there: bytes) -> bool:
    """Whether it is the stored result again; its times may have been repaired since it was sent first."""
    return one.body == there or _RETIMED in one.body


def conflict(source: Source, one: Arrival) -> Refusal:
    """The refusal of a result whose key is taken by another one."""
    return Refusal(
        "conflict",
        f"{source.site}/{source.station}",
        one.body[:256],
        f"Result {one.seq} of epoch {source.epoch} is stored with other content. Was an old outbox file put back?",
    )


def quarantine(db: Database, refusals: Sequence[Refusal], now_ns: int) -> int:
    """Write refusals down, one row for each reason and topic; returns how many old rows went for them."""
    if not refusals:
        return 0
    counts = Counter((refusal.reason, refusal.topic) for refusal in refusals)
    last = {(refusal.reason, refusal.topic): refusal for refusal in refusals}
    db.executemany(
        "INSERT INTO quarantine (reason, topic, count, first_ns, last_ns, head, message)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (reason, topic) DO UPDATE SET count = quarantine.count + excluded.count,"
        " last_ns = excluded.last_ns, head = excluded.head, message = excluded.message",
        [(*key, counts[key], now_ns, now_ns, last[key].head, last[key].message) for key in sorted(last)],
    )
    return db.execute(
        "DELETE FROM quarantine WHERE id NOT IN (SELECT id FROM quarantine ORDER BY last_ns DESC, id DESC LIMIT ?)",
        (QUARANTINE_ROWS,),
    ).rowcount


def count(db: Database, counts: dict[str, int]) -> None:
    """Add to the store's counters."""
    db.executemany(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET count = counters.count + excluded.count",
        [(name, counts[name]) for name in sorted(counts) if counts[name]],
    )
