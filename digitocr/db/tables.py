"""SQLAlchemy tables.

```
batches ──┐                     models ─────────┐
          arrivals              forms ────────┐ │
documents ┘                                   │ │
   └── pages ── page_readings (a row a pass) ─┴─┘
                   └── readings (a row a field) ── glyphs
                          ├── decisions (append-only)
                          ├── items (what waits for a person) ── claims (who has it)
                          └── keyings, seeds (read blind; shown wrong on purpose)
```

Beside them: `counts` (how many items wait, by batch, queue and label, so that no page counts a
million rows), `work` (who decided how much, likewise), `sessions`, `saved_queries`, `samples`
(digits drawn and kept), `exports` (what was taken out, and when), and `promotions` (which model
reads from now on). Of the runs that read there are `tries` (files that a process
may have died over), `watched` (files of a watched folder, each claimed by one run) and
`measures` (a batch in figures, to compare).
`purges` say when personal data were taken out, and by whom.

JSON is kept as text, not in the databases' own types: one form on both, comparable, and handed
to an export as it is. On PostgreSQL `reasons::jsonb` is there for who wants to look inside.

`readings.accepted` is a generated column: the database derives it from `reasons`, so the two
cannot disagree, and still it can be asked for and indexed on both databases. Not chosen: a
stored flag (could disagree), or a comparison in every query (no index, easily forgotten).

`readings.sure_from` says how far an audit of the reading speaks: from this confidence on no
reading of its type was held back, in that pass, as not sure enough; NULL where that is not
known. Settings change, and what was drawn at one threshold proves nothing of a lower one.

Crops may be NULL, so that pictures can be taken out while the numbers stay. What a purge
leaves of a pass says so in `page_readings.purge_id`: its readings have no text and the reason
`purged`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from digitocr.types import PageStatus, Screen, Verdict

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


Id = Annotated[int, "of what every page has rows of"]


class BatchStatus(StrEnum):
    """How far a batch is; partial: at least one of its pages failed."""

    RUNNING = "running"
    DONE = "done"
    PARTIAL = "partial"


class Queue(StrEnum):
    """What kind of look an item waits for; each has a screen."""

    GROUP = "group"  # one digit among others that were read alike
    FIELD = "field"
    CONFLICT = "conflict"  # a rule does not hold, or two who keyed it do not agree
    BLIND = "blind"  # keyed without seeing the reading, where the form says double_key
    AUDIT = "audit"  # a random share of what was accepted, blind


class ItemState(StrEnum):
    """open: waits; done: decided; gone: the page was read anew, or the field decided else."""

    OPEN = "open"
    DONE = "done"
    GONE = "gone"


class ClaimState(StrEnum):
    """open: someone has it on the screen; saved; released: given back unsaved."""

    OPEN = "open"
    SAVED = "saved"
    RELEASED = "released"


class Json(TypeDecorator[Any]):
    """A value as compact JSON text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class OptionalJson(Json):
    """JSON text, or NULL for None."""

    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else super().process_bind_param(value, dialect)


class UtcTime(TypeDecorator[datetime]):
    """A time with its zone; stored as UTC, and UTC when it comes back, on both databases."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time {value.isoformat()} has no zone; pass one with tzinfo")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _one_of(column: str, words: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _box() -> CheckConstraint:
    return CheckConstraint("box_right > box_left AND box_bottom > box_top", name="box")


def _confidence() -> CheckConstraint:
    return CheckConstraint("confidence >= 0 AND confidence <= 1", name="confidence")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar = {
        str: Text(),
        float: Double(),
        bytes: LargeBinary(),
        Id: BigInteger().with_variant(Integer(), "sqlite"),  # as autoincrement has it there
        datetime: UtcTime(),
    }


class Batch(Base):
    __tablename__ = "batches"
    __table_args__ = (
        UniqueConstraint("name"),
        _one_of("status", BatchStatus),
        CheckConstraint("name <> ''", name="name"),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime]
    status: Mapped[str]
    finished_at: Mapped[datetime | None]


class Document(Base):
    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("sha256"),
        CheckConstraint("length(sha256) = 64", name="sha256"),
        CheckConstraint("page_count >= 0", name="page_count"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    sha256: Mapped[str]
    page_count: Mapped[int]
    media: Mapped[str]


class Arrival(Base):
    __tablename__ = "arrivals"
    __table_args__ = (
        UniqueConstraint("batch_id", "document_id", "source"),
        Index(None, "batch_id", "source", "document_id"),  # the order of an export
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"))
    document_id: Mapped[Id] = mapped_column(
        ForeignKey("documents.id", ondelete="CASCADE"), index=True
    )
    # Ordered by its bytes on both databases, so that the index above has the order.
    source: Mapped[str] = mapped_column(Text().with_variant(Text(collation="C"), "postgresql"))
    received_at: Mapped[datetime]


class Form(Base):
    __tablename__ = "forms"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    version: Mapped[int]
    title: Mapped[str]
    fingerprint: Mapped[str]
    source: Mapped[str]


class Model(Base):
    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("fingerprint"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    fingerprint: Mapped[str]
    card: Mapped[Any] = mapped_column(Json)


class Page(Base):
    __tablename__ = "pages"
    __table_args__ = (
        UniqueConstraint("document_id", "number"),
        CheckConstraint("number >= 1", name="number"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    document_id: Mapped[Id] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    number: Mapped[int]


class PageReading(Base):
    """One pass over a page; the pass with the highest number is the current one."""

    __tablename__ = "page_readings"
    __table_args__ = (
        UniqueConstraint("page_id", "pass_number"),
        _one_of("status", PageStatus),
        CheckConstraint("pass_number >= 1", name="pass_number"),
        CheckConstraint("status <> 'read' OR form_id IS NOT NULL", name="form"),
        CheckConstraint("status <> 'failed' OR cause <> ''", name="cause"),
        Index(
            "ix_page_readings_failed",
            "page_id",
            sqlite_where=text("status = 'failed'"),
            postgresql_where=text("status = 'failed'"),
        ),
        Index(
            "ix_page_readings_unqueued",
            "id",
            sqlite_where=text("NOT queued"),
            postgresql_where=text("NOT queued"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    page_id: Mapped[Id] = mapped_column(ForeignKey("pages.id", ondelete="CASCADE"))
    pass_number: Mapped[int]
    form_id: Mapped[int | None] = mapped_column(ForeignKey("forms.id"), index=True)
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), index=True)
    template_page: Mapped[int | None]
    status: Mapped[str]
    cause: Mapped[str]
    homography: Mapped[Any | None] = mapped_column(OptionalJson)
    residual_mm: Mapped[float | None]
    read_at: Mapped[datetime]
    image: Mapped[bytes | None]
    queued: Mapped[bool] = mapped_column(server_default=false())  # its items were made
    purge_id: Mapped[int | None] = mapped_column(ForeignKey("purges.id"))


class Reading(Base):
    """What the machine read in one field.

    An id is never given twice (AUTOINCREMENT): someone may still have a removed reading on
    the screen.
    """

    __tablename__ = "readings"
    __table_args__ = (
        UniqueConstraint("page_reading_id", "field"),
        _box(),
        _confidence(),
        CheckConstraint("weight > 0", name="weight"),
        CheckConstraint("sure_from >= 0 AND sure_from <= 1", name="sure_from"),
        CheckConstraint("text IS NOT NULL OR length(reasons) > 2", name="accepted_has_text"),
        Index(
            "ix_readings_rejected",
            "page_reading_id",
            sqlite_where=text("NOT accepted"),
            postgresql_where=text("NOT accepted"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    page_reading_id: Mapped[Id] = mapped_column(
        ForeignKey("page_readings.id", ondelete="CASCADE")
    )
    field: Mapped[str]
    position: Mapped[int]
    text: Mapped[str | None]
    confidence: Mapped[float]
    reasons: Mapped[Any] = mapped_column(Json)
    # No reasons is the array [], the only JSON array two characters long. (Compared as text,
    # PostgreSQL would write '[]'::text back, and Alembic see a difference for ever.)
    accepted: Mapped[bool] = mapped_column(Computed("length(reasons) = 2", persisted=True))
    alternatives: Mapped[Any] = mapped_column(Json)
    box_left: Mapped[int]
    box_top: Mapped[int]
    box_right: Mapped[int]
    box_bottom: Mapped[int]
    crop: Mapped[bytes | None]
    weight: Mapped[float]
    sure_from: Mapped[float | None]


class Glyph(Base):
    __tablename__ = "glyphs"
    __table_args__ = (
        UniqueConstraint("reading_id", "position"),
        _box(),
        _confidence(),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    reading_id: Mapped[Id] = mapped_column(ForeignKey("readings.id", ondelete="CASCADE"))
    position: Mapped[int]
    box_left: Mapped[int]
    box_top: Mapped[int]
    box_right: Mapped[int]
    box_bottom: Mapped[int]
    text: Mapped[str]
    confidence: Mapped[float]
    alternatives: Mapped[Any] = mapped_column(Json)
    crop: Mapped[bytes | None]


class Decision(Base):
    """What a person said; a new row for a new mind. Triggers refuse UPDATE and DELETE.

    All but one UPDATE: a purge takes the text out, once, and is named in `purge_id`.
    The highest id is the latest: clocks of two machines may differ, the order of arrival not.
    `audit`: said of a whole field, by who did not see the machine's text. `withdrawn` takes
    the decision in `undoes` back where nothing was said before it; where something was, that
    is said again, with `undoes`. The rest is as in `types.Correction`; of decisions made
    before there were review pages nothing of it is known.
    """

    __tablename__ = "decisions"
    __table_args__ = (
        _one_of("verdict", Verdict),
        CheckConstraint(
            "purge_id IS NOT NULL OR (verdict IN ('illegible', 'withdrawn')) = (text IS NULL)",
            name="text",
        ),
        CheckConstraint("purge_id IS NULL OR text IS NULL", name="purged"),
        CheckConstraint("verdict <> 'withdrawn' OR undoes IS NOT NULL", name="undoes"),
        CheckConstraint("length(trim(reviewer)) > 0", name="reviewer"),
        CheckConstraint("NOT audit OR glyph_id IS NULL", name="audit"),
        _one_of("screen", Screen),
        # For the foreign key. With the many NULLs in it, SQLite would look decisions on
        # fields up by it, all of them for every row of an export.
        Index(
            "ix_decisions_glyph_id",
            "glyph_id",
            sqlite_where=text("glyph_id IS NOT NULL"),
            postgresql_where=text("glyph_id IS NOT NULL"),
        ),
        Index(
            "ix_decisions_claim_id",
            "claim_id",
            sqlite_where=text("claim_id IS NOT NULL"),
            postgresql_where=text("claim_id IS NOT NULL"),
        ),
        Index(
            "ix_decisions_verdict",  # for who asks for fields by what was said of them
            "verdict",
            sqlite_where=text("glyph_id IS NULL"),
            postgresql_where=text("glyph_id IS NULL"),
        ),
        # What was said by who did not see the reading: little, and asked for with every page.
        Index(
            "ix_decisions_audit",
            "reading_id",
            sqlite_where=text("audit = 1"),
            postgresql_where=text("audit"),
        ),
        Index(
            "ix_decisions_blind",
            "reading_id",
            sqlite_where=text("screen = 'blind'"),
            postgresql_where=text("screen = 'blind'"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    reading_id: Mapped[Id] = mapped_column(ForeignKey("readings.id"), index=True)
    glyph_id: Mapped[Id | None] = mapped_column(ForeignKey("glyphs.id"))
    verdict: Mapped[str]
    text: Mapped[str | None]
    reviewer: Mapped[str]
    made_at: Mapped[datetime]
    audit: Mapped[bool] = mapped_column(server_default=false())
    claim_id: Mapped[str | None]
    screen: Mapped[str | None]
    shown: Mapped[bool | None]
    ms: Mapped[int | None]
    undoes: Mapped[Id | None] = mapped_column(ForeignKey("decisions.id"))
    followed: Mapped[bool] = mapped_column(server_default=false())
    as_written: Mapped[bool] = mapped_column(server_default=false())
    app: Mapped[str | None]
    purge_id: Mapped[int | None] = mapped_column(ForeignKey("purges.id"))


class Item(Base):
    """A digit or a field that waits for a person, or did.

    `label` is what it is shown among: a digit, or the name of a form. `keyed_by` may not have
    it: who keyed it before. Claimed until `claimed_until`; later anyone may claim it anew.
    """

    __tablename__ = "items"
    __table_args__ = (
        _one_of("queue", Queue),
        _one_of("state", ItemState),
        CheckConstraint("(claim_id IS NULL) = (claimed_until IS NULL)", name="claimed"),
        Index(
            "ix_items_open",
            "queue",
            "label",
            "priority",
            "id",
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        Index(
            "ix_items_queue",  # for who takes items of any label
            "queue",
            "priority",
            "id",
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        Index(
            "ix_items_glyph_id",
            "glyph_id",
            sqlite_where=text("glyph_id IS NOT NULL"),
            postgresql_where=text("glyph_id IS NOT NULL"),
        ),
        Index(
            "ix_items_claim_id",
            "claim_id",
            sqlite_where=text("state = 'open' AND claim_id IS NOT NULL"),
            postgresql_where=text("state = 'open' AND claim_id IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    reading_id: Mapped[Id] = mapped_column(
        ForeignKey("readings.id", ondelete="CASCADE"), index=True
    )
    glyph_id: Mapped[Id | None] = mapped_column(ForeignKey("glyphs.id", ondelete="CASCADE"))
    batch_id: Mapped[int | None] = mapped_column(
        ForeignKey("batches.id", ondelete="SET NULL"), index=True
    )
    queue: Mapped[str]
    label: Mapped[str]
    priority: Mapped[float]
    state: Mapped[str]
    keyed_by: Mapped[str | None]
    claim_id: Mapped[str | None]
    claimed_until: Mapped[datetime | None]
    drawn_at: Mapped[datetime | None]  # for an audit; NULL also of those drawn before 0006


class Claim(Base):
    """Items that one person has on the screen. The id makes saving it twice once: it is random.

    `cells`: what is shown, in order, as [item, reading, glyph, digit it is shown as]; an item
    of null is a digit shown wrong on purpose.
    """

    __tablename__ = "claims"
    __table_args__ = (
        _one_of("state", ClaimState),
        Index(
            "ix_claims_until",
            "until",
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    reviewer: Mapped[str]
    queue: Mapped[str]
    label: Mapped[str]
    state: Mapped[str]
    made_at: Mapped[datetime]
    until: Mapped[datetime]
    saved_at: Mapped[datetime | None]
    cells: Mapped[Any] = mapped_column(Json)


class Count(Base):
    """How many items of a batch wait in a queue, under a label."""

    __tablename__ = "counts"

    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True
    )
    queue: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    waiting: Mapped[int]


class Keying(Base):
    """What a person keyed of a field without seeing the reading; decides nothing by itself."""

    __tablename__ = "keyings"
    __table_args__ = (_one_of("queue", Queue),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    reading_id: Mapped[Id] = mapped_column(
        ForeignKey("readings.id", ondelete="CASCADE"), index=True
    )
    queue: Mapped[str]
    text: Mapped[str | None]
    reviewer: Mapped[str]
    made_at: Mapped[datetime]


class Seed(Base):
    """A digit that is known, shown under a wrong class; `caught`: the reviewer saw it."""

    __tablename__ = "seeds"

    id: Mapped[Id] = mapped_column(primary_key=True)
    claim_id: Mapped[str] = mapped_column(index=True)
    glyph_id: Mapped[Id] = mapped_column(
        ForeignKey("glyphs.id", ondelete="CASCADE"), index=True
    )
    shown_as: Mapped[str]
    reviewer: Mapped[str]
    caught: Mapped[bool]
    made_at: Mapped[datetime]


class Work(Base):
    """What one person decided without a long pause: counted as it is saved.

    `withdrawn` of it was taken back since. Only what pages of the review said: nothing that
    followed, and nothing that took back.
    """

    __tablename__ = "work"
    __table_args__ = (Index(None, "reviewer", "ended"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    reviewer: Mapped[str]
    began: Mapped[datetime]
    ended: Mapped[datetime]
    digits: Mapped[int]
    fields: Mapped[int]
    changed: Mapped[int]
    withdrawn: Mapped[int]


class Export(Base):
    """Numbers were taken out: who wanted what, and when.

    It holds no decision after `last_decision`; NULL while it is being written, and of one that
    was killed.
    """

    __tablename__ = "exports"
    __table_args__ = (
        CheckConstraint("length(trim(made_by)) > 0", name="made_by"),
        CheckConstraint('(last_decision IS NULL) = ("rows" IS NULL)', name="done"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    begun_at: Mapped[datetime]
    made_by: Mapped[str]
    format: Mapped[str]
    filters: Mapped[Any] = mapped_column(Json)
    last_decision: Mapped[Id | None]
    rows: Mapped[int | None]


class SavedQuery(Base):
    """Filters of the numbers, under a name."""

    __tablename__ = "saved_queries"
    __table_args__ = (UniqueConstraint("name"), CheckConstraint("name <> ''", name="name"))

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    filters: Mapped[Any] = mapped_column(Json)
    made_by: Mapped[str]
    made_at: Mapped[datetime]


class Promotion(Base):
    """A person said which model reads from now on; the highest id stands."""

    __tablename__ = "promotions"
    __table_args__ = (
        CheckConstraint("length(trim(promoted_by)) > 0", name="promoted_by"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str]
    fingerprint: Mapped[str]
    promoted_by: Mapped[str]
    promoted_at: Mapped[datetime]
    note: Mapped[str]


class Purge(Base):
    """Personal data were taken out: who wanted what, when, and how much went.

    `wanted` is what was asked for, with the time that an age came to. A long purge is several
    transactions, and the numbers grow with each. Pages and decisions name their purge.
    """

    __tablename__ = "purges"
    __table_args__ = (
        CheckConstraint("length(trim(purged_by)) > 0", name="purged_by"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    purged_at: Mapped[datetime]
    purged_by: Mapped[str]
    wanted: Mapped[Any] = mapped_column(Json)
    documents: Mapped[int]
    pages: Mapped[int]
    readings: Mapped[int]
    decisions: Mapped[int]


class ReviewSession(Base):
    """A browser that was let in; `id` is the SHA-256 of what its cookie holds.

    `supervisor`: by the link that was printed at the start, and not by one made for somebody.
    """

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    reviewer: Mapped[str]
    made_at: Mapped[datetime]
    supervisor: Mapped[bool] = mapped_column(server_default=false())


class Sample(Base):
    """A digit that somebody drew to try, and kept to learn from; `label` 10: not a digit."""

    __tablename__ = "samples"
    __table_args__ = (CheckConstraint("label BETWEEN 0 AND 10", name="label"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[bytes]
    label: Mapped[int]
    read: Mapped[str]
    made_by: Mapped[str]
    made_at: Mapped[datetime]


class Try(Base):
    """A file that is being read by a run that goes on after another died.

    `page` is the first one that was not stored when it was begun, `deaths` how many processes
    died at that page. The row goes when the file is through.
    """

    __tablename__ = "tries"
    __table_args__ = (UniqueConstraint("source"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    source: Mapped[str]
    page: Mapped[int]
    deaths: Mapped[int]
    process: Mapped[str]
    begun_at: Mapped[datetime]


class WatchedFile(Base):
    """A file of a watched folder, as large and as old as it was: claimed by one run.

    `until`: if it was not done by then, whoever had it is gone, and another run may claim it.
    """

    __tablename__ = "watched"
    __table_args__ = (UniqueConstraint("source", "size", "modified_ns"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    source: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    modified_ns: Mapped[int] = mapped_column(BigInteger)
    run: Mapped[str]
    until: Mapped[datetime]
    done: Mapped[bool]


class Measure(Base):
    """A batch in figures, for each form, as it was when it was closed; sums, not means."""

    __tablename__ = "measures"

    batch_id: Mapped[int] = mapped_column(
        ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True
    )
    form_id: Mapped[int] = mapped_column(ForeignKey("forms.id"), primary_key=True)
    measured_at: Mapped[datetime] = mapped_column(index=True)
    pages: Mapped[int]
    residual_sum: Mapped[float]
    residual_squares: Mapped[float]
    fields: Mapped[int]
    rejected: Mapped[int]
    confidence_sum: Mapped[float]
    confidence_squares: Mapped[float]
