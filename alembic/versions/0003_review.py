"""What the review pages need: items, claims, counts, and how a decision came about.

SQLite cannot change a constraint: there `decisions` is built anew, with its rows, indexes and
triggers. What waits for a person is not worked out here but when review first looks, page by
page (`page_readings.queued`): it follows from the forms.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

APPEND_ONLY = "decisions are kept for good: add a new one instead"
SQLITE_TRIGGERS = (
    f"""CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions
    BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END""",
    f"""CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions
    BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END""",
    f"""CREATE TRIGGER decisions_no_replace BEFORE INSERT ON decisions
    WHEN EXISTS (SELECT 1 FROM decisions WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END""",
)
OLD_COLUMNS = "id, reading_id, glyph_id, verdict, text, reviewer, made_at, audit"
VERDICTS = "'confirmed', 'corrected', 'illegible'"
QUEUES = "queue IN ('group', 'field', 'conflict', 'blind', 'audit')"
SCREENS = "screen IN ('group', 'field', 'conflict', 'blind', 'audit', 'document')"
CHECKS = {
    "text": "(verdict IN ('illegible', 'withdrawn')) = (text IS NULL)",
    "verdict": f"verdict IN ({VERDICTS}, 'withdrawn')",
    "undoes": "verdict <> 'withdrawn' OR undoes IS NOT NULL",
    "screen": SCREENS,
}
OLD_CHECKS = {
    "text": "(verdict = 'illegible') = (text IS NULL)",
    "verdict": f"verdict IN ({VERDICTS})",
}
EVERY_CHECK = {"reviewer": "length(trim(reviewer)) > 0"}
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Widen decisions, and make the tables of the review pages."""
    if _lite():
        _rebuild_decisions([*_old_columns(), *_new_columns()], CHECKS, self_reference=True)
    else:
        for name in OLD_CHECKS:
            op.drop_constraint(op.f(f"ck_decisions_{name}"), "decisions", type_="check")
        for column in _new_columns():
            op.add_column("decisions", column)
        for name, condition in CHECKS.items():
            op.create_check_constraint(op.f(f"ck_decisions_{name}"), "decisions", condition)
        op.create_foreign_key(
            op.f("fk_decisions_undoes_decisions"), "decisions", "decisions", ["undoes"], ["id"]
        )
    _partial_index("decisions", "claim_id")
    op.execute("ALTER TABLE page_readings ADD COLUMN queued BOOLEAN DEFAULT false NOT NULL")
    not_queued = sa.text("NOT queued")
    op.create_index(
        "ix_page_readings_unqueued",
        "page_readings",
        ["id"],
        sqlite_where=not_queued,
        postgresql_where=not_queued,
    )
    _make_items()
    _make_the_rest()


def downgrade() -> None:
    """Drop them again.

    A decision that was withdrawn cannot be told from one that stands without `undoes`, and
    decisions are not deleted: with such a row in it the database stays as it is.
    """
    count = op.get_bind().scalar(
        sa.text("SELECT count(*) FROM decisions WHERE verdict = 'withdrawn'")
    )
    if count:
        raise RuntimeError(f"{count} decisions were withdrawn, which 0002 cannot say")
    for table in (
        "sessions",
        "promotions",
        "saved_queries",
        "seeds",
        "keyings",
        "counts",
        "claims",
        "items",
    ):
        op.drop_table(table)
    op.drop_index("ix_page_readings_unqueued", "page_readings")
    op.execute("ALTER TABLE page_readings DROP COLUMN queued")
    op.drop_index("ix_decisions_claim_id", "decisions")
    if _lite():
        _rebuild_decisions(_old_columns(), OLD_CHECKS, self_reference=False)
        return
    for name in CHECKS:
        op.drop_constraint(op.f(f"ck_decisions_{name}"), "decisions", type_="check")
    for column in _new_columns():
        op.drop_column("decisions", column.name)
    for name, condition in OLD_CHECKS.items():
        op.create_check_constraint(op.f(f"ck_decisions_{name}"), "decisions", condition)


def _lite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _old_columns() -> list[sa.Column]:
    return [
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
    ]


def _new_columns() -> list[sa.Column]:
    return [
        sa.Column("claim_id", sa.Text(), nullable=True),
        sa.Column("screen", sa.Text(), nullable=True),
        sa.Column("shown", sa.Boolean(), nullable=True),
        sa.Column("ms", sa.Integer(), nullable=True),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.Column("followed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("as_written", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("app", sa.Text(), nullable=True),
    ]


def _rebuild_decisions(
    columns: list[sa.Column], checks: dict[str, str], *, self_reference: bool
) -> None:
    """Build the table anew (SQLite). Dropping the old one fires no trigger."""
    references = [("reading_id", "readings"), ("glyph_id", "glyphs")]
    if self_reference:
        references.append(("undoes", "decisions"))
    op.create_table(
        "decisions_new",
        *columns,
        *(
            sa.CheckConstraint(condition, name=op.f(f"ck_decisions_{name}"))
            for name, condition in {**checks, **EVERY_CHECK}.items()
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], [f"{table}.id"], name=op.f(f"fk_decisions_{column}_{table}")
            )
            for column, table in references
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sqlite_autoincrement=True,
    )
    op.execute(f"INSERT INTO decisions_new ({OLD_COLUMNS}) SELECT {OLD_COLUMNS} FROM decisions")
    op.drop_table("decisions")
    op.rename_table("decisions_new", "decisions")
    op.create_index("ix_decisions_reading_id", "decisions", ["reading_id"])
    _partial_index("decisions", "glyph_id")
    for trigger in SQLITE_TRIGGERS:
        op.execute(trigger)


def _partial_index(table: str, column: str) -> None:
    there = sa.text(f"{column} IS NOT NULL")
    op.create_index(
        f"ix_{table}_{column}", table, [column], sqlite_where=there, postgresql_where=there
    )


def _references(table: str, column: str, other: str, ondelete: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name, ondelete=ondelete)


def _make_items() -> None:
    op.create_table(
        "items",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reading_id", sa.Integer(), nullable=False),
        sa.Column("glyph_id", sa.Integer(), nullable=True),
        sa.Column("batch_id", sa.Integer(), nullable=True),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("priority", sa.Double(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("keyed_by", sa.Text(), nullable=True),
        sa.Column("claim_id", sa.Text(), nullable=True),
        sa.Column("claimed_until", TIME, nullable=True),
        sa.CheckConstraint(QUEUES, name=op.f("ck_items_queue")),
        sa.CheckConstraint("state IN ('open', 'done', 'gone')", name=op.f("ck_items_state")),
        sa.CheckConstraint(
            "(claim_id IS NULL) = (claimed_until IS NULL)", name=op.f("ck_items_claimed")
        ),
        _references("items", "reading_id", "readings", "CASCADE"),
        _references("items", "glyph_id", "glyphs", "CASCADE"),
        _references("items", "batch_id", "batches", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
        sqlite_autoincrement=True,
    )
    is_open = sa.text("state = 'open'")
    op.create_index(
        "ix_items_open",
        "items",
        ["queue", "label", "priority"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index("ix_items_reading_id", "items", ["reading_id"])
    op.create_index("ix_items_batch_id", "items", ["batch_id"])
    _partial_index("items", "glyph_id")


def _make_the_rest() -> None:
    op.create_table(
        "claims",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("saved_at", TIME, nullable=True),
        sa.Column("cells", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('open', 'saved', 'released')", name=op.f("ck_claims_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_claims")),
    )
    op.create_table(
        "counts",
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        _references("counts", "batch_id", "batches", "CASCADE"),
        sa.PrimaryKeyConstraint("batch_id", "queue", "label", name=op.f("pk_counts")),
    )
    op.create_table(
        "keyings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reading_id", sa.Integer(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.CheckConstraint(QUEUES, name=op.f("ck_keyings_queue")),
        _references("keyings", "reading_id", "readings", "CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keyings")),
    )
    op.create_index("ix_keyings_reading_id", "keyings", ["reading_id"])
    op.create_table(
        "seeds",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("glyph_id", sa.Integer(), nullable=False),
        sa.Column("shown_as", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("caught", sa.Boolean(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        _references("seeds", "glyph_id", "glyphs", "CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_seeds")),
    )
    op.create_index("ix_seeds_claim_id", "seeds", ["claim_id"])
    op.create_index("ix_seeds_glyph_id", "seeds", ["glyph_id"])
    op.create_table(
        "saved_queries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("filters", sa.Text(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.CheckConstraint("name <> ''", name=op.f("ck_saved_queries_name")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_queries")),
        sa.UniqueConstraint("name", name=op.f("uq_saved_queries_name")),
    )
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("promoted_by", sa.Text(), nullable=False),
        sa.Column("promoted_at", TIME, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "length(trim(promoted_by)) > 0", name=op.f("ck_promotions_promoted_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
