"""What models were given, in short, as health tells it."""

from __future__ import annotations

from alembic import op

from edge_sdk.monitor.store.migrations.types import BLOB, may

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("health", may("inputs", BLOB))  # JSON: by stream and model
