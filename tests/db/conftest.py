"""A database of each kind for every test, and a drawn page to put in it.

The store tests run on SQLite and on a real PostgreSQL: a private cluster in a temporary folder,
made from Debian's `postgresql` package where that is installed.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, select, text

from digitocr import templates
from digitocr.db import (
    claims,
    deciding,
    decisions,
    export,
    items,
    review,
    schema,
    store,
    tables,
    undoing,
)
from digitocr.db.tables import Queue
from digitocr.templates import FormTemplate
from digitocr.types import (
    Box,
    Correction,
    Document,
    Field,
    FieldKind,
    FieldReading,
    FieldType,
    GlyphReading,
    Hypothesis,
    ModelCard,
    PageReading,
    PageStatus,
    PageTemplate,
    Reason,
    Verdict,
)

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
MODEL = ModelCard(
    name="small",
    classes=tuple("0123456789"),
    size=28,
    temperature=1.5,
    normalization="mass",
    trained_on=("mnist",),
    metrics={"accuracy": 0.99},
    fingerprint="f" * 64,
)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("db") / "migrated.db"
    schema.connect(f"sqlite:///{path}", create=True).dispose()
    return path


@pytest.fixture(scope="session")
def postgres_database(cluster: str) -> Iterator[Callable[..., str]]:
    """Make databases in the cluster: copies of a migrated one, or empty ones."""
    admin = schema.make_engine(cluster + "postgres").execution_options(
        isolation_level="AUTOCOMMIT"
    )
    numbers = itertools.count()

    def make(template: str = "migrated") -> str:
        name = f"test_{next(numbers)}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        return cluster + name

    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE migrated"))
    schema.connect(cluster + "migrated", create=True).dispose()
    yield make
    admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("postgres_database")("template0"))


@pytest.fixture(scope="session")
def shared_database(postgres_database: Callable[..., str]) -> Iterator[Callable[[], str]]:
    """Empty one migrated database again and again: a new one each test is slow."""
    shared = postgres_database()
    engine = schema.make_engine(shared)

    def empty() -> str:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
            for table in tables.Base.metadata.tables:
                connection.execute(text(f"DELETE FROM {table}"))
        return shared

    yield empty
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def own_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database whose schema the test may change."""
    if request.param == "sqlite":
        path = tmp_path / "test.db"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        return f"sqlite:///{path}"
    return str(request.getfixturevalue("postgres_database")())


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        path = tmp_path / "test.db"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        return f"sqlite:///{path}"
    return str(request.getfixturevalue("shared_database")())


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = schema.connect(url, create=False)
    yield engine
    engine.dispose()


def draw_form(
    *, version: int = 1, name: str = "tally", fingerprint: str = "a", fields: str = ""
) -> FormTemplate:
    return FormTemplate(
        name=name,
        version=version,
        title="Tally sheet",
        pages=(PageTemplate(number=1, width=100, height=100, dpi=100),),
        fields=(),
        rules=(),
        fingerprint=fingerprint * 64,
        source=f'name = "{name}"\n{fields}',
    )


def draw_field(name: str, *, top: int = 0) -> Field:
    return Field(
        name=name,
        page=1,
        box=Box(5, 10 + top, 85, 40 + top),
        kind=FieldKind.BOXED,
        type=FieldType.INTEGER,
        weight=2.0,
    )


def draw_reading(
    name: str,
    value: str | None,
    *,
    reasons: tuple[str, ...] = (),
    document: str = "d",
    page: int = 1,
    glyph_count: int | None = None,
) -> FieldReading:
    rng = np.random.default_rng(len(value or ""))
    hypotheses = (
        () if value is None else (Hypothesis(value, 0.98), Hypothesis(value + "1", 0.015))
    )
    digits = (value or "") if glyph_count is None else "5" * glyph_count
    return FieldReading(
        hypotheses=hypotheses,
        glyphs=tuple(
            GlyphReading(
                box=Box(5 + 10 * i, 10, 14 + 10 * i, 40),
                hypotheses=(Hypothesis(digit, 0.99), Hypothesis("7", 0.01)),
                image=rng.integers(0, 256, (30, 20), np.uint8),
            )
            for i, digit in enumerate(digits)
        ),
        reasons=reasons,
        model=MODEL.name,
        document=document * 64,
        page=page,
        field=draw_field(name),
        template="tally",
        version=1,
        image=rng.integers(0, 256, (40, 120), np.uint8),
    )


def draw_page(
    *readings: FieldReading,
    document: str = "d",
    page: int = 1,
    status: PageStatus = PageStatus.READ,
    cause: str = "",
    template: str | None = "tally",
    version: int | None = 1,
) -> PageReading:
    return PageReading(
        document=document * 64,
        page=page,
        status=status,
        cause=cause,
        template=template if status is PageStatus.READ else None,
        version=version if status is PageStatus.READ else None,
        template_page=1 if status is PageStatus.READ else None,
        homography=np.eye(3) if status is PageStatus.READ else None,
        residual_mm=0.25 if status is PageStatus.READ else None,
        readings=readings,
    )


SOME = (
    draw_reading("votes", "0471"),
    draw_reading("valid", "57", reasons=(Reason.LOW_CONFIDENCE,)),
    draw_reading("void", ""),
    draw_reading("total", None, reasons=(Reason.UNREADABLE,)),
)


class Desk:
    """What the tests do again and again, each in its own transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def arrive(
        self, batch: str = "monday", source: str = "scans/a.png", document: str = "d"
    ) -> bool:
        with schema.writing(self.engine) as session:
            store.open_batch(session, batch, NOON)
            store.register_form(session, draw_form())
            store.register_model(session, MODEL)
            known = Document(sha256=document * 64, page_count=2)
            return store.add_arrival(session, batch, source, known, ".png", NOON)

    def save(self, page: PageReading, **options: Any) -> bool:
        with schema.writing(self.engine) as session:
            return store.save_page(
                session, page, **{"model": MODEL.fingerprint, "now": NOON} | options
            )

    def decide(
        self,
        field: str,
        value: str | None,
        *,
        verdict: Verdict = Verdict.CORRECTED,
        glyph: int | None = None,
        document: str = "d",
        page: int = 1,
        audit: bool = False,
    ) -> int:
        with schema.writing(self.engine) as session:
            (found,) = (
                reading
                for reading in store.load_readings(session, document * 64, page)
                if reading.field == field
            )
            return decisions.record_decision(
                session,
                Correction(
                    reading=found.id,
                    glyph=None if glyph is None else found.glyphs[glyph].id,
                    verdict=verdict,
                    text=value,
                    reviewer="ana",
                    made_at=NOON,
                    audit=audit,
                ),
            )

    def rows(self, **filters: Any) -> Any:
        with schema.reading(self.engine) as session:
            return export.rows(session, **filters)


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


@pytest.fixture
def draw() -> Any:
    """The drawing functions of this file, since tests import no other test file."""

    class Draw:
        form = staticmethod(draw_form)
        reading = staticmethod(draw_reading)
        page = staticmethod(draw_page)
        desk = Desk
        some = SOME
        model = MODEL
        noon = NOON

    return Draw


# What waits for a person

FORM = """\
name = "tally"
version = 1
[[pages]]
width = 100
height = 100
dpi = 100
""" + "".join(
    f"""
[[fields]]
name = "{name}"
box = [5, {10 + 10 * i}, 85, {18 + 10 * i}]
kind = "open"
type = "integer"
{more}
"""
    for i, (name, more) in enumerate(
        [
            ("a", ""),
            ("b", ""),
            ("sum", ""),
            ("small", 'checks = [{rule = "range", max = 50}]'),
            ("twice", "double_key = true"),
        ]
    )
)
FORM += """
[[rules]]
rule = "sum"
of = ["a", "b"]
equals = "sum"
"""
LOW = (Reason.LOW_CONFIDENCE,)


@dataclass
class Floor:
    """A database with pages of the form above, and one person at a time."""

    engine: Engine
    draw: Any
    now: Any
    count: int = 0

    def read(self, *fields: Any, document: str = "d") -> None:
        """Store a page; a field is (name, text, reasons, confidences of its digits)."""
        with schema.writing(self.engine) as session:
            self._store(session, fields, document)
        self.fill()

    def _store(self, session: Any, fields: Any, document: str) -> None:
        form = replace(templates.from_source(FORM), fingerprint="a" * 64, title="Tally")
        known = {field.name: field for field in form.fields}
        readings = []
        for name, value, reasons, sure in fields:
            drawn = self.draw.reading(name, value, reasons=reasons, document=document)
            glyphs = tuple(
                GlyphReading(g.box, (Hypothesis(g.text, c), Hypothesis("7", 1 - c)), g.image)
                for g, c in zip(drawn.glyphs, sure, strict=False)
            )
            best = () if value is None else (Hypothesis(value, 0.985),)
            readings.append(replace(drawn, field=known[name], glyphs=glyphs, hypotheses=best))
        store.open_batch(session, "monday", self.now)
        store.register_form(session, form)
        store.register_model(session, self.draw.model)
        store.add_arrival(
            session, "monday", f"{document}.png", Document(document * 64, 1), "png", self.now
        )
        store.save_page(
            session, self.draw.page(*readings, document=document),
            model=self.draw.model.fingerprint, now=self.now, again=True,
        )  # fmt: skip

    def fill(self) -> None:
        with schema.writing(self.engine) as session:
            while items.fill(session):
                pass

    def many(self, count: int, value: str = "5") -> None:
        """Store `count` pages with one doubtful digit each."""
        with schema.writing(self.engine) as session:
            for number in range(count):
                doubtful = ("a", value, LOW, [0.5 + number / 1000])
                self._store(session, [doubtful], chr(0x100 + number))
        self.fill()

    def waiting(self) -> dict[tuple[str, str], int]:
        with schema.reading(self.engine) as session:
            return {(w.queue, w.label): w.number for w in review.waiting(session)}

    def take(
        self, queue: Queue, label: str | None = None, who: str = "ana", **more: Any
    ) -> Any:
        with schema.writing(self.engine) as session:
            more = {"now": self.now, "limit": 200} | more
            return claims.take(session, queue, label=label, reviewer=who, **more)

    def save(self, claim: Any, marks: dict[int, str] | None = None, who: str = "ana",
             **more: Any) -> Any:  # fmt: skip
        with schema.writing(self.engine) as session:
            more = {"now": self.now} | more
            return deciding.save_group(session, claim.id, marks or {}, reviewer=who, **more)

    def undo(self, claim: Any, who: str = "ana", **more: Any) -> Any:
        with schema.writing(self.engine) as session:
            more = {"now": self.now} | more
            return undoing.undo(session, claim.id, reviewer=who, **more)

    def rows(self, **filters: Any) -> Any:
        with schema.reading(self.engine) as session:
            return export.rows(session, **filters)

    def values(self) -> dict[str, tuple[str | None, str]]:
        frame = self.rows().astype(object)
        frame = frame.where(frame.notna(), None)
        return {r["field"]: (r["value"], r["status"]) for r in frame.to_dict("records")}

    def decisions(self) -> list[Any]:
        with schema.reading(self.engine) as session:
            return list(session.scalars(select(tables.Decision).order_by(tables.Decision.id)))


@pytest.fixture
def floor(engine: Engine, draw: Any) -> Floor:
    return Floor(engine, draw, draw.noon)
