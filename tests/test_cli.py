"""Exit codes and messages: what bad input gets, and what every command promises.

Most commands run in this process, because starting one costs three seconds of imports; what is
about the process itself (the bad folder, pipes, encodings) runs as one.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import zlib
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from sqlalchemy import select

from digitocr import cli, errors, resources
from digitocr.db import decisions, schema, tables
from digitocr.recognition.stopping import CatchRate, certify
from digitocr.types import Correction, Verdict

ROOT = Path(__file__).parent.parent
PARTIAL, USAGE, SCAN, TEMPLATE, MODEL, DATABASE, SETTINGS, DATA = 3, 2, 10, 11, 13, 14, 16, 17


def started(folder: Path, *words: str | Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "digitocr.cli", *map(os.fsencode, words)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | env,
        capture_output=True,
        timeout=120,
        check=False,
    )


def commands() -> list[tuple[str, ...]]:
    """List every command by its words, groups too."""

    def below(command, words):
        yield words
        for name, child in getattr(command, "commands", {}).items():
            yield from below(child, (*words, name))

    return sorted(below(typer.main.get_command(cli.app), ()))


def rows(database: Path, statement: str) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


# ---------------------------------------------------------------- help, version, quiet


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_explains_itself(digitocr, words):
    done = digitocr(*words, "--help")
    assert done.code == 0
    assert done.out.startswith("Usage: ")
    assert done.err == ""


def test_the_version_needs_no_command(digitocr):
    done = digitocr("--version")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"digitocr \d+\.\d+\.\d+\n", done.out)


@pytest.mark.parametrize("words", [(), ("models",), ("batch",), ("form",), ("db",)])
def test_a_command_that_says_nothing_gets_its_help(digitocr, words):
    done = digitocr(*words)
    assert (done.code, done.out) == (USAGE, "")
    assert done.err.startswith("Usage: ")


def test_quiet_says_nothing_but_what_failed(digitocr, workplace):
    done = digitocr("--quiet", "process", "scans")
    assert (done.code, done.out, done.err) == (0, "", "")
    (workplace / "scans" / "bad.png").write_text("no picture")
    done = digitocr("--quiet", "process", "scans")
    assert (done.code, done.out) == (PARTIAL, "")
    assert len(done.lines) == 1
    assert done.err.startswith("failed: scans/bad.png page 1: is not a scan; ")
    done = digitocr("--quiet", "export", "--out", "x.csv")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_quiet_may_stand_after_the_verb(digitocr, workplace):
    done = digitocr("process", "scans", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_data_goes_to_stdout_and_progress_to_stderr(digitocr):
    done = digitocr("process", "scans")
    assert done.code == 0
    assert re.fullmatch(r"Reading: 3 of 3 files, \d+ s\n", done.err)
    assert "Reading" not in done.out
    done = digitocr("export")
    assert (done.code, done.err) == (0, "")
    assert len(list(csv.DictReader(io.StringIO(done.out)))) == 9


def test_the_closing_table_counts_what_came_of_the_batch(digitocr, workplace):
    (workplace / "scans" / "bad.png").write_text("no picture")
    Image.new("L", (480, 360), 255).save(workplace / "scans" / "blank.png")
    done = digitocr("process", "scans")
    assert done.code == PARTIAL
    shown = [line for line in done.out.splitlines() if line.strip()]
    assert shown[0].startswith("Batch scans ")
    heads = " ".join(shown[1:3]).split()
    for head in (
        "documents",
        "pages",
        "fields",
        "accepted",
        "to",
        "review",
        "failed",
        "pages/s",
    ):
        assert head in heads
    counts = re.sub(r"\(.*?\)", "", shown[4]).split()
    documents, pages, fields, accepted, review, blank, failed = map(int, counts[:7])
    assert (documents, pages, fields, blank, failed) == (5, 5, 9, 1, 1)
    assert accepted + review == fields


# ---------------------------------------------------------------- a folder with everything bad


def chunk(kind: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )


def huge_png() -> bytes:
    """Make 30,000 × 30,000 pixels of one bit: 110 kB that are 900 million pixels."""
    packer = zlib.compressobj(9)
    line = bytes(1 + 30000 // 8)
    data = b"".join(packer.compress(line) for _ in range(30000)) + packer.flush()
    head = struct.pack(">IIBBBBB", 30000, 30000, 1, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def pdf(pages: int, *, encrypted: bool = False) -> bytes:
    first = 4 if encrypted else 3
    kids = b" ".join(b"%d 0 R" % (first + number) for number in range(pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, pages),
        b"<< /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >>" % (b"11" * 32, b"22" * 32),
    ][: 3 if encrypted else 2] + [
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 345 259] >>"
    ] * pages
    data, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % place for place in places)
    lock = b"/Encrypt 3 0 R /ID [<00><00>]" if encrypted else b""
    data += b"trailer << /Size %d /Root 1 0 R %s >>\n" % (len(objects) + 1, lock)
    return data + b"startxref\n%d\n%%%%EOF\n" % table


def truncated_jpeg(scan: Path) -> bytes:
    whole = io.BytesIO()
    Image.open(scan).save(whole, "JPEG")
    return whole.getvalue()[: len(whole.getvalue()) // 2]


BAD = {  # source as it is shown: what the one line says of it
    "bad/cut.jpg": "is damaged, cut short or of a kind not known; copy it or ",
    "bad/empty.png": "is empty; scan or copy it again",
    "bad/encrypted.pdf": "is encrypted; save it without a password",
    "bad/huge.png": "has 30000 × 30000 pixels, more than max_megapixels = 200; scan it",
    "bad/new\\nline.png": "is not a scan; save it as PNG",
    "bad/no-pages.pdf": "is damaged or has no pages; save or scan it again",
    "bad/other-form.png": "is no page of a known form; ",
    "bad/pipe.png": "is no regular file; save the scan as a file",
    "bad/text.png": "is not a scan; save it as PNG",
}
ODD = r"bad/odd\xff.png"


@pytest.fixture(scope="module")
def bad_run(slips, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[bytes]]:
    """Read, in a process of its own, a folder with everything bad and two good slips."""
    folder = tmp_path_factory.mktemp("bad-run")
    shutil.copytree(slips / "slip", folder / "forms" / "slip")
    bad = folder / "bad"
    bad.mkdir()
    shutil.copy(slips / "scans" / "slip-001.png", bad / "good.png")
    shutil.copy(slips / "scans" / "slip-002.png", os.fsencode(bad) + b"/odd\xff.png")
    (bad / "cut.jpg").write_bytes(truncated_jpeg(slips / "scans" / "slip-003.png"))
    (bad / "empty.png").touch()
    (bad / "encrypted.pdf").write_bytes(pdf(1, encrypted=True))
    (bad / "huge.png").write_bytes(huge_png())
    (bad / "new\nline.png").write_text("no picture")
    (bad / "no-pages.pdf").write_bytes(pdf(0))
    card = ROOT / "sample_forms" / "meter-reading" / "scans" / "card-01.png"
    shutil.copy(card, bad / "other-form.png")
    (bad / "text.png").write_text("no picture either")
    (bad / "notes.txt").write_text("not looked at")
    (bad / "folder.png").mkdir()
    os.mkfifo(bad / "pipe.png")
    (folder / "temporary").mkdir()
    done = started(folder, "process", "bad", "--workers", "1", TMPDIR=f"{folder}/temporary")
    return folder, done


def test_a_bad_file_fails_by_itself_and_the_others_are_read(bad_run):
    folder, done = bad_run
    assert done.returncode == PARTIAL
    assert b"Traceback" not in done.stderr
    read = "SELECT source FROM arrivals JOIN pages USING (document_id) JOIN page_readings"
    good = rows(folder / "digitocr.db", f"{read} ON page_id = pages.id WHERE status = 'read'")
    assert sorted(good) == [("bad/good.png",), (ODD,)]
    assert rows(folder / "digitocr.db", "SELECT status FROM batches") == [("partial",)]
    assert rows(folder / "digitocr.db", "SELECT count(*) FROM readings") == [(6,)]


@pytest.mark.parametrize("source", BAD)
def test_a_bad_file_gets_one_line_that_names_it_and_says_what_to_do(bad_run, source):
    folder, done = bad_run
    lines = done.stderr.decode().splitlines()
    said = [line for line in lines if line.startswith(f"failed: {source} page 1: ")]
    assert len(said) == 1, lines
    assert BAD[source] in said[0]
    assert said[0].isprintable()
    if "pipe" in source:
        return  # it has no bytes to be known by
    stored = rows(
        folder / "digitocr.db",
        "SELECT source, cause FROM page_readings JOIN pages ON pages.id = page_id "
        "JOIN arrivals USING (document_id) WHERE status = 'failed'",
    )
    assert dict(stored)[source.replace("\\n", "\n")] in said[0]


def test_nothing_but_the_bad_files_is_said_to_fail(bad_run):
    _, done = bad_run
    lines = done.stderr.decode().splitlines()
    assert len(lines) == len(BAD) + 1
    assert lines[0].startswith("Reading: 11 of 11 files")


def test_the_table_counts_also_what_could_not_be_stored(bad_run):
    _, done = bad_run
    counts = next(line for line in done.stdout.decode().splitlines() if "%" in line)
    assert re.sub(r"\(.*?\)", "", counts).split()[6] == str(len(BAD))


def test_a_run_leaves_the_database_and_nothing_else(bad_run):
    folder, _ = bad_run
    assert sorted(path.name for path in folder.iterdir()) == [
        "bad",
        "digitocr.db",
        "forms",
        "temporary",
    ]
    assert list((folder / "temporary").iterdir()) == []


def test_a_name_that_is_no_utf_8_can_be_asked_for(bad_run, digitocr, monkeypatch):
    folder, _ = bad_run
    monkeypatch.chdir(folder)
    for words in (("query",), ("export",), ("export", "--wide")):
        done = digitocr(*words, "--source", os.fsdecode(b"bad/odd\xff.png"))
        assert done.code == 0, done.err
        assert ODD in done.out
        assert "good.png" not in done.out


def test_a_name_that_is_no_utf_8_can_be_printed(bad_run):
    folder, _ = bad_run
    odd = os.fsdecode(b"bad/odd\xff.png")
    done = started(folder, "read", odd, "--format", "jsonl", PYTHONUTF8="1")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["image"] == odd


def test_a_folder_whose_name_is_no_utf_8_is_read(digitocr, workplace):
    odd = os.fsdecode(b"sc\xffns")
    (workplace / "scans").rename(workplace / odd)
    assert digitocr("process", odd).code == 0
    assert rows(workplace / "digitocr.db", "SELECT name FROM batches")[0][0].startswith(
        r"sc\xffns"
    )


# ---------------------------------------------------------------- nothing to read


def one_line(done, code: int, *parts: str) -> None:
    """Check that all a command left is one clear line and its exit code."""
    assert (done.code, done.out) == (code, ""), done.err
    assert len(done.lines) == 1, done.err
    assert done.err.startswith("digitocr: ")
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


def test_a_missing_folder_is_named(digitocr, workplace):
    one_line(digitocr("process", "scans", "nowhere"), SCAN, "nowhere: no such file or folder")
    assert not (workplace / "digitocr.db").exists()


def test_an_empty_folder_is_named(digitocr, workplace):
    (workplace / "empty").mkdir()
    (workplace / "empty" / "letter.docx").touch()
    one_line(digitocr("process", "empty"), SCAN, "empty: holds no scan; digitocr reads PNG, ")


def test_a_file_that_cannot_be_opened_is_named_even_alone(digitocr, workplace):
    os.mkfifo(workplace / "x.png")
    done = digitocr("process", "x.png")
    assert (done.code, done.out) == (PARTIAL, "")
    assert done.lines[-1] == "failed: x.png page 1: is no regular file; save the scan as a file"
    done = digitocr("process", "x.png", "scans")
    assert done.code == PARTIAL
    assert rows(workplace / "digitocr.db", "SELECT status FROM batches") == [("partial",)]


def test_a_folder_called_x_png_is_a_folder(digitocr, workplace):
    (workplace / "scans").rename(workplace / "x.png")
    assert digitocr("process", "x.png").code == 0
    assert rows(workplace / "digitocr.db", "SELECT count(*) FROM documents") == [(3,)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named_and_the_rest_is_read(digitocr, workplace):
    (workplace / "scans" / "slip-002.png").chmod(0)
    done = digitocr("process", "scans")
    assert done.code == PARTIAL
    assert "failed: scans/slip-002.png page 1: permission denied; " in done.err
    assert rows(workplace / "digitocr.db", "SELECT count(*) FROM documents") == [(2,)]


# ---------------------------------------------------------------- the database


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("nonsense", "nonsense: not a database URL; write sqlite:///file.db or "),
        ("mysql://u:secret@h/d", "'mysql' is not supported; use sqlite:/// or postgresql://"),
        ("sqlite:///no/such/folder/x.db", "does the folder exist, and may you write there?"),
        ("sqlite:///text.db", "text.db: file is not a database"),
        ("postgresql://u:secret@127.0.0.1:1/d", "is the server running"),
    ],
)
@pytest.mark.parametrize("words", [("process", "scans"), ("export",), ("db", "upgrade")])
def test_a_database_that_cannot_be_used_is_named(digitocr, workplace, url, part, words):
    (workplace / "text.db").write_text("this is text, " * 100)
    if words == ("export",) and "such" in url:
        part = "no such database; name one with --database"
    done = digitocr(*words, "--database", url)
    one_line(done, DATABASE, part)
    assert "secret" not in done.err


@pytest.mark.parametrize(
    "words",
    [("query",), ("export",), ("batch", "list"), ("batch", "show", "x"), ("db", "check")],
)
def test_asking_never_makes_a_database(digitocr, workplace, words):
    one_line(
        digitocr(*words), DATABASE, "sqlite:///digitocr.db: no such database; name one with"
    )
    assert not (workplace / "digitocr.db").exists()


def test_a_locked_database_is_said_to_be_locked_and_nothing_is_lost(
    digitocr, workplace, monkeypatch
):
    assert digitocr("process", "scans").code == 0
    shutil.copy(workplace / "scans" / "slip-001.png", workplace / "scans" / "again.png")
    monkeypatch.setattr(schema, "connect", partial(schema.connect, busy_s=0.1))
    with closing(sqlite3.connect(workplace / "digitocr.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        one_line(
            digitocr("process", "scans"),
            DATABASE,
            "sqlite:///digitocr.db: database is locked; another program is writing to it; ",
        )
        assert digitocr("query").code == 0
    assert digitocr("process", "scans").code == 0
    assert rows(workplace / "digitocr.db", "SELECT count(*) FROM arrivals") == [(4,)]


def test_a_database_that_is_locked_in_the_middle_stops_the_run_and_the_next_goes_on(
    digitocr, workplace, monkeypatch
):
    from digitocr import pipeline

    other = sqlite3.connect(workplace / "digitocr.db", isolation_level=None)
    read_page = pipeline.read_page

    def lock_and_read(page, reader):
        other.execute("BEGIN IMMEDIATE")
        return read_page(page, reader)

    with monkeypatch.context() as patched, closing(other):
        patched.setattr(schema, "connect", partial(schema.connect, busy_s=0.1))
        patched.setattr(pipeline, "read_page", lock_and_read)
        done = digitocr("process", "scans")
        assert (done.code, done.out) == (DATABASE, "")
        assert "database is locked; another program" in done.lines[-1]
        assert "Traceback" not in done.err
    assert rows(workplace / "digitocr.db", "SELECT status FROM batches") == [("running",)]
    assert digitocr("process", "scans").code == 0
    assert rows(workplace / "digitocr.db", "SELECT count(*) FROM readings") == [(9,)]
    assert rows(workplace / "digitocr.db", "SELECT status FROM batches") == [("done",)]


def test_a_database_of_another_program_is_left_alone(digitocr, workplace):
    with closing(sqlite3.connect(workplace / "other.db")) as other:
        other.execute("CREATE TABLE pupils (name TEXT)")
    done = digitocr("process", "scans", "--database", "sqlite:///other.db")
    one_line(done, errors.SchemaError.exit_code, "holds tables that are not digitocr's")


def test_an_older_schema_is_refused_with_the_command_that_mends_it(digitocr, workplace):
    assert digitocr("process", "scans").code == 0
    with closing(sqlite3.connect(workplace / "digitocr.db")) as other, other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    one_line(digitocr("query"), errors.SchemaError.exit_code, "9999", "upgrade digitocr")


# ---------------------------------------------------------------- forms, models, settings


def edited(workplace: Path, old: str, new: str) -> None:
    file = workplace / "forms" / "slip" / "template.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_box_outside_the_page_is_named_with_its_file_and_field(digitocr, workplace):
    edited(workplace, "box = [240, 170, 420, 220]", "box = [240, 170, 1420, 220]")
    for words in (("process", "scans"), ("form", "check", "forms/slip")):
        one_line(
            digitocr(*words),
            TEMPLATE,
            "slip/template.toml: field 'total': box = [240, 170, 1420, 220] lies outside",
        )
    assert not (workplace / "digitocr.db").exists()


def test_a_form_that_was_edited_after_use_needs_a_new_version(digitocr, workplace):
    assert digitocr("process", "scans").code == 0
    edited(workplace, "min_length = 3", "min_length = 2")
    done = digitocr("process", "scans")
    one_line(done, TEMPLATE, "form 'slip' v1: was changed after pages were read with it; ")
    assert "version = 2" in done.err
    edited(workplace, "version = 1", "version = 2")
    assert digitocr("process", "scans", "--again").code == 0
    versions = rows(workplace / "digitocr.db", "SELECT version FROM forms ORDER BY version")
    assert versions == [(1,), (2,)]


def test_a_missing_folder_of_forms_is_named(digitocr, workplace):
    done = digitocr("process", "scans", "--forms", "nowhere")
    one_line(done, TEMPLATE, "nowhere: no such folder of forms; name one with --forms")
    shutil.rmtree(workplace / "forms")
    one_line(digitocr("process", "scans"), TEMPLATE, "no folder `forms` here")
    (workplace / "forms").mkdir()
    one_line(digitocr("process", "scans"), TEMPLATE, "forms: holds no form; ")


def test_a_model_folder_without_its_card_is_refused(digitocr, workplace):
    shutil.copytree(resources.default_model(), workplace / "model")
    (workplace / "model" / "card.json").unlink()
    for words in (("process", "scans"), ("read", "scans/slip-001.png")):
        one_line(digitocr(*words, "--model", "model"), MODEL, "model/card.json")
    done = digitocr("process", "scans", "--model", "nowhere")
    one_line(done, MODEL, "nowhere", "--model wants a folder with")


def test_an_unknown_setting_is_named_with_its_place(digitocr, workplace, monkeypatch):
    (workplace / "digitocr.toml").write_text('wrokers = 2\n[x]\ny = "1"\n')
    one_line(
        digitocr("query"), SETTINGS, "digitocr.toml: wrokers: no such setting; ", "workers"
    )
    (workplace / "digitocr.toml").write_text("workers = \n")
    one_line(digitocr("query"), SETTINGS, "digitocr.toml: ", "mend or remove the file")
    (workplace / "digitocr.toml").unlink()
    monkeypatch.setenv("DIGITOCR_WROKERS", "2")
    one_line(digitocr("query"), SETTINGS, "DIGITOCR_WROKERS: no such setting; ")
    monkeypatch.delenv("DIGITOCR_WROKERS")
    monkeypatch.setenv("DIGITOCR_WORKERS", "two")
    one_line(digitocr("query"), SETTINGS, "DIGITOCR_WORKERS = 'two'")


# ---------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("proces", "scans"), USAGE, "No such command 'proces'"),
        (("process",), USAGE, "Missing argument 'PATH…' (see `"),
        (("process", "scans", "--agian"), USAGE, "No such option: --agian (Possible options: "),
        (("process", "scans", "--workers", "0"), USAGE, "--workers"),
        (("process", "scans", "--workers", "999"), SETTINGS, "--workers = 999"),
        (("process", "scans", "--batch", " "), USAGE, "--batch is empty; name the batch"),
        (("export", "--format", "cvs"), USAGE, "'cvs'"),
        (("query", "--since", "yesterday"), USAGE, "--since"),
        (("query", "--status", "good"), USAGE, "'good'"),
        (("classify",), USAGE, "classify wants pictures, or --npz FILE"),
        (("classify", "a.png", "--npz", "b.npz"), USAGE, "classify wants pictures, or --npz"),
        (("classify", "--npz", "b.npz"), DATA, "b.npz: No such file or directory"),
        (("classify", "--npz", "forms/slip/template.toml"), DATA, "x (N, H, W) uint8"),
        (("read", "scans/slip-001.png", "--type", "date"), USAGE, "--type date"),
        (("form", "check", "nowhere"), TEMPLATE, "nowhere/template.toml: no such file"),
        (("form", "fill", "nowhere", "--out", "x"), TEMPLATE, "nowhere/template.toml"),
        (("form", "check", "forms/slip", "--overlay", "digitocr.toml"), USAGE, "name a folder"),
        (("--nope",), USAGE, "No such option: --nope"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_command_that_is_used_wrongly_gets_one_line(digitocr, workplace, words, code, part):
    (workplace / "digitocr.toml").touch()
    one_line(digitocr(*words), code, part)


def test_a_scan_that_cannot_be_drawn_over_is_named_and_the_others_go_on(digitocr, workplace):
    (workplace / "scans" / "slip-000.png").write_text("no picture")
    done = digitocr("form", "check", "forms/slip", "--overlay", "look", "--scans", "scans")
    assert done.code == PARTIAL
    assert len(done.lines) == 1, done.err
    assert done.err.startswith("scans/slip-000.png: is not a scan; ")
    drawn = sorted(path.name for path in (workplace / "look").iterdir())
    assert drawn == ["slip-001-1.png", "slip-002-1.png", "slip-003-1.png", "slip-1.png"]


def test_what_is_asked_of_a_batch_that_is_not_there_is_refused(digitocr, workplace):
    assert digitocr("process", "scans").code == 0
    for words in (("show", "nope"), ("remove", "nope", "--yes")):
        one_line(digitocr("batch", *words), USAGE, "no batch 'nope'; `digitocr batch list`")
    name = rows(workplace / "digitocr.db", "SELECT name FROM batches")[0][0]
    one_line(digitocr("batch", "remove", name), USAGE, "say --yes where nobody can be asked")


def test_a_file_that_cannot_be_written_is_named(digitocr, workplace):
    assert digitocr("process", "scans").code == 0
    done = digitocr("export", "--out", "no/such/folder/x.csv")
    one_line(done, USAGE, "no/such/folder/x.csv: No such file or directory; name a file")
    done = digitocr("export", "--out", "scans")
    one_line(done, USAGE, "scans: Is a directory; name a file")
    (workplace / "file").touch()
    one_line(
        digitocr("form", "fill", "forms/slip", "--out", "file/x"), USAGE, "file/x: ", "--out"
    )


def test_a_certificate_is_written_beside_the_numbers_only_when_asked_for(
    digitocr, workplace, monkeypatch
):
    monkeypatch.setenv("DIGITOCR_SEQUENCE", "none")
    assert digitocr("process", "scans", "--batch", "monday").code == 0
    assert digitocr("export", "--out", "x.csv").code == 0
    assert not (workplace / "x.csv.certificate.json").exists()
    ask = ("export", "--certificate", "--out", "x.csv")
    one_line(digitocr(*ask), USAGE, "needs a target: set `target_error`")
    monkeypatch.setenv("DIGITOCR_TARGET_ERROR", "0.9")
    one_line(digitocr("export", "--certificate"), USAGE, "name one with --out")
    one_line(digitocr(*ask, "--field", "first"), USAGE, "whole batches: leave out --field")
    one_line(digitocr(*ask, "--batch", "nope"), USAGE, "no batch 'nope'")
    assert not (workplace / "x.csv.certificate.json").exists()

    path = workplace / "x.csv.certificate.json"
    done = digitocr(*ask)
    assert (done.code, done.out) == (0, "")
    assert "monday: Nobody audited the accepted readings" in done.err
    (told,) = json.loads(path.read_text())
    assert (told["batch"], told["certificates"]) == ("monday", [])

    with schema.writing(schema.connect("sqlite:///digitocr.db", create=False)) as session:
        drawn = session.scalars(select(tables.Reading).where(tables.Reading.accepted)).all()
        for one in drawn:
            said = Correction(
                one.id, None, Verdict.CONFIRMED, one.text, "ana", datetime.now(UTC), audit=True
            )
            decisions.record_decision(session, said)
        confidences = [one.confidence for one in drawn]
    done = digitocr(*ask, "--batch", "monday")
    (told,) = json.loads(path.read_text())
    (found,) = told["certificates"]
    count = len(confidences)
    expected = certify(
        confidences, confidences, [False] * count, 0.9, seeded=CatchRate(0, 0), reviewed=count
    )
    assert count > 0
    assert (found["audited"], found["needed"]) == (count, expected.needed)
    assert (found["bound"], found["miss_bound"]) == (expected.bound, 1.0)
    assert told["sentence"].startswith(str(expected))
    assert f"monday: {told['sentence']}" in done.err
    assert digitocr("--quiet", *ask).err == ""


def test_whoever_reads_the_output_may_stop(bad_run):
    folder, _ = bad_run
    words = [sys.executable, "-m", "digitocr.cli", "export"]
    there = {"cwd": folder, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **there
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_a_wrong_npz_is_refused(digitocr, workplace):
    np.savez(workplace / "float.npz", x=np.zeros((3, 28, 28), np.float32))
    one_line(
        digitocr("classify", "--npz", "float.npz"), DATA, "(3, 28, 28) float32; it must be"
    )
    np.savez(workplace / "named.npz", images=np.zeros((3, 28, 28), np.uint8))
    one_line(
        digitocr("classify", "--npz", "named.npz"), DATA, "named.npz: ", "with x (N, H, W)"
    )
    (workplace / "cut.npz").write_bytes((workplace / "float.npz").read_bytes()[:300])
    one_line(digitocr("classify", "--npz", "cut.npz"), DATA, "cut.npz: ", "with x (N, H, W)")


# ---------------------------------------------------------------- Prefect


def test_the_flow_runs_the_job_where_a_prefect_api_is_configured(
    digitocr, workplace, monkeypatch
):
    """What is in the flow is told in test_flows.py; here a stand-in says it was asked."""
    (workplace / "bundled").mkdir()
    (workplace / "bundled" / "process_batch.py").write_text(
        "from pathlib import Path\n"
        "from digitocr.batch import RunSummary\n"
        "def process_batch(**asked):\n"
        "    Path('asked').write_text(repr(asked))\n"
        "    return RunSummary(None, 3, 3, 0, ())\n"
    )
    monkeypatch.setattr(resources, "folder", lambda name: workplace / "bundled")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    done = digitocr("process", "scans", "--batch", "night", "--again")
    assert (done.code, done.err) == (0, "")
    assert done.out == "Nothing new: 3 of 3 files read before.\n"
    assert (workplace / "asked").read_text() == repr(
        {
            "folder": ["scans"],
            "batch": "night",
            "again": True,
            "retry_failed": False,
            "keep_pages": False,
        }
    )
