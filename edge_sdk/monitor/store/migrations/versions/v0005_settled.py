"""Former epochs with nothing left to say are settled: nobody reads their ranges any more, but for what comes again."""

from __future__ import annotations

from alembic import op

from edge_sdk.monitor.store.migrations.types import INT, may

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column."""
    op.add_column("sources", may("settled", INT))  # how many results were given up; null = not settled
