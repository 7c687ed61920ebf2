"""The first schema: batches, documents, forms, models, readings and decisions."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


APPEND_ONLY = "decisions are kept for good: add a new one instead"
SQLITE_TRIGGERS = (
    f"""CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions
    BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END""",
    f"""CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions
    BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END""",
    # INSERT OR REPLACE would take the old row away without firing the trigger above.
    f"""CREATE TRIGGER decisions_no_replace BEFORE INSERT ON decisions
    WHEN EXISTS (SELECT 1 FROM decisions WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END""",
)
POSTGRESQL_TRIGGERS = (
    f"""CREATE FUNCTION decisions_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION '{APPEND_ONLY}' USING ERRCODE = 'integrity_constraint_violation';
    END $$""",
    """CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions
    FOR EACH ROW EXECUTE FUNCTION decisions_append_only()""",
    """CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions
    FOR EACH ROW EXECUTE FUNCTION decisions_append_only()""",
    """CREATE TRIGGER decisions_no_truncate BEFORE TRUNCATE ON decisions
    FOR EACH STATEMENT EXECUTE FUNCTION decisions_append_only()""",
)


def upgrade() -> None:
    """Make tables, indexes and the triggers that keep decisions."""
    op.create_table(
        "batches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'running') = (finished_at IS NULL)", name=op.f("ck_batches_finished")
        ),
        sa.CheckConstraint("name <> ''", name=op.f("ck_batches_name")),
        sa.CheckConstraint(
            "status IN ('running', 'done', 'partial')", name=op.f("ck_batches_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("name", name=op.f("uq_batches_name")),
    )
    op.create_table(
        "documents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("page_count", sa.Integer(), nullable=False),
        sa.Column("media", sa.Text(), nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name=op.f("ck_documents_sha256")),
        sa.CheckConstraint("page_count >= 0", name=op.f("ck_documents_page_count")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
        sa.UniqueConstraint("sha256", name=op.f("uq_documents_sha256")),
    )
    op.create_table(
        "forms",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forms")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_forms_name_version")),
    )
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_models_fingerprint")),
    )
    op.create_table(
        "arrivals",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Integer(), nullable=False),
        sa.Column("document_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"],
            ["batches.id"],
            name=op.f("fk_arrivals_batch_id_batches"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
            name=op.f("fk_arrivals_document_id_documents"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arrivals")),
        sa.UniqueConstraint(
            "batch_id",
            "document_id",
            "source",
            name=op.f("uq_arrivals_batch_id_document_id_source"),
        ),
    )
    op.create_index("ix_arrivals_document_id", "arrivals", ["document_id"])

    op.create_table(
        "pages",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("document_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.CheckConstraint("number >= 1", name=op.f("ck_pages_number")),
        sa.ForeignKeyConstraint(
            ["document_id"],
            ["documents.id"],
            name=op.f("fk_pages_document_id_documents"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pages")),
        sa.UniqueConstraint("document_id", "number", name=op.f("uq_pages_document_id_number")),
    )
    op.create_table(
        "page_readings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("page_id", sa.Integer(), nullable=False),
        sa.Column("pass_number", sa.Integer(), nullable=False),
        sa.Column("form_id", sa.Integer(), nullable=True),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("template_page", sa.Integer(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("homography", sa.Text(), nullable=True),
        sa.Column("residual_mm", sa.Double(), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("image", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "status <> 'failed' OR cause <> ''", name=op.f("ck_page_readings_cause")
        ),
        sa.CheckConstraint(
            "status <> 'read' OR form_id IS NOT NULL", name=op.f("ck_page_readings_form")
        ),
        sa.CheckConstraint(
            "status IN ('read', 'blank', 'ignored', 'failed')",
            name=op.f("ck_page_readings_status"),
        ),
        sa.CheckConstraint("pass_number >= 1", name=op.f("ck_page_readings_pass_number")),
        sa.ForeignKeyConstraint(
            ["form_id"], ["forms.id"], name=op.f("fk_page_readings_form_id_forms")
        ),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_page_readings_model_id_models")
        ),
        sa.ForeignKeyConstraint(
            ["page_id"],
            ["pages.id"],
            name=op.f("fk_page_readings_page_id_pages"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_page_readings")),
        sa.UniqueConstraint(
            "page_id", "pass_number", name=op.f("uq_page_readings_page_id_pass_number")
        ),
    )
    op.create_index(
        "ix_page_readings_failed",
        "page_readings",
        ["page_id"],
        sqlite_where=sa.text("status = 'failed'"),
        postgresql_where=sa.text("status = 'failed'"),
    )
    op.create_index("ix_page_readings_form_id", "page_readings", ["form_id"])
    op.create_index("ix_page_readings_model_id", "page_readings", ["model_id"])

    op.create_table(
        "readings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("page_reading_id", sa.Integer(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column(
            "accepted",
            sa.Boolean(),
            sa.Computed("length(reasons) = 2", persisted=True),
            nullable=False,
        ),
        sa.Column("alternatives", sa.Text(), nullable=False),
        sa.Column("box_left", sa.Integer(), nullable=False),
        sa.Column("box_top", sa.Integer(), nullable=False),
        sa.Column("box_right", sa.Integer(), nullable=False),
        sa.Column("box_bottom", sa.Integer(), nullable=False),
        sa.Column("crop", sa.LargeBinary(), nullable=True),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "box_right > box_left AND box_bottom > box_top", name=op.f("ck_readings_box")
        ),
        sa.CheckConstraint(
            "confidence >= 0 AND confidence <= 1", name=op.f("ck_readings_confidence")
        ),
        sa.CheckConstraint(
            "text IS NOT NULL OR length(reasons) > 2",
            name=op.f("ck_readings_accepted_has_text"),
        ),
        sa.CheckConstraint("weight > 0", name=op.f("ck_readings_weight")),
        sa.ForeignKeyConstraint(
            ["page_reading_id"],
            ["page_readings.id"],
            name=op.f("fk_readings_page_reading_id_page_readings"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_readings")),
        sa.UniqueConstraint(
            "page_reading_id", "field", name=op.f("uq_readings_page_reading_id_field")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_readings_rejected",
        "readings",
        ["page_reading_id"],
        sqlite_where=sa.text("NOT accepted"),
        postgresql_where=sa.text("NOT accepted"),
    )

    op.create_table(
        "glyphs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reading_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("box_left", sa.Integer(), nullable=False),
        sa.Column("box_top", sa.Integer(), nullable=False),
        sa.Column("box_right", sa.Integer(), nullable=False),
        sa.Column("box_bottom", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("alternatives", sa.Text(), nullable=False),
        sa.Column("crop", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "box_right > box_left AND box_bottom > box_top", name=op.f("ck_glyphs_box")
        ),
        sa.CheckConstraint(
            "confidence >= 0 AND confidence <= 1", name=op.f("ck_glyphs_confidence")
        ),
        sa.ForeignKeyConstraint(
            ["reading_id"],
            ["readings.id"],
            name=op.f("fk_glyphs_reading_id_readings"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_glyphs")),
        sa.UniqueConstraint(
            "reading_id", "position", name=op.f("uq_glyphs_reading_id_position")
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("reading_id", sa.Integer(), nullable=False),
        sa.Column("glyph_id", sa.Integer(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(verdict = 'illegible') = (text IS NULL)", name=op.f("ck_decisions_text")
        ),
        sa.CheckConstraint(
            "verdict IN ('confirmed', 'corrected', 'illegible')",
            name=op.f("ck_decisions_verdict"),
        ),
        sa.CheckConstraint("length(trim(reviewer)) > 0", name=op.f("ck_decisions_reviewer")),
        sa.ForeignKeyConstraint(
            ["glyph_id"], ["glyphs.id"], name=op.f("fk_decisions_glyph_id_glyphs")
        ),
        sa.ForeignKeyConstraint(
            ["reading_id"], ["readings.id"], name=op.f("fk_decisions_reading_id_readings")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_decisions_glyph_id",
        "decisions",
        ["glyph_id"],
        sqlite_where=sa.text("glyph_id IS NOT NULL"),
        postgresql_where=sa.text("glyph_id IS NOT NULL"),
    )
    op.create_index("ix_decisions_reading_id", "decisions", ["reading_id"])
    lite = op.get_context().dialect.name == "sqlite"
    for trigger in SQLITE_TRIGGERS if lite else POSTGRESQL_TRIGGERS:
        op.execute(trigger)


def downgrade() -> None:
    """Drop everything, with what is in it."""
    for table in (
        "decisions",
        "glyphs",
        "readings",
        "page_readings",
        "pages",
        "arrivals",
        "models",
        "forms",
        "documents",
        "batches",
    ):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION decisions_append_only()")
