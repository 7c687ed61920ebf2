"""A database of each kind for every test, and a drawn page to put in it.

The store tests run on SQLite and on a real PostgreSQL: a private cluster in a temporary folder,
made from Debian's `postgresql` package where that is installed.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, text

from digitocr.db import export, schema, store, tables
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
SERVER_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _server_program(name: str) -> str | None:
    places = os.pathsep.join([os.environ.get("PATH", ""), *map(str, SERVER_FOLDERS)])
    return shutil.which(name, path=places)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL prefix of a running private cluster, without the name of a database."""
    initdb, pg_ctl = _server_program("initdb"), _server_program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL server not installed")
    folder = Path("/tmp") / f"digitocr-pg-{os.getpid()}"  # a socket's path must be short
    folder.mkdir(mode=0o700)
    as_user: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        as_user = ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    port = _free_port()

    def run(*command: str) -> None:
        done = subprocess.run(
            [*as_user, *command],
            check=False, capture_output=True, text=True, cwd="/", timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    data = str(folder / "data")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        run(
            initdb, "-D", data, "-U", "digitocr", "-A", "trust", "-E", "UTF8", "--no-sync",
            "--locale=C.UTF-8",
        )  # fmt: skip
        log = str(folder / "log")
        # No pipe: the server would hold it open, and the call would wait for ever.
        started = subprocess.run(
            [*as_user, pg_ctl, "-D", data, "-w", "-l", log, "-o", options, "start"],
            check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd="/", timeout=60,
        )  # fmt: skip
        assert started.returncode == 0, Path(log).read_text(encoding="utf-8")
        yield f"postgresql://digitocr@127.0.0.1:{port}/"
        run(pg_ctl, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
            return store.record_decision(
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
