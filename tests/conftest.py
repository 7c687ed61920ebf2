"""What the tests of the whole program share: a small form, scans of it, and the command."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

OURS = ("DIGITOCR_", "PREFECT_")  # settings of the machine, which a test must not see

SLIP = """\
name = "slip"
version = 1
title = "Counting slip"

[[pages]]
width = 480
height = 360
dpi = 100
anchors = [
    {kind = "square", center = [24, 24], size = 20},
    {kind = "square", center = [456, 24], size = 20},
    {kind = "square", center = [24, 336], size = 20},
    {kind = "square", center = [456, 336], size = 20},
    {kind = "square", center = [340, 24], size = 20},
]

[[fields]]
name = "first"
box = [80, 80, 215, 130]
kind = "boxed"
cells = 3
type = "integer"

[[fields]]
name = "second"
box = [80, 170, 215, 220]
kind = "boxed"
cells = 3
type = "code"
min_length = 3

[[fields]]
name = "total"
box = [240, 170, 420, 220]
kind = "boxed"
cells = 4
type = "integer"
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines of stderr."""
        return self.err.splitlines()


@pytest.fixture(scope="session")
def slips(tmp_path_factory) -> Path:
    """Fill eight slips, once: `slip-001.png` to `slip-008.png` and `truth.csv`."""
    from digitocr import templates
    from digitocr.forms.fill import fill_pages

    folder = tmp_path_factory.mktemp("slips")
    (folder / "slip").mkdir()
    (folder / "slip" / "template.toml").write_text(SLIP, encoding="utf-8")
    fill_pages(templates.load(folder / "slip"), 8, folder / "scans", seed=3)
    return folder


@pytest.fixture
def workplace(slips, tmp_path, monkeypatch) -> Iterator[Path]:
    """Stand in a folder as an operator has it: forms/slip, scans with three slips."""
    from digitocr.batch import reading

    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DIGITOCR_WORKERS", "1")  # read in this process: imports cost seconds
    shutil.copytree(slips / "slip", tmp_path / "forms" / "slip")
    (tmp_path / "scans").mkdir()
    for number in (1, 2, 3):
        shutil.copy(slips / "scans" / f"slip-00{number}.png", tmp_path / "scans")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    worker = vars(reading._kept).pop("worker", None)
    if worker is not None:
        worker.engine.dispose()


@pytest.fixture
def digitocr(workplace, monkeypatch, capfd) -> Callable[..., Done]:
    """Run a command of digitocr in this process, in the workplace."""
    from digitocr import cli

    def run(*words: str | Path) -> Done:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["digitocr", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capfd.readouterr()
        return Done(int(left.value.code or 0), out, err)

    return run
