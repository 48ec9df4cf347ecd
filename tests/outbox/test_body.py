"""Bodies that stay after their receipt take fewer bytes, and come back as they were."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchmarks._delivery import typical_result
from edge_sdk.base.clock import ManualClock
from edge_sdk.contract.envelope import encode_body
from edge_sdk.outbox.body import expanded, squeezed
from edge_sdk.outbox.quota import Quota
from edge_sdk.outbox.sqlite import SqliteOutbox
from tests.outbox.test_outbox import result

KEEPING = Quota(keep_after_receipt_s=600.0)


@given(st.binary(max_size=5000))
def test_a_body_comes_back_as_it_was(rest: bytes) -> None:
    body = b"{" + rest

    assert expanded(squeezed(body)) == body
    assert len(squeezed(body)) <= len(body)


def test_a_result_of_three_models_takes_a_third_or_less() -> None:
    body = encode_body(typical_result(7))

    assert len(squeezed(body)) < len(body) / 3


def test_rows_of_either_form_stand_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    bodies = []
    for quota in (Quota(), KEEPING, Quota()):
        with closing(SqliteOutbox.open(path, clock=ManualClock(), quota=quota)) as outbox:
            bodies += [row.body for row in outbox.put([typical_result(n) for n in range(3)])]

    with closing(SqliteOutbox.open(path, clock=ManualClock(), quota=KEEPING)) as outbox:
        assert [row.body for row in outbox.read(after=0, limit=100)] == bodies


def test_squeezed_rows_are_saved_from_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(SqliteOutbox.open(path, clock=ManualClock(), quota=KEEPING)) as outbox:
        bodies = [row.body for row in outbox.put([result(n, padding=100) for n in range(50)])]
    data = bytearray(path.read_bytes())
    data[:100] = bytes(100)
    path.write_bytes(data)

    with closing(SqliteOutbox.open(path, clock=ManualClock(), quota=KEEPING)) as outbox:
        assert outbox.salvaged is not None
        assert [row.body for row in outbox.read(after=0, limit=100)] == bodies
