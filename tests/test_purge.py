"""`digitocr purge`: what it asks, says and leaves, by the command."""

import csv
import hashlib
import io

import pytest

pytestmark = pytest.mark.slow
USAGE = 2


@pytest.fixture
def read(digitocr, workplace):
    """Read the three scans of the workplace; give the command."""
    assert digitocr("process", "scans", "--batch", "night").code == 0
    return digitocr


def exported(digitocr, *words):
    return list(csv.DictReader(io.StringIO(digitocr("export", *words).out)))


def test_it_asks_first_and_a_dry_run_changes_nothing(read, workplace):
    before = exported(read)
    done = read("purge", "--older-than", "0", "--dry-run")
    said = "3 documents, 3 pages, 9 readings, 0 decisions"
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"would purge {said}")
    done = read("purge", "--batch", "night")
    assert done.code == USAGE
    assert "say --yes where nobody can be asked" in done.err
    assert read("purge", "--older-than", "30", "--yes").out == "nothing to purge\n"
    done = read("purge", "--yes")
    assert done.code == USAGE
    assert done.err.startswith("digitocr: say what to purge: --older-than DAYS")
    assert exported(read) == before


def test_what_is_purged_says_so_everywhere_and_is_not_read_again(read, workplace):
    before = exported(read)
    done = read("purge", "--batch", "night", "--by", "Ana", "--yes")
    assert done.code == 0, done.err
    assert done.out == "purged 3 documents, 9 readings and 0 decisions\n"
    rows = exported(read)
    keys = ("batch", "source", "document", "page", "form", "form_version", "field", "read_at")
    assert [[row[key] for key in keys] for row in rows] == [
        [row[key] for key in keys] for row in before
    ]
    assert {(row["status"], row["value"], row["reading"]) for row in rows} == {
        ("purged", "", "")
    }
    assert {row["reasons"] for row in rows} == {'["purged"]'}
    assert exported(read, "--status", "accepted") == []
    shown = read("query", "--status", "purged")
    assert sum("scans/" in line for line in shown.out.splitlines()) == 9
    assert "9 fields purged" in read("batch", "show", "night").out
    wide = exported(read, "--wide")
    assert {row["total"] for row in wide} == {""}
    read("process", "scans")
    assert exported(read) == rows
    assert read("process", "scans", "--again").code == 0
    assert [row["value"] for row in exported(read)] == [row["value"] for row in before]
    assert read("purge", "--batch", "night", "--yes").code == 0
    assert {row["status"] for row in exported(read)} == {"purged"}


def test_one_document_of_several_is_named_by_the_beginning_of_its_hash(read, workplace):
    scan = workplace / "scans" / "slip-002.png"
    sha256 = hashlib.sha256(scan.read_bytes()).hexdigest()
    assert read("purge", "--document", sha256[:12].upper(), "--yes").code == 0
    status = {row["source"]: row["status"] == "purged" for row in exported(read)}
    assert status == {f"scans/slip-00{n}.png": n == 2 for n in (1, 2, 3)}
