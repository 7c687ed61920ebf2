"""Exports and people's work are written down; what a page shows is found by an index.

What an export holds must be known before a page is taken back. Who did how much is counted as
it is saved, so that a page need not count decisions: `work` is filled from those there are.

Names of scans are ordered by their bytes on PostgreSQL too, as an export orders them.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
WIDE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PAUSE = timedelta(minutes=30)


def upgrade() -> None:
    """Add `exports` and `work`, and six indexes."""
    op.create_table(
        "exports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("begun_at", TIME, nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("filters", sa.Text(), nullable=False),
        sa.Column("last_decision", WIDE, nullable=True),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.CheckConstraint("length(trim(made_by)) > 0", name=op.f("ck_exports_made_by")),
        sa.CheckConstraint(
            '(last_decision IS NULL) = ("rows" IS NULL)', name=op.f("ck_exports_done")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
    )
    work = op.create_table(
        "work",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("began", TIME, nullable=False),
        sa.Column("ended", TIME, nullable=False),
        sa.Column("digits", sa.Integer(), nullable=False),
        sa.Column("fields", sa.Integer(), nullable=False),
        sa.Column("changed", sa.Integer(), nullable=False),
        sa.Column("withdrawn", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work")),
    )
    op.create_index("ix_work_reviewer_ended", "work", ["reviewer", "ended"])
    if op.get_context().dialect.name == "postgresql":
        op.execute('ALTER TABLE arrivals ALTER COLUMN source TYPE text COLLATE "C"')
    op.create_index(
        "ix_arrivals_batch_id_source_document_id",
        "arrivals",
        ["batch_id", "source", "document_id"],
    )
    lite = op.get_context().dialect.name == "sqlite"
    _index_where("ix_decisions_verdict", "decisions", "verdict", "glyph_id IS NULL")
    _index_where(
        "ix_decisions_audit", "decisions", "reading_id", "audit = 1" if lite else "audit"
    )
    _index_where("ix_decisions_blind", "decisions", "reading_id", "screen = 'blind'")
    _index_where(
        "ix_items_claim_id", "items", "claim_id", "state = 'open' AND claim_id IS NOT NULL"
    )
    _index_where("ix_claims_until", "claims", "until", "state = 'open'")
    rows = _work_so_far()
    if rows:
        op.bulk_insert(work, rows)


def downgrade() -> None:
    """Take them out again."""
    op.drop_index("ix_claims_until", "claims")
    op.drop_index("ix_items_claim_id", "items")
    op.drop_index("ix_decisions_blind", "decisions")
    op.drop_index("ix_decisions_audit", "decisions")
    op.drop_index("ix_decisions_verdict", "decisions")
    op.drop_index("ix_arrivals_batch_id_source_document_id", "arrivals")
    if op.get_context().dialect.name == "postgresql":
        op.execute('ALTER TABLE arrivals ALTER COLUMN source TYPE text COLLATE "default"')
    op.drop_table("work")
    op.drop_table("exports")


def _index_where(name: str, table: str, column: str, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, [column], sqlite_where=condition, postgresql_where=condition)


def _work_so_far() -> list[dict[str, object]]:
    """Count the decisions of each person by stretches between pauses."""
    d = sa.table(
        "decisions",
        *(sa.column(name) for name in ("id", "reviewer", "claim_id", "glyph_id", "verdict")),
        sa.column("made_at", TIME), sa.column("ms"), sa.column("undoes"), sa.column("screen"),
        sa.column("followed", sa.Boolean()),
    )  # fmt: skip
    undone = sa.select(d.c.undoes).where(d.c.undoes.is_not(None))
    pages = (
        sa.select(
            d.c.reviewer,
            sa.func.min(d.c.made_at, type_=TIME),
            sa.func.max(d.c.made_at, type_=TIME),
            sa.func.max(sa.func.coalesce(d.c.ms, 0)),
            sa.func.sum(sa.case((d.c.glyph_id.is_not(None), 1), else_=0)),
            sa.func.sum(sa.case((d.c.glyph_id.is_(None), 1), else_=0)),
            sa.func.sum(sa.case((d.c.verdict != "confirmed", 1), else_=0)),
            sa.func.sum(sa.case((d.c.id.in_(undone), 1), else_=0)),
        )
        .where(d.c.undoes.is_(None), ~d.c.followed, d.c.screen.is_not(None))
        .group_by(d.c.reviewer, d.c.claim_id)
        .order_by(d.c.reviewer, sa.func.min(d.c.made_at))
    )
    names = ("digits", "fields", "changed", "withdrawn")
    found: list[dict[str, object]] = []
    for who, first, last, ms, *counts in op.get_bind().execute(pages):
        began = first - timedelta(milliseconds=min(ms, 3_600_000))
        before = found[-1] if found else None
        new = dict(zip(names, map(int, counts), strict=True))
        if before is None or before["reviewer"] != who or began - before["ended"] > PAUSE:
            found.append({"reviewer": who, "began": began, "ended": last, **new})
            continue
        before["began"] = min(before["began"], began)
        before["ended"] = max(before["ended"], last)
        for name in names:
            before[name] += new[name]
    return found
