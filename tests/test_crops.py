import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitocr.cli import crops
from digitocr.settings import Settings
from digitocr.types import FieldType

ROOT = Path(__file__).parents[1]
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


@pytest.mark.slow
@pytest.mark.usefixtures("in_time")
def test_a_picture_that_kills_its_process_is_named_and_the_others_are_read(
    pictures, tmp_path, monkeypatch
):
    alone = list(crops.read_rows(pictures, wanted(1)))
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from digitocr import scans\n"
        "open_scan = scans.open_scan\n"
        "def open_or_die(path, **how):\n"
        "    if path.name == '050.png':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return open_scan(path, **how)\n"
        "scans.open_scan = open_or_die\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    rows = list(crops.read_rows(pictures, wanted(2)))
    assert [row["image"] for row in rows] == [str(file) for file in pictures]
    assert "killed the process that read it" in rows[50]["error"]
    assert rows[:50] + rows[51:] == alone[:50] + alone[51:]
