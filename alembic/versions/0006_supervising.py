"""When audits were drawn, who may supervise, digits that were drawn and kept to learn from.

Items are found by indexes that hold their whole order: nothing is sorted to claim some.

Columns are added by SQL where they need no rebuilding of their table on either database.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OPEN = {
    "sqlite_where": sa.text("state = 'open'"),
    "postgresql_where": sa.text("state = 'open'"),
}
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add `items.drawn_at`, unknown so far, `sessions.supervisor`, false, and `samples`."""
    op.add_column("items", sa.Column("drawn_at", TIME, nullable=True))
    op.add_column(
        "sessions",
        sa.Column("supervisor", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.drop_index("ix_items_open", "items")
    op.create_index("ix_items_open", "items", ["queue", "label", "priority", "id"], **OPEN)
    op.create_index("ix_items_queue", "items", ["queue", "priority", "id"], **OPEN)
    op.create_table(
        "samples",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image", sa.LargeBinary(), nullable=False),
        sa.Column("label", sa.Integer(), nullable=False),
        sa.Column("read", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.CheckConstraint("label BETWEEN 0 AND 10", name=op.f("ck_samples_label")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_samples")),
    )


def downgrade() -> None:
    """Take them out again, with the digits that were kept."""
    op.drop_table("samples")
    op.drop_index("ix_items_queue", "items")
    op.drop_index("ix_items_open", "items")
    op.create_index("ix_items_open", "items", ["queue", "label", "priority"], **OPEN)
    op.drop_column("sessions", "supervisor")
    op.drop_column("items", "drawn_at")
