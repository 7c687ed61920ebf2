"""Audits: decisions made blind on accepted readings, and from which confidence on they speak.

Written as SQL, because a column that comes with its own constraint is one statement on both
databases, and SQLite adds it without rebuilding the table: its rows and triggers stay.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add `decisions.audit`, false so far, and `readings.sure_from`, unknown so far."""
    op.execute(
        "ALTER TABLE decisions ADD COLUMN audit BOOLEAN DEFAULT false NOT NULL "
        "CONSTRAINT ck_decisions_audit CHECK (NOT audit OR glyph_id IS NULL)"
    )
    double = sa.Double().compile(dialect=op.get_context().dialect)
    op.execute(
        f"ALTER TABLE readings ADD COLUMN sure_from {double} "
        "CONSTRAINT ck_readings_sure_from CHECK (sure_from >= 0 AND sure_from <= 1)"
    )


def downgrade() -> None:
    """Take both out again; that a decision was an audit is then forgotten."""
    op.execute("ALTER TABLE readings DROP COLUMN sure_from")
    op.execute("ALTER TABLE decisions DROP COLUMN audit")
