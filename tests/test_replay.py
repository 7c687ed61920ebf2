"""A batch read again by the command: equal, or what is in the way of that by name."""

import hashlib
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from contextlib import closing

import cv2
import pytest

from digitocr import resources


@pytest.fixture
def read(digitocr, workplace):
    """Read the three scans of the workplace; give the command."""
    assert digitocr("process", "scans", "--batch", "night").code == 0
    return digitocr


def table(done):
    """Read the table of counts: the first line with numbers alone."""
    line = next(
        line for line in done.out.splitlines() if line.split()[:1] and line.split()[0].isdigit()
    )
    return [int(word) for word in line.split()]


@pytest.mark.slow
def test_the_same_scans_give_the_same_readings_and_nothing_is_written(read, workplace):
    before = (workplace / "digitocr.db").read_bytes()
    done = read("replay", "night")
    assert (done.code, table(done)) == (0, [3, 3, 0, 0, 0, 0, 0, 0])
    assert (workplace / "digitocr.db").read_bytes() == before


@pytest.mark.slow
def test_scans_that_are_gone_or_changed_are_named(read, workplace):
    gone, changed = sorted((workplace / "scans").glob("*.png"))[:2]
    gone.unlink()
    image = cv2.imread(str(changed), cv2.IMREAD_GRAYSCALE)
    image[5, 5] ^= 1
    cv2.imwrite(str(changed), image)
    done = read("replay", "night")
    assert (done.code, table(done)) == (3, [3, 1, 0, 1, 1, 0, 0, 0])
    assert gone.name in done.out and changed.name in done.out


@pytest.mark.slow
def test_a_reading_that_comes_out_otherwise_is_found(read, workplace):
    with closing(sqlite3.connect(workplace / "digitocr.db")) as connection:
        connection.execute("UPDATE readings SET text = '999' WHERE id = 1")
        connection.commit()
    done = read("replay", "night")
    assert (done.code, table(done)) == (3, [3, 2, 1, 0, 0, 0, 0, 0])
    assert "another text" in done.out


@pytest.mark.slow
def test_another_form_or_model_is_said_to_be_another(read, workplace):
    template = workplace / "forms" / "slip" / "template.toml"
    template.write_text(template.read_text().replace("[80, 80, 215", "[81, 80, 215"))
    done = read("replay", "night")
    assert (done.code, table(done)) == (3, [3, 0, 0, 0, 0, 3, 0, 0])
    done = read("replay", "night", "--model", resources.folder("models") / "lenet5-relu")
    assert (done.code, table(done)) == (3, [3, 0, 0, 0, 0, 0, 3, 0])


def test_an_unknown_batch_gets_one_line(read):
    done = read("replay", "day")
    assert done.code == 2
    assert done.lines == ["digitocr: no batch 'day'; `digitocr batch list` names them"]


@pytest.mark.slow
def test_pages_that_were_purged_are_said_to_be(read, workplace):
    (scan,) = (workplace / "scans").glob("*-002.png")
    sha256 = hashlib.sha256(scan.read_bytes()).hexdigest()
    assert read("purge", "--document", sha256, "--yes").code == 0
    done = read("replay", "night")
    assert (done.code, table(done)) == (3, [3, 2, 0, 0, 0, 0, 0, 1])
    assert "taken out by a purge" in done.out


@pytest.mark.slow
@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("seconds", [0.0, 0.4])
def test_a_process_that_is_killed_costs_no_page(read, monkeypatch, seconds):
    """One of two that read again is killed, as it starts or later; its file is read again."""
    monkeypatch.setenv("DIGITOCR_WORKERS", "2")
    killed = []

    def kill_one() -> None:
        while not (found := multiprocessing.active_children()):
            time.sleep(0.001)
        time.sleep(seconds)
        killed.append(found[0])
        os.kill(found[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    done = read("replay", "night")
    killer.join(60)
    assert (done.code, table(done)) == (0, [3, 3, 0, 0, 0, 0, 0, 0]), done.err
    assert [one.exitcode for one in killed] == [-signal.SIGKILL]
    assert multiprocessing.active_children() == []


@pytest.mark.slow
@pytest.mark.usefixtures("in_time")
def test_pages_that_differ_are_named_in_the_order_of_the_batch(
    read, workplace, monkeypatch, deadly_at_opening
):
    """The first file kills whoever opens it, and so is done last."""
    for name, value in deadly_at_opening("slip-001.png").items():
        monkeypatch.setenv(name, value)
    (workplace / "scans" / "slip-002.png").unlink()
    monkeypatch.setenv("DIGITOCR_WORKERS", "2")
    done = read("replay", "night")
    assert (done.code, table(done)) == (3, [3, 1, 1, 1, 0, 0, 0, 0])
    assert done.out.index("slip-001.png") < done.out.index("slip-002.png")
    assert "the process that read it died" in " ".join(done.out.split())
