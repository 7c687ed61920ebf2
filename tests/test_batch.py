"""A folder of scans into a database: again, changed, killed, by many, and nothing twice.

Pages are slips of three fields (conftest.py): 30 ms each, so that what is tested is the job and
not the reading. Commands run in this process unless the process itself is what is tested.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from digitocr import batch as job
from digitocr import settings
from digitocr.batch.reading import DIED, TOO_LARGE, _cause
from digitocr.batch.surviving import TRIES
from digitocr.db.export import COLUMNS
from digitocr.errors import ScanError
from digitocr.forms.fill import fill_pages, save_pages
from digitocr.templates import FormTemplate

ROOT = Path(__file__).parent.parent
PARTIAL, STOPPED = 3, 130
DATABASE = "digitocr.db"
TABLES = (
    "batches",
    "documents",
    "arrivals",
    "forms",
    "models",
    "pages",
    "page_readings",
    "readings",
    "glyphs",
    "decisions",
)
OF_PAGE = "JOIN documents d ON d.id = p.document_id"
OF_PASS = f"JOIN pages p ON p.id = r.page_id {OF_PAGE}"
OF_FIELD = f"JOIN page_readings r ON r.id = f.page_reading_id {OF_PASS}"
OF_GLYPH = f"JOIN readings f ON f.id = g.reading_id {OF_FIELD}"
MEANING = {  # rows by what they mean: natural keys in the place of ids, and no times
    "batches": "SELECT * FROM batches",
    "documents": "SELECT * FROM documents",
    "arrivals": "SELECT b.name, d.sha256, a.* FROM arrivals a "
    "JOIN documents d ON d.id = a.document_id JOIN batches b ON b.id = a.batch_id",
    "forms": "SELECT * FROM forms",
    "models": "SELECT * FROM models",
    "pages": f"SELECT d.sha256, p.* FROM pages p {OF_PAGE}",
    "page_readings": "SELECT d.sha256, p.number, forms.fingerprint, models.fingerprint, r.* "
    f"FROM page_readings r {OF_PASS} LEFT JOIN forms ON forms.id = r.form_id "
    "JOIN models ON models.id = r.model_id",
    "readings": f"SELECT d.sha256, p.number, r.pass_number, f.* FROM readings f {OF_FIELD}",
    "glyphs": f"SELECT d.sha256, p.number, r.pass_number, f.field, g.* "
    f"FROM glyphs g {OF_GLYPH}",
    "decisions": "SELECT * FROM decisions",
}


def asked(statement: str, database: Path | str = DATABASE) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def count(table: str) -> int:
    return asked(f"SELECT count(*) FROM {table}")[0][0]


def everything(database: Path | str = DATABASE) -> dict[str, list[tuple]]:
    """Take every row of every table as it is."""
    return {table: asked(f"SELECT * FROM {table}", database) for table in TABLES}


def meaning(database: Path | str = DATABASE) -> dict[str, list[str]]:
    """Take every row of every table, but for ids and times."""
    found = {}
    with closing(sqlite3.connect(database)) as connection:
        for table, statement in MEANING.items():
            cursor = connection.execute(statement)
            names = [column[0] for column in cursor.description]
            kept = [
                at
                for at, name in enumerate(names)
                if name != "id" and not name.endswith(("_id", "_at"))
            ]
            found[table] = sorted(repr([row[at] for at in kept]) for row in cursor)
    return found


def exported(digitocr, *words: str) -> list[dict[str, str]]:
    done = digitocr("export", *words)
    assert (done.code, done.err) == (0, "")
    return list(csv.DictReader(io.StringIO(done.out)))


# ---------------------------------------------------------------- again and again


def test_a_folder_is_read_into_rows_with_everything_that_was_seen(digitocr, workplace):
    done = digitocr("process", "scans")
    assert done.code == 0
    assert asked("SELECT status FROM batches") == [("done",)]
    assert count("documents") == count("arrivals") == count("page_readings") == 3
    assert count("readings") == 9
    assert asked("SELECT source FROM arrivals ORDER BY source") == [
        ("scans/slip-001.png",),
        ("scans/slip-002.png",),
        ("scans/slip-003.png",),
    ]
    file = workplace / "scans" / "slip-001.png"
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert asked(f"SELECT media FROM documents WHERE sha256 = '{sha256}'") == [("png",)]


def test_running_twice_adds_nothing(digitocr, workplace):
    digitocr("process", "scans")
    before = everything()
    done = digitocr("process", "scans")
    assert done.code == 0
    assert "3 of 3 files read before." in done.out
    assert everything() == before


def test_running_the_next_day_adds_nothing_either(digitocr, workplace):
    digitocr("process", "scans")
    with closing(sqlite3.connect(DATABASE)) as connection, connection:
        connection.execute("UPDATE batches SET name = 'scans 2020-02-02'")
    before = everything()
    done = digitocr("process", "scans")
    assert (done.code, done.out) == (0, "Nothing new: 3 of 3 files read before.\n")
    assert everything() == before


def test_what_is_new_in_a_folder_is_read_alone(digitocr, workplace, slips):
    digitocr("process", "scans")
    with closing(sqlite3.connect(DATABASE)) as connection, connection:
        connection.execute("UPDATE batches SET name = 'scans 2020-02-02'")
    shutil.copy(slips / "scans" / "slip-004.png", workplace / "scans")
    assert digitocr("process", "scans").code == 0
    assert count("page_readings") == count("arrivals") == 4
    new = "SELECT source FROM arrivals JOIN batches b ON b.id = batch_id WHERE name NOT LIKE"
    assert asked(f"{new} '%2020%'") == [("scans/slip-004.png",)]


def test_a_changed_file_is_a_new_document(digitocr, workplace, slips):
    digitocr("process", "scans")
    shutil.copy(slips / "scans" / "slip-004.png", workplace / "scans" / "slip-001.png")
    assert digitocr("process", "scans").code == 0
    assert count("documents") == count("arrivals") == count("page_readings") == 4
    both = exported(digitocr, "--source", "scans/slip-001.png")
    assert len(both) == 6
    assert len({row["document"] for row in both}) == 2


def test_the_same_bytes_under_two_names_are_read_once_and_arrive_twice(digitocr, workplace):
    scans = workplace / "scans"
    shutil.copy(scans / "slip-001.png", scans / "copy.png")
    assert digitocr("process", "scans").code == 0
    assert (count("documents"), count("arrivals"), count("page_readings")) == (3, 4, 3)
    rows = exported(digitocr)
    assert len(rows) == 12
    first = [row for row in rows if row["source"] == "scans/copy.png"]
    second = [row for row in rows if row["source"] == "scans/slip-001.png"]
    assert [row | {"source": ""} for row in first] == [row | {"source": ""} for row in second]


def test_another_batch_of_the_same_folder_arrives_and_reads_nothing(digitocr, workplace):
    digitocr("process", "scans", "--batch", "monday")
    done = digitocr("process", "scans", "--batch", "tuesday")
    assert done.code == 0
    assert (count("batches"), count("arrivals"), count("page_readings")) == (2, 6, 3)
    assert len(exported(digitocr, "--batch", "tuesday")) == 9
    before = everything()
    digitocr("process", "scans", "--batch", "tuesday")
    assert everything() == before


def test_again_adds_a_pass_and_the_export_stays_one_row_a_field(digitocr, workplace):
    digitocr("process", "scans")
    before = exported(digitocr)
    assert digitocr("process", "scans", "--again").code == 0
    assert asked("SELECT pass_number, count(*) FROM page_readings GROUP BY 1") == [
        (1, 3),
        (2, 3),
    ]
    assert count("readings") == 18
    after = exported(digitocr)
    assert [row | {"read_at": ""} for row in after] == [row | {"read_at": ""} for row in before]


def test_failed_pages_are_left_alone_until_they_are_asked_for(digitocr, workplace):
    (workplace / "scans" / "large.png").write_bytes(
        (workplace / "scans" / "slip-001.png").read_bytes() + b"\0"
    )
    (workplace / "digitocr.toml").write_text("max_residual_mm = 0.0000001\n")
    done = digitocr("process", "scans")
    assert done.code == PARTIAL
    assert len([line for line in done.lines if line.startswith("failed: ")]) == 4
    (workplace / "digitocr.toml").unlink()
    done = digitocr("process", "scans")
    assert done.code == 0
    assert count("readings") == 0
    assert digitocr("process", "scans", "--retry-failed").code == 0
    assert count("readings") == 12
    assert asked("SELECT status FROM batches") == [("done",)]
    assert {row["status"] for row in exported(digitocr)} <= {"accepted", "review"}
    before = everything()
    assert digitocr("process", "scans", "--retry-failed").code == 0
    assert everything() == before


def test_one_bad_page_of_a_file_does_not_lose_the_others(digitocr, workplace, slips):
    pages = [
        np.asarray(Image.open(slips / "scans" / f"slip-00{number}.png").convert("L"))
        for number in (1, 2, 3)
    ]
    letter = np.full((360, 480), 255, np.uint8)
    letter[40:320:14, 40:440] = 0
    save_pages(workplace / "scans" / "many.tif", [pages[0], letter, pages[2]], 100)
    done = digitocr("process", "scans/many.tif")
    assert done.code == PARTIAL
    assert "failed: scans/many.tif page 2: is no page of a known form" in done.err
    statuses = asked("SELECT number, status FROM page_readings JOIN pages p ON p.id = page_id")
    assert sorted(statuses) == [(1, "read"), (2, "failed"), (3, "read")]
    rows = exported(digitocr)
    assert [(row["page"], row["status"] == "failed") for row in rows] == [
        *[("1", False)] * 3,
        ("2", True),
        *[("3", False)] * 3,
    ]
    assert rows[3]["field"] == rows[3]["value"] == ""
    assert json.loads(rows[3]["reasons"])[0].startswith("failed: is no page of a known form")


@pytest.mark.parametrize("place", ["scans/many.tif page 2: ", "scans/many.tif: ", ""])
def test_a_cause_does_not_name_the_place_that_stands_beside_it(place):
    error = ScanError(f"{place}is damaged; scan it again")
    assert _cause(error, Path("scans/many.tif"), 2) == "is damaged; scan it again"


# ---------------------------------------------------------------- what is stored


def test_crops_are_small_pngs_and_pages_are_not_kept(digitocr, workplace):
    digitocr("process", "scans")
    crops = [crop for (crop,) in asked("SELECT crop FROM readings")]
    crops += [crop for (crop,) in asked("SELECT crop FROM glyphs")]
    assert len(crops) > 20
    assert all(crop[:8] == b"\x89PNG\r\n\x1a\n" for crop in crops)
    assert asked("SELECT count(image) FROM page_readings") == [(0,)]


def test_pages_are_kept_as_webp_where_asked(digitocr, workplace):
    digitocr("process", "scans", "--keep-pages")
    for (image,) in asked("SELECT image FROM page_readings"):
        with Image.open(io.BytesIO(image)) as picture:
            assert picture.format == "WEBP"
            assert picture.size == (480, 360)


# ---------------------------------------------------------------- the numbers out


def test_the_export_has_the_promised_columns_and_agrees_with_the_truth(digitocr, workplace):
    digitocr("process", "scans")
    done = digitocr("export")
    assert done.out.splitlines()[0] == ",".join(COLUMNS)
    promised = (
        "batch, source, document, page, form, form_version, field, value, status, reading, "
        "confidence, reasons, alternatives, reviewer, reviewed_at, model, read_at"
    )
    assert ", ".join(COLUMNS) == promised
    for row in csv.DictReader(io.StringIO(done.out)):
        assert row["form"] == "slip"
        assert row["value"] == (row["reading"] if row["status"] == "accepted" else "")
        assert json.loads(row["reasons"]) == [] or row["status"] == "review"
        assert row["read_at"].endswith("Z")


def test_every_format_holds_the_same_rows(digitocr, workplace):
    digitocr("process", "scans")
    for form in ("csv", "jsonl", "parquet", "xlsx"):
        done = digitocr("export", "--format", form, "--out", f"x.{form}")
        assert (done.code, done.out, done.err) == (0, "", f"9 rows written to x.{form}\n")
    text = {"dtype": str, "keep_default_na": False}
    frames = {
        "csv": pd.read_csv("x.csv", **text),
        "jsonl": pd.DataFrame(map(json.loads, Path("x.jsonl").read_text().splitlines())),
        "parquet": pd.read_parquet("x.parquet"),
        "xlsx": pd.read_excel("x.xlsx", **text),
    }
    for frame in frames.values():
        assert tuple(frame.columns) == COLUMNS
        for column in ("source", "document", "field", "status"):
            assert list(frame[column]) == list(frames["csv"][column])
        values = ["" if pd.isna(value) else value for value in frame["value"]]
        assert values == list(frames["csv"]["value"])


def test_wide_is_a_row_a_page_and_a_column_a_field(digitocr, workplace):
    digitocr("process", "scans")
    long = {(row["source"], row["field"]): row["value"] for row in exported(digitocr)}
    wide = exported(digitocr, "--wide")
    assert [row["source"] for row in wide] == sorted({source for source, _ in long})
    assert list(wide[0])[-3:] == ["first", "second", "total"]
    for row in wide:
        for field in ("first", "second", "total"):
            assert row[field] == long[row["source"], field]


def test_numbers_are_asked_for_by_batch_form_field_status_source_and_time(digitocr, workplace):
    (workplace / "scans" / "bad.png").write_text("no picture")
    digitocr("process", "scans", "--batch", "one")
    for words, rows in (
        (("--batch", "one"), 10),
        (("--batch", "two"), 0),
        (("--form", "slip"), 9),
        (("--field", "first"), 3),
        (("--status", "failed"), 1),
        (("--status", "confirmed"), 0),
        (("--source", "scans/slip-002.png"), 3),
        (("--source", "scans/slip-002.png", "--field", "total"), 1),
        (("--since", "2020-01-01"), 10),
        (("--since", "2120-01-01"), 0),
        (("--until", "2020-01-01T10:00:00"), 0),
        (("--until", "2120-01-01"), 10),
    ):
        assert len(exported(digitocr, *words)) == rows, words
        done = digitocr("query", *words)
        assert (done.code, done.err) == (0, "")
        assert sum("scans/" in line for line in done.out.splitlines()) == rows, words
    done = digitocr("query", "--limit", "2")
    assert done.err == "8 more rows: --limit 0 prints all\n"


def test_batches_are_listed_shown_and_removed(digitocr, workplace):
    (workplace / "scans" / "bad.png").write_text("no picture")
    digitocr("process", "scans", "--batch", "one")
    digitocr("process", "scans/slip-001.png", "--batch", "two")
    listed = digitocr("batch", "list")
    assert (listed.code, listed.err) == (0, "")
    assert "partial" in listed.out
    assert "done" in listed.out
    shown = digitocr("batch", "show", "one")
    assert "scans/bad.png" in shown.out
    assert "is not a scan; " in shown.out
    removed = digitocr("batch", "remove", "one", "--yes")
    assert removed.err == "batch 'one' is removed, with 3 documents in no other batch\n"
    assert (count("batches"), count("documents"), count("readings")) == (1, 1, 3)
    digitocr("process", "scans")
    assert count("readings") == 9


# ---------------------------------------------------------------- processes


def surroundings(folder: Path, **more: str) -> dict[str, str]:
    (folder / "temporary").mkdir(exist_ok=True)
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder / "temporary"),
        "DIGITOCR_WORKERS": "2",
        **more,
    }


def begun(folder: Path, *words: str, **more: str) -> subprocess.Popen[bytes]:
    """Begin a command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "digitocr.cli", *words],
        cwd=folder,
        env=surroundings(folder, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finished(folder: Path, *words: str, **more: str) -> tuple[int, str, str]:
    process = begun(folder, *words, **more)
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode(), err.decode()


def wait_for_pages(database: Path, pages: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many pages are stored, or the process is done."""
    for _ in range(60_000):
        if process.poll() is not None:
            return
        if database.exists():
            try:
                if asked("SELECT count(*) FROM page_readings", database)[0][0] >= pages:
                    return
            except sqlite3.OperationalError:
                pass  # its tables are being made
        time.sleep(0.002)
    raise AssertionError(f"{pages} pages were not read in two minutes")


@pytest.fixture
def many(workplace, slips):
    """Put many pages into `scans`: slips, one of them twice, a bad file, one of three pages."""
    scans = workplace / "scans"

    def put(pages: int) -> None:
        for number in range(4, pages - 1):  # with a byte behind its end, a PNG is another file
            slip = (slips / "scans" / f"slip-00{1 + number % 8}.png").read_bytes()
            (scans / f"slip-{number:03}.png").write_bytes(slip + b"\0" * (number // 8))
        shutil.copy(scans / "slip-001.png", scans / "slip-003-copy.png")
        (scans / "slip-005-bad.png").write_text("no picture")
        three = [np.asarray(Image.open(scans / f"slip-00{n}.png")) for n in (1, 2, 3)]
        save_pages(scans / "slip-007-three.tif", three, 100)

    return put


@pytest.mark.slow
def test_two_processes_store_the_rows_that_one_does(digitocr, workplace, many):
    many(14)
    assert digitocr("process", "scans", "--batch", "x").code == PARTIAL
    code, _, err = finished(
        workplace, "process", "scans", "--batch", "x", "--database", "sqlite:///two.db"
    )
    assert code == PARTIAL, err
    assert meaning("two.db") == meaning()
    assert list((workplace / "temporary").iterdir()) == []
    assert [path.name for path in workplace.glob("two.db*")] == ["two.db"]


@pytest.mark.slow
def test_a_page_that_takes_too_long_fails_and_the_rest_is_read(workplace):
    """Three kilobytes of PDF whose curves take minutes to draw."""
    drawing = zlib.compress(b"10 10 m 580 830 300 20 590 800 c 20 400 l S " * 50_000)
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream"
        % (len(drawing), drawing),
    )
    numbered = (b"%d 0 obj\n%s\nendobj\n" % one for one in enumerate(objects, 1))
    trailer = b"trailer << /Size 5 /Root 1 0 R >>\n%%EOF\n"
    (workplace / "scans" / "endless.pdf").write_bytes(
        b"%PDF-1.4\n" + b"".join(numbered) + trailer
    )
    code, _, err = finished(workplace, "process", "scans", DIGITOCR_PAGE_SECONDS="6")
    assert code == PARTIAL, err
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert failed == [f"failed: scans/endless.pdf page 1: {DIED}"]
    assert count("documents") == 4


def large_pdf(picture: Path) -> bytes:
    """Make a PDF of a few kilobytes whose page, with a line beside the picture, is huge."""
    with Image.open(picture) as slip:
        large = slip.resize((1920, 1440))
    jpeg = io.BytesIO()
    large.convert("RGB").save(jpeg, "JPEG")
    drawing = b"q 4000 0 0 3000 0 0 cm /I Do Q 1 1 m 2 1 l S"
    box = b"/MediaBox [0 0 4000 3000] /Resources << /XObject << /I 5 0 R >> >>"
    head = b"/Type /XObject /Subtype /Image /ColorSpace /DeviceRGB /BitsPerComponent 8"
    size = b"/Width 1920 /Height 1440 /Filter /DCTDecode"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R %s >>" % box,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
        b"<< %s %s /Length %d >>\nstream\n%s\nendstream"
        % (head, size, len(jpeg.getvalue()), jpeg.getvalue()),
    )
    numbered = (b"%d 0 obj\n%s\nendobj\n" % one for one in enumerate(objects, 1))
    trailer = b"trailer << /Size 6 /Root 1 0 R >>\n%%EOF\n"
    return b"%PDF-1.4\n" + b"".join(numbered) + trailer


@pytest.fixture
def large(workplace) -> set[str]:
    """Put scans among the others that take much memory to be read; give their sources."""
    scans = workplace / "scans"
    (scans / "slip-000-large.pdf").write_bytes(large_pdf(scans / "slip-001.png"))
    with Image.open(scans / "slip-001.png") as slip:
        slip.convert("RGB").resize((9600, 7200)).save(
            scans / "slip-002-large.png", compress_level=1
        )
    return {"scans/slip-000-large.pdf", "scans/slip-002-large.png"}


@pytest.mark.slow
def test_a_page_that_takes_too_much_memory_fails_and_the_rest_is_read(
    digitocr, workplace, large
):
    code, _, err = finished(workplace, "process", "scans", DIGITOCR_WORKER_MEMORY_MB="370")
    assert code == PARTIAL, err
    failed = {line for line in err.splitlines() if line.startswith("failed: ")}
    assert failed == {f"failed: {source} page 1: {TOO_LARGE}" for source in large}
    assert "Traceback" not in err
    asked_for = digitocr("query", "--status", "failed").out
    assert all(source in asked_for for source in large)
    assert count("readings") == 9
    # With as much as they want, the same scans are read: none was left half drawn and blank.
    done = digitocr("process", "scans", "--retry-failed")
    assert done.code == 0, done.err
    values = exported(digitocr)
    first = [row["reading"] for row in values if row["source"] == "scans/slip-001.png"]
    for source in large:
        assert [row["reading"] for row in values if row["source"] == source] == first


@pytest.mark.soak
def test_the_same_holds_for_what_a_flow_has_read(workplace, large, monkeypatch):
    """A flow reads by `read_apart`, in threads that each keep a process."""
    monkeypatch.setenv("DIGITOCR_WORKER_MEMORY_MB", "370")
    plan = job.plan([Path("scans")], settings.load(), batch="night")
    outcomes = job.read_apart(plan, plan.files)
    assert {outcome.source for outcome in outcomes if outcome.failed} == large
    summary = job.finish(plan, outcomes)
    assert {(page.source, page.cause) for page in summary.failed} == {
        (source, TOO_LARGE) for source in large
    }
    assert count("readings") == 9


def deadly_at_page_two(workplace, *, program=False):
    """Have whatever reads page 2 of slip-007 die; give the environment that says so.

    With `program` the program dies with it that started it to read.
    """
    all_of_them = "os.kill(os.getppid(), signal.SIGKILL)" if program else "pass"
    (workplace / "deadly").mkdir()
    (workplace / "deadly" / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from digitocr import pipeline\n"
        "read_page = pipeline.read_page\n"
        "def read_or_die(page, reader):\n"
        "    if (page.document.sha256, page.number) == (os.environ['DEADLY'], 2):\n"
        f"        {all_of_them}\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return read_page(page, reader)\n"
        "pipeline.read_page = read_or_die\n"
    )
    scan = workplace / "scans" / "slip-007-three.tif"
    return {
        "PYTHONPATH": f"{workplace / 'deadly'}{os.pathsep}{ROOT}",
        "DEADLY": hashlib.sha256(scan.read_bytes()).hexdigest(),
    }


@pytest.mark.slow
def test_a_process_that_dies_over_a_file_fails_that_file_and_the_rest_is_read(
    workplace, digitocr, many
):
    """The death is put into the interpreter from outside, by a sitecustomize of this test."""
    many(14)
    deadly = deadly_at_page_two(workplace)
    code, _, err = finished(
        workplace,
        "process",
        "scans",
        **deadly,
    )
    assert code == PARTIAL, err
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2, err
    cause = DIED
    assert f"failed: scans/slip-007-three.tif page 2: {cause}" in failed
    assert "Traceback" not in err
    assert asked("SELECT status FROM batches") == [("partial",)]
    assert count("documents") == len(list((workplace / "scans").glob("slip-*"))) - 1
    # Where it is read without dying, a failed page is read when asked, a missing one at once.
    digitocr("process", "scans", "--retry-failed")
    assert asked(
        "SELECT number, status FROM page_readings JOIN pages p ON p.id = page_id "
        "JOIN documents d ON d.id = document_id WHERE page_count = 3 AND pass_number = "
        "(SELECT max(pass_number) FROM page_readings o WHERE o.page_id = p.id) ORDER BY number"
    ) == [(1, "read"), (2, "read"), (3, "read")]


@pytest.mark.slow
@pytest.mark.usefixtures("in_time")
def test_a_reader_that_is_killed_when_all_is_read_is_not_waited_for(
    workplace, many, monkeypatch
):
    many(9)
    monkeypatch.setenv("DIGITOCR_WORKERS", "2")
    plan = job.plan([Path("scans")], settings.load(), batch="night")
    arrived, killed = [], []

    def kill_one(outcome) -> None:
        arrived.append(outcome.source)
        if len(arrived) == len(plan.files):
            killed.extend(multiprocessing.active_children()[:1])
            os.kill(killed[0].pid, signal.SIGKILL)

    summary = job.run(plan, progress=kill_one)
    assert len(killed) == 1
    assert sorted(arrived) == sorted(file.source for file in plan.files)
    assert [page.source for page in summary.failed] == ["scans/slip-005-bad.png"]
    assert multiprocessing.active_children() == []


@pytest.mark.slow
@pytest.mark.usefixtures("in_time")
def test_a_run_that_fails_in_the_middle_leaves_no_process(workplace, many, monkeypatch):
    many(60)
    monkeypatch.setenv("DIGITOCR_WORKERS", "2")
    plan = job.plan([Path("scans")], settings.load(), batch="night")

    def fail(outcome) -> None:
        raise RuntimeError(outcome.source)

    with pytest.raises(RuntimeError, match="slip"):
        job.run(plan, progress=fail)
    assert multiprocessing.active_children() == []
    assert count("page_readings") < 30  # no more was read than what was in hand


def killed_and_run_again(folder: Path, seed: int, workers: int, pages: int) -> None:
    """Kill a run's whole process group at a random moment, then run again to the end."""
    moment = random.Random(seed)
    for leftover in folder.glob("digitocr.db*"):
        leftover.unlink()
    process = begun(folder, "process", "scans", DIGITOCR_WORKERS=str(workers))
    wait_for_pages(folder / DATABASE, moment.randrange(pages), process)
    time.sleep(moment.random() * 0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    code, _, err = finished(folder, "process", "scans", DIGITOCR_WORKERS=str(workers))
    assert code == PARTIAL, err
    assert "failed: scans/slip-005-bad.png page 1: is not a scan" in err


@pytest.mark.slow
def test_a_run_that_is_killed_and_run_again_leaves_the_rows_of_an_undisturbed_one(
    digitocr, workplace, many
):
    many(16)
    undisturbed = "sqlite:///undisturbed.db"
    assert digitocr("process", "scans", "--database", undisturbed).code == PARTIAL
    killed_and_run_again(workplace, seed=1, workers=1, pages=16)
    assert meaning() == meaning("undisturbed.db")
    assert list((workplace / "temporary").iterdir()) == []


@pytest.mark.soak
def test_killed_at_any_moment_sixty_pages_become_the_same_rows(digitocr, workplace, many):
    many(60)
    undisturbed = "sqlite:///undisturbed.db"
    assert digitocr("process", "scans", "--database", undisturbed).code == PARTIAL
    for seed in range(12):
        killed_and_run_again(workplace, seed, workers=1 + seed % 2, pages=60)
        assert meaning() == meaning("undisturbed.db"), seed


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["ctrl-c", "kill"])
def test_a_run_that_is_ended_ends_and_leaves_no_process(workplace, many, members, ending):
    many(120)
    process = begun(workplace, "process", "scans")
    wait_for_pages(workplace / DATABASE, 5, process)
    if ending == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
    else:
        process.kill()  # as the system does, to one of them
    out, err = process.communicate(timeout=60)
    for _ in range(200):
        if not members(process.pid):
            break
        time.sleep(0.1)
    assert members(process.pid) == []
    if ending == "ctrl-c":
        assert process.returncode == STOPPED
        assert (out, err.splitlines()[-1:]) == (
            b"",
            [b"stopped; the same command goes on from here"],
        )
    assert asked("SELECT status FROM batches") == [("running",)]
    assert count("page_readings") < 100


@pytest.mark.soak
def test_memory_does_not_grow_with_the_number_of_pages(workplace):
    form = FormTemplate.load(workplace / "forms" / "slip")
    peaks = []
    for pages in (30, 300):
        fill_pages(form, pages, workplace / f"scans-{pages}", seed=5)
        process = begun(workplace, "process", f"scans-{pages}", DIGITOCR_WORKERS="1")
        with process.stdout, process.stderr:
            process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss)
    assert peaks[1] < 1.15 * peaks[0], peaks


# ---------------------------------------------------------------- runs that die, and go on


@pytest.mark.soak
def test_a_page_that_kills_the_program_itself_fails_at_the_third_try_and_the_rest_is_read(
    workplace, many
):
    many(9)
    more = deadly_at_page_two(workplace, program=True) | {"DIGITOCR_WORKERS": "1"}
    for _ in range(TRIES):
        assert finished(workplace, "process", "scans", **more)[0] == -signal.SIGKILL
    code, _, err = finished(workplace, "process", "scans", **more)
    assert code == PARTIAL, err
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert f"failed: scans/slip-007-three.tif page 2: {DIED}" in failed
    assert len(failed) == 2, err
    assert asked("SELECT status FROM batches") == [("partial",)]
    assert count("documents") == len(list((workplace / "scans").glob("slip-*"))) - 1
    of_three = (
        "SELECT number, status FROM page_readings JOIN pages p ON p.id = page_id "
        "JOIN documents d ON d.id = document_id WHERE page_count = 3 ORDER BY number"
    )
    assert asked(of_three) == [(1, "read"), (2, "failed"), (3, "read")]
    assert count("tries") == 0


@pytest.mark.soak
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_first_file_that_kills_who_opens_it_is_named_and_the_rest_is_read(
    digitocr, workplace, deadly_at_opening, workers
):
    """It dies at once, before anything was stored."""
    more = deadly_at_opening("slip-001.png") | {"DIGITOCR_WORKERS": workers}
    code, _, err = finished(workplace, "process", "scans", "--batch", "night", **more)
    assert code == PARTIAL, err
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert failed == [f"failed: scans/slip-001.png page 1: {DIED}"]
    check_night(digitocr)


@pytest.mark.slow
def test_a_first_file_that_kills_the_program_itself_is_named_after_three_tries(
    digitocr, workplace, deadly_at_opening
):
    """Nothing was ever read of the batch: it must be known all the same that one died."""
    more = deadly_at_opening("slip-001.png", program=True) | {"DIGITOCR_WORKERS": "1"}
    words = ("process", "scans", "--batch", "night")
    for _ in range(TRIES):
        assert finished(workplace, *words, **more)[0] == -signal.SIGKILL
        assert asked("SELECT name, status FROM batches") == [("night", "running")]
    code, _, err = finished(workplace, *words, **more)
    assert (code, f"failed: scans/slip-001.png page 1: {DIED}" in err) == (PARTIAL, True), err
    check_night(digitocr)
    code, _, err = finished(workplace, *words, **more)
    assert code == 0, err


def check_night(digitocr) -> None:
    """Check that batch and deadly file are named, and that the two others were read."""
    assert asked("SELECT name, status FROM batches") == [("night", "partial")]
    (row,) = exported(digitocr, "--status", "failed")
    assert (row["batch"], row["source"]) == ("night", "scans/slip-001.png")
    assert DIED in row["reasons"]
    assert "scans/slip-001.png" in digitocr("query", "--status", "failed").out
    assert count("readings") == 6
    assert count("tries") == 0


# ---------------------------------------------------------------- logs


@pytest.mark.slow
def test_logs_are_json_lines_with_ids_and_nothing_that_was_read(workplace):
    """One page of three raises an error that quotes what stands on it, in another process."""
    (workplace / "faulty").mkdir()
    (workplace / "faulty" / "sitecustomize.py").write_text(
        "from digitocr import pipeline\n"
        "read_page = pipeline.read_page\n"
        "def read_or_raise(page, reader):\n"
        "    found = read_page(page, reader)\n"
        "    if page.document.sha256 == __import__('os').environ['FAULTY']:\n"
        "        raise ValueError(f'cannot make sense of {found.readings[0].text} 4711')\n"
        "    return found\n"
        "pipeline.read_page = read_or_raise\n"
    )
    faulty = (workplace / "scans" / "slip-001.png").read_bytes()
    more = {
        "PYTHONPATH": f"{workplace / 'faulty'}{os.pathsep}{ROOT}",
        "FAULTY": hashlib.sha256(faulty).hexdigest(),
    }
    code, out, err = finished(
        workplace, "--verbose", "--log-json", "process", "scans", "--batch", "night", **more
    )
    assert code == PARTIAL, err
    logged = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    pages = [line for line in logged if "status" in line]
    assert sorted(line["status"] for line in pages) == ["failed", "read", "read"]
    assert {line["page"] for line in pages} == {1}
    assert {len(line["document"]) for line in pages} == {64}
    (error,) = [line for line in logged if "error" in line]
    assert error["error"] == "ValueError"
    assert error["origin"][-1] == "ValueError"
    assert "4711" not in out + err
    (cause,) = asked("SELECT cause FROM page_readings WHERE status = 'failed'")[0]
    assert re.fullmatch(
        r"unexpected ValueError in sitecustomize.py:6; this is a bug, .*", cause
    ), cause
    texts = {text for (text,) in asked("SELECT text FROM readings") if text}
    said = " ".join(str(line["message"]) for line in logged)
    for line in pages:  # hashes and counts are digits, too
        said = said.replace(line["document"][:8], "")
    assert texts
    assert not texts & set(re.findall(r"\d+", said)) - {"1"}


# ---------------------------------------------------------------- compared with the last weeks


def test_a_batch_whose_reject_rate_moved_is_called_out(digitocr, workplace):
    """Six nights of the same slips, made different by a byte; then a threshold nobody meets."""
    said = []
    for night in range(7):
        for number in (1, 2, 3):
            with (workplace / "scans" / f"slip-00{number}.png").open("ab") as file:
                file.write(b"\0")
        if night == 6:
            (workplace / "digitocr.toml").write_text("accept_field = 1.0\n")
        for number in range(3, 10):  # twenty fields at least
            slip = (workplace / "scans" / f"slip-00{1 + number % 3}.png").read_bytes()
            (workplace / "scans" / f"more-{number}.png").write_bytes(slip + bytes([number]))
        done = digitocr("process", "scans", "--batch", f"night {night}")
        assert done.code == 0
        said.append([line for line in done.lines if " moved: " in line])
    assert said[:6] == [[]] * 6
    (line,) = said[6]
    assert line.startswith("slip 1: reject rate 100.0 % moved: ")
    assert line.endswith("expected, by 6 batches of the last 4 weeks")
    shown = digitocr("batch", "show", "night 6").out
    assert line in shown
    assert "slip 1: residual" in shown
    assert " moved: " not in digitocr("batch", "show", "night 5").out
