"""What happens to machines: a full disk, a locked or lost database, scans that go away.

Each ends in one clear line with its exit code, or waits until it is over; the same command then
leaves the rows of an undisturbed run.
"""

from __future__ import annotations

import gc
import json
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from digitocr import scans
from digitocr.batch import reading
from digitocr.db import schema

pytestmark = pytest.mark.slow
DATABASE_ERROR, PARTIAL = 14, 3
PAGES = 12
READ = ("process", "scans", "--batch", "night")


@pytest.fixture
def many(workplace, slips) -> Path:
    """Put twelve scans into the folder; more bytes behind its end make a PNG another file."""
    for number in range(4, PAGES + 1):
        slip = (slips / "scans" / f"slip-00{1 + number % 8}.png").read_bytes()
        file = workplace / "scans" / f"slip-{number:03}.png"
        file.write_bytes(slip + b"\0" * (number // 8))
    return workplace


@pytest.fixture
def rows(digitocr) -> Callable[[str], list[str]]:
    """Take the rows of an export, without the time of reading."""

    def take(database: str) -> list[str]:
        done = digitocr("export", "--format", "jsonl", "--database", database)
        assert done.code == 0, done.err
        found = [json.loads(line) | {"read_at": None} for line in done.out.splitlines()]
        return [json.dumps(row, sort_keys=True) for row in found]

    return take


@pytest.fixture
def undisturbed(digitocr, many, rows) -> list[str]:
    url = "sqlite:///undisturbed.db"
    assert digitocr(*READ, "--database", url).code == 0
    found = rows(url)
    assert len(found) == 3 * PAGES
    forget_worker()
    return found


def forget_worker() -> None:
    """Let go of the database that this process keeps open between two commands."""
    worker = vars(reading._kept).pop("worker", None)
    if worker is not None:
        worker.engine.dispose()


def check_line(done, words: str) -> None:
    assert done.code == DATABASE_ERROR, done.err
    assert "Traceback" not in done.err
    line = done.lines[-1]
    assert line.startswith("digitocr: ")
    assert words in line


def check_same(digitocr, database: str, rows, undisturbed: list[str]) -> None:
    """Run the same command again; then there is what there should be, once."""
    forget_worker()
    done = digitocr(*READ, "--database", database)
    assert done.code == 0, done.err
    assert rows(database) == undisturbed
    assert digitocr("db", "check", "--database", database).code == 0
    engine = schema.make_engine(database)
    with engine.connect() as connection:
        passes = connection.execute(
            text("SELECT count(*), count(DISTINCT page_id) FROM page_readings")
        ).one()
        assert tuple(passes) == (PAGES, PAGES)
    engine.dispose()


# ---------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here: it takes root")
    yield folder
    forget_worker()
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_room(
    digitocr, rows, undisturbed, small_disk
):
    url = f"sqlite:///{small_disk / 'digitocr.db'}"
    done = digitocr(*READ, "--database", url)
    check_line(done, "free some space and run again")
    more = ["mount", "-o", "remount,size=64m", str(small_disk)]
    subprocess.run(more, check=True)
    check_same(digitocr, url, rows, undisturbed)


def test_an_export_to_a_full_disk_is_refused_with_one_line(digitocr, workplace, small_disk):
    assert digitocr(*READ).code == 0
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1024))
    for form in ("csv", "xlsx", "parquet", "jsonl"):
        done = digitocr("export", "--format", form, "--out", small_disk / f"x.{form}")
        assert done.code != 0
        assert len(done.lines) == 1 and "No space left" in done.err, done.err


# ---------------------------------------------------------------- a locked database


def locked_for(seconds: float, file: Path, *, after_pages: int) -> threading.Thread:
    """Have another program write to a database for a while, once some pages are stored."""

    def hold() -> None:
        while pages_in(f"sqlite:///{file}") < after_pages:
            time.sleep(0.002)
        with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    return thread


def pages_in(url: str) -> int:
    engine = schema.make_engine(url).execution_options(sqlite_begin="DEFERRED")
    try:
        with engine.connect() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM page_readings")) or 0)
    except Exception:
        return 0  # there is no schema yet
    finally:
        engine.dispose()


def test_a_database_that_is_locked_for_a_while_is_waited_for(digitocr, many, rows, undisturbed):
    holder = locked_for(2.0, many / "night.db", after_pages=2)
    began = time.monotonic()
    done = digitocr(*READ, "--database", "sqlite:///night.db")
    assert done.code == 0, done.err
    assert time.monotonic() - began > 2.0
    holder.join(10)
    check_same(digitocr, "sqlite:///night.db", rows, undisturbed)


@pytest.mark.soak
def test_a_database_that_is_locked_for_a_minute_stops_the_run_with_one_line(
    digitocr, many, rows, undisturbed
):
    holder = locked_for(60.0, many / "night.db", after_pages=2)
    done = digitocr(*READ, "--database", "sqlite:///night.db")
    check_line(done, "another program is writing to it")
    holder.join(90)
    check_same(digitocr, "sqlite:///night.db", rows, undisturbed)


# ---------------------------------------------------------------- a server that goes away


@pytest.fixture
def url(own_server) -> str:
    """A new database on a server that may be stopped."""
    admin = schema.make_engine(own_server.url + "postgres").execution_options(
        isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS night WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE night"))
    admin.dispose()
    return own_server.url + "night"


# The driver says of a connection that broke that nobody closed it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_postgresql_that_stops_under_a_run_stops_it_with_one_line(
    digitocr, rows, undisturbed, own_server, url
):
    def stop() -> None:
        while pages_in(url) < 3:
            time.sleep(0.002)
        own_server.stop()

    stopper = threading.Thread(target=stop, daemon=True)
    stopper.start()
    try:
        done = digitocr(*READ, "--database", url)
        stopper.join(30)
        check_line(done, url.partition("@")[2].partition("/")[0])
        forget_worker()
        check_line(digitocr(*READ, "--database", url), "is the server running")
    finally:
        stopper.join(30)
        own_server.start()
    check_same(digitocr, url, rows, undisturbed)
    forget_worker()
    gc.collect()  # what broke is deleted here, and not in another test


# ---------------------------------------------------------------- scans that go away


@pytest.mark.parametrize("what", ["removed", "emptied", "replaced"])
def test_a_scan_that_goes_before_it_is_opened_is_named_and_read_when_it_is_back(
    digitocr, many, rows, undisturbed, monkeypatch, what
):
    file = many / "scans" / "slip-005.png"
    whole = file.read_bytes()
    open_scan = scans.open_scan

    def spoil_first(path, **how):
        if path.name == "slip-004.png":
            if what == "removed":
                file.unlink()
            else:
                file.write_bytes(b"" if what == "emptied" else whole[: len(whole) // 2])
        return open_scan(path, **how)

    monkeypatch.setattr(scans, "open_scan", spoil_first)
    done = digitocr(*READ)
    assert done.code == PARTIAL
    assert [line.partition(": ")[2].partition(" page")[0] for line in done.lines[-1:]] == [
        "scans/slip-005.png"
    ]
    monkeypatch.undo()
    monkeypatch.setenv("DIGITOCR_WORKERS", "1")
    monkeypatch.chdir(many)
    file.write_bytes(whole)
    digitocr(*READ)
    found = [row for row in rows("sqlite:///digitocr.db") if '"status": "failed"' not in row]
    assert found == undisturbed


@pytest.mark.parametrize("renderer", ["pdfium", "poppler"])
def test_what_is_read_is_what_was_hashed_though_the_file_changes_meanwhile(
    digitocr, workplace, slips, monkeypatch, renderer
):
    if renderer == "poppler" and shutil.which("pdftoppm") is None:
        pytest.skip("pdftoppm is not installed")
    canvas = pytest.importorskip("reportlab.pdfgen.canvas", reason="needs digitocr[print]")
    monkeypatch.setenv("DIGITOCR_PDF_RENDERER", renderer)
    folder = workplace / "papers"
    folder.mkdir()

    def pdf(name: str, slip: int) -> bytes:
        """Draw a slip with a line beside it: the page is drawn, and not taken as it is."""
        width, height = 480 * 0.72, 360 * 0.72
        page = canvas.Canvas(str(folder / name), pagesize=(width, height))
        page.drawImage(slips / "scans" / f"slip-00{slip}.png", 0, 0, width, height)
        page.line(1, 1, 2, 1)
        page.save()
        return (folder / name).read_bytes()

    pdf("a.pdf", 1)
    other = pdf("b.pdf", 2)
    (folder / "b.pdf").unlink()
    digitocr("process", "papers", "--database", "sqlite:///quiet.db")
    forget_worker()
    open_scan = scans.open_scan

    def change_after(path, **how):
        opened = open_scan(path, **how)
        path.write_bytes(other)
        return opened

    monkeypatch.setattr(scans, "open_scan", change_after)
    digitocr("process", "papers", "--database", "sqlite:///changed.db")

    def read(file: str) -> list[tuple]:
        with closing(sqlite3.connect(file)) as connection:
            return connection.execute(
                "SELECT d.sha256, f.field, f.text FROM documents d JOIN pages p "
                "ON p.document_id = d.id JOIN page_readings r ON r.page_id = p.id "
                "JOIN readings f ON f.page_reading_id = r.id ORDER BY f.field"
            ).fetchall()

    assert read("changed.db") == read("quiet.db")
    assert len(read("quiet.db")) == 3
