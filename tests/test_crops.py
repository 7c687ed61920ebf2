import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitocr.cli import crops
from digitocr.settings import Settings
from digitocr.types import FieldType

MANY = 2 * crops.LEAST_A_PROCESS


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Blank crops, one that is no picture, and one that is not there."""
    folder = tmp_path_factory.mktemp("crops")
    paper = np.full((30, 60), 240, np.uint8)
    files = [folder / f"{number:03}.png" for number in range(MANY)]
    for file in files:
        cv2.imwrite(str(file), paper)
    files[7].write_bytes(b"no picture")
    files[90].unlink()
    return files


def wanted(workers):
    return crops.Wanted(Settings(workers=workers), 0, None, FieldType.INTEGER)


@pytest.mark.slow
def test_several_processes_give_the_rows_of_one_in_the_order_given(pictures):
    alone = list(crops.read_rows(pictures, wanted(1)))
    together = list(crops.read_rows(pictures, wanted(2)))
    assert together == alone
    assert [row["image"] for row in alone] == [str(file) for file in pictures]
    assert [i for i, row in enumerate(alone) if "error" in row] == [7, 90]


def killed_by(image, wanted):
    if image.name == "050.png":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"image": str(image)}


class InProcesses:
    """A pool whose processes read as `killed_by` does: the patch of a test stays here."""

    def __init__(self, pool):
        self.pool = pool

    def __enter__(self):
        self.pool.__enter__()
        return self

    def __exit__(self, *raised):
        return self.pool.__exit__(*raised)

    def map(self, _, parts, wanted):
        return self.pool.map(killed_part, parts, wanted)

    def submit(self, _, image, wanted):
        return self.pool.submit(killed_by, image, wanted)


def killed_part(images, wanted):
    return [killed_by(image, wanted) for image in images]


@pytest.mark.slow
def test_a_picture_that_kills_its_process_is_named_and_the_others_are_read(monkeypatch):
    monkeypatch.setattr(crops, "_pool", lambda workers: InProcesses(forked(workers)))
    files = [Path(f"{number:03}.png") for number in range(MANY)]
    rows = list(crops.read_rows(files, wanted(2)))
    assert [row["image"] for row in rows] == [str(file) for file in files]
    assert [row["image"] for row in rows if "error" in row] == ["050.png"]
    assert "killed" in rows[50]["error"]


def forked(workers):
    """Fork, so that a process knows this file's functions."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
