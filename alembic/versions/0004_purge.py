"""Purges: values and crops out on purpose, with a row that says so.

Decisions are kept for good but for this: their text may go, once, with the purge named and
everything else as it was. The triggers allow no other change. SQLite cannot change a
constraint: there `decisions` is built anew, with its rows, indexes and triggers.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

APPEND_ONLY = "decisions are kept for good: add a new one instead"
OLD_COLUMNS = (
    "id", "reading_id", "glyph_id", "verdict", "text", "reviewer", "made_at", "audit",
    "claim_id", "screen", "shown", "ms", "undoes", "followed", "as_written", "app",
)  # fmt: skip
SAME = tuple(column for column in OLD_COLUMNS if column != "text")
TEXT = "(verdict IN ('illegible', 'withdrawn')) = (text IS NULL)"
TEXT_OR_PURGED = (
    "purge_id IS NOT NULL OR (verdict IN ('illegible', 'withdrawn')) = (text IS NULL)"
)
PURGED = "purge_id IS NULL OR text IS NULL"
CHECKS = {
    "verdict": "verdict IN ('confirmed', 'corrected', 'illegible', 'withdrawn')",
    "undoes": "verdict <> 'withdrawn' OR undoes IS NOT NULL",
    "screen": "screen IN ('group', 'field', 'conflict', 'blind', 'audit', 'document')",
    "reviewer": "length(trim(reviewer)) > 0",
}
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make `purges`, and name them where something was purged."""
    op.create_table(
        "purges",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("purged_at", TIME, nullable=False),
        sa.Column("purged_by", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("readings", sa.Integer(), nullable=False),
        sa.Column("decisions", sa.Integer(), nullable=False),
        sa.CheckConstraint("length(trim(purged_by)) > 0", name=op.f("ck_purges_purged_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purges")),
        sqlite_autoincrement=True,
    )
    op.execute(
        "ALTER TABLE page_readings ADD COLUMN purge_id INTEGER "
        "CONSTRAINT fk_page_readings_purge_id_purges REFERENCES purges (id)"
    )
    if _lite():
        _rebuild_decisions(with_purges=True)
        op.execute(
            f"""CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions
            WHEN NOT ({_purges_only("IS")})
            BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"""
        )
        return
    op.execute(
        "ALTER TABLE decisions ADD COLUMN purge_id INTEGER "
        "CONSTRAINT fk_decisions_purge_id_purges REFERENCES purges (id)"
    )
    op.drop_constraint(op.f("ck_decisions_text"), "decisions", type_="check")
    op.create_check_constraint(op.f("ck_decisions_text"), "decisions", TEXT_OR_PURGED)
    op.create_check_constraint(op.f("ck_decisions_purged"), "decisions", PURGED)
    op.execute("DROP TRIGGER decisions_no_update ON decisions")
    op.execute(
        f"""CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions
        FOR EACH ROW WHEN (NOT ({_purges_only("IS NOT DISTINCT FROM")}))
        EXECUTE FUNCTION decisions_append_only()"""
    )


def downgrade() -> None:
    """Take it back; a database in which something was purged stays as it is.

    Without `purge_id` a text that was taken out could not be told from one nobody could read.
    """
    count = op.get_bind().scalar(sa.text("SELECT count(*) FROM purges"))
    if count:
        raise RuntimeError(f"there were {count} purges, which 0003 cannot say")
    if _lite():
        _rebuild_decisions(with_purges=False)
        op.execute(
            f"""CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions
            BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"""
        )
    else:
        op.execute("DROP TRIGGER decisions_no_update ON decisions")
        op.drop_constraint(op.f("ck_decisions_purged"), "decisions", type_="check")
        op.drop_constraint(op.f("ck_decisions_text"), "decisions", type_="check")
        op.create_check_constraint(op.f("ck_decisions_text"), "decisions", TEXT)
        op.drop_column("decisions", "purge_id")
        op.execute(
            """CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions
            FOR EACH ROW EXECUTE FUNCTION decisions_append_only()"""
        )
    op.execute("ALTER TABLE page_readings DROP COLUMN purge_id")
    op.drop_table("purges")


def _lite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _purges_only(equal: str) -> str:
    """Say, in SQL, that an update takes the text out, once, and changes nothing else."""
    same = " AND ".join(f"NEW.{column} {equal} OLD.{column}" for column in SAME)
    return f"OLD.purge_id IS NULL AND NEW.purge_id IS NOT NULL AND NEW.text IS NULL AND {same}"


def _rebuild_decisions(*, with_purges: bool) -> None:
    """Build the table anew (SQLite), all triggers but that on updates. No trigger fires."""
    columns = [
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reading_id", sa.Integer(), nullable=False),
        sa.Column("glyph_id", sa.Integer(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        # Its check stands in the column: so 0002 can drop the one with the other.
        sa.Column(
            "audit",
            sa.Boolean(),
            sa.CheckConstraint(
                "NOT audit OR glyph_id IS NULL", name=op.f("ck_decisions_audit")
            ),
            server_default=sa.false(),
            nullable=False,
        ),
        sa.Column("claim_id", sa.Text(), nullable=True),
        sa.Column("screen", sa.Text(), nullable=True),
        sa.Column("shown", sa.Boolean(), nullable=True),
        sa.Column("ms", sa.Integer(), nullable=True),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.Column("followed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("as_written", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("app", sa.Text(), nullable=True),
    ]
    checks = {"text": TEXT, **CHECKS}
    references = {"reading_id": "readings", "glyph_id": "glyphs", "undoes": "decisions"}
    if with_purges:
        columns.append(sa.Column("purge_id", sa.Integer(), nullable=True))
        checks |= {"text": TEXT_OR_PURGED, "purged": PURGED}
        references["purge_id"] = "purges"
    op.create_table(
        "decisions_new",
        *columns,
        *(
            sa.CheckConstraint(condition, name=op.f(f"ck_decisions_{name}"))
            for name, condition in checks.items()
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_decisions_{column}_{table}")
            )
            for column, table in references.items()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sqlite_autoincrement=True,
    )
    kept = ", ".join(OLD_COLUMNS)
    op.execute(f"INSERT INTO decisions_new ({kept}) SELECT {kept} FROM decisions")
    op.drop_table("decisions")
    op.rename_table("decisions_new", "decisions")
    op.create_index("ix_decisions_reading_id", "decisions", ["reading_id"])
    for column in ("glyph_id", "claim_id"):
        op.create_index(
            f"ix_decisions_{column}",
            "decisions",
            [column],
            sqlite_where=sa.text(f"{column} IS NOT NULL"),
        )
    op.execute(
        f"""CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions
        BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"""
    )
    op.execute(
        f"""CREATE TRIGGER decisions_no_replace BEFORE INSERT ON decisions
        WHEN EXISTS (SELECT 1 FROM decisions WHERE id = NEW.id)
        BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"""
    )
