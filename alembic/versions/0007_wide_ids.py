"""Ids of what every page has rows of are 64 bits wide (PostgreSQL; on SQLite they are already).

With 32 bits the ids of glyphs end after nine million pages of 240 digits.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TRIGGERS = """
SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger
WHERE tgrelid = 'decisions'::regclass AND NOT tgisinternal ORDER BY tgname
"""
WIDE = {
    "documents": ("id",),
    "arrivals": ("id", "document_id"),
    "pages": ("id", "document_id"),
    "page_readings": ("id", "page_id"),
    "readings": ("id", "page_reading_id"),
    "glyphs": ("id", "reading_id"),
    "decisions": ("id", "reading_id", "glyph_id", "undoes"),
    "items": ("id", "reading_id", "glyph_id"),
    "keyings": ("id", "reading_id"),
    "seeds": ("id", "glyph_id"),
    "tries": ("id",),
    "watched": ("id",),
}


def upgrade() -> None:
    """Widen them: each table is written anew once."""
    _make(sa.BigInteger(), "bigint")


def downgrade() -> None:
    """Narrow them again; fails where an id needs more."""
    _make(sa.Integer(), "integer")


def _make(type_: sa.types.TypeEngine, sequence: str) -> None:
    context = op.get_context()
    if context.dialect.name != "postgresql":
        return
    name = type_.compile(dialect=context.dialect)
    # A column that a trigger looks at keeps its type: they go, and come back as they were.
    triggers = op.get_bind().execute(sa.text(TRIGGERS)).all()
    for trigger, _ in triggers:
        op.execute(f"DROP TRIGGER {trigger} ON decisions")
    for table, columns in WIDE.items():
        changes = ", ".join(f"ALTER COLUMN {column} TYPE {name}" for column in columns)
        op.execute(f"ALTER TABLE {table} {changes}")
        op.execute(f"ALTER SEQUENCE {table}_id_seq AS {sequence}")
    for _, definition in triggers:
        op.execute(definition)
