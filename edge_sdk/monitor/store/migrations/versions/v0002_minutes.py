"""Results over minutes and hours."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from edge_sdk.monitor.store.migrations.types import BY_KEY, INT, REAL, TEXT, may, need, refers

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    for table in ("minutes", "hours"):
        op.create_table(
            table,
            refers("source", "sources"),
            need("stream", TEXT),
            need("t_ns", INT),
            need("label", TEXT),  # '' = none
            need("count", INT),
            may("confidence", REAL),
            may("value", REAL),
            may("low", REAL),
            may("high", REAL),
            sa.PrimaryKeyConstraint("source", "stream", "t_ns", "label"),
            **BY_KEY,
        )
    # Numbers up to here were deleted by retention: a resend of one is a duplicate still.
    op.add_column("sources", need("pruned", INT, "0"))
