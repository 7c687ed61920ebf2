"""What runs leave behind: files one may have died over, claimed files, figures of a batch."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "tries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tries")),
        sa.UniqueConstraint("source", name=op.f("uq_tries_source")),
    )
    op.create_table(
        "watched",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("modified_ns", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watched")),
        sa.UniqueConstraint(
            "source", "size", "modified_ns", name=op.f("uq_watched_source_size_modified_ns")
        ),
    )
    op.create_table(
        "measures",
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("form_id", sa.Integer(), nullable=False),
        sa.Column("measured_at", TIME, nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("residual_sum", sa.Double(), nullable=False),
        sa.Column("residual_squares", sa.Double(), nullable=False),
        sa.Column("fields", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("confidence_sum", sa.Double(), nullable=False),
        sa.Column("confidence_squares", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batches.id"],
            name=op.f("fk_measures_batch_id_batches"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["form_id"], ["forms.id"], name=op.f("fk_measures_form_id_forms")
        ),
        sa.PrimaryKeyConstraint("batch_id", "form_id", name=op.f("pk_measures")),
    )
    op.create_index("ix_measures_measured_at", "measures", ["measured_at"])


def downgrade() -> None:
    """Drop them, with what is in them: nothing of a reading is."""
    for table in ("measures", "watched", "tries"):
        op.drop_table(table)
