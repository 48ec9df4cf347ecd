"""Minutes are made while the raw results are there still, not only when retention deletes them."""

from __future__ import annotations

from alembic import op

from edge_sdk.monitor.store.migrations.types import INT, need

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Mark how far."""
    # Results up to this number are in minutes (or hours) too; those above are not, unless they were deleted.
    op.add_column("sources", need("rolled", INT, "0"))
    # Event times up to here may lack raw results.
    op.add_column("sources", need("pruned_ns", INT, "0"))
    # Until now a result was in minutes only once it was deleted: the next roll-up takes in all that are there.
    op.execute(
        "UPDATE sources SET pruned_ns = coalesce("
        "(SELECT max(t_ns) + 60000000000 FROM minutes WHERE minutes.source = sources.id), "
        "(SELECT max(t_ns) + 3600000000000 FROM hours WHERE hours.source = sources.id), 0)"
    )
