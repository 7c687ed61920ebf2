"""What people script against: the lines of `read`, `classify` and `evaluate`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digitocr import synth
from digitocr.types import Box

ROOT = Path(__file__).parent.parent
PARTIAL = 3
READ_KEYS = ["image", "text", "confidence", "accepted", "reasons", "alternatives", "glyphs"]


def objects(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def crop(path: Path, text: str, *, inverted: bool = False) -> Path:
    paper = np.full((90, 60 + 60 * len(text)), 255, np.uint8)
    if text:
        box = Box(20, 15, paper.shape[1] - 20, 75)
        hand = synth.draw_hand(np.random.default_rng(5))
        rng = np.random.default_rng(6)
        paper = synth.write_number(paper, text, box, rng, hand=hand, cells=None)
    Image.fromarray(255 - paper if inverted else paper).save(path)
    return path


@pytest.fixture
def crops(workplace) -> Path:
    crop(workplace / "number.png", "4071")
    crop(workplace / "blank.png", "")
    (workplace / "broken.png").write_text("no picture")
    return workplace


def probabilities(values: Iterator[float]) -> bool:
    return all(isinstance(value, float) and 0 <= value <= 1 for value in values)


# ---------------------------------------------------------------- read


def test_read_prints_the_promised_keys_in_the_order_given(digitocr, crops):
    done = digitocr(
        "read", "blank.png", "broken.png", "number.png", "nowhere.png", "--format", "jsonl"
    )
    assert (done.code, done.err) == (PARTIAL, "")
    blank, broken, number, nowhere = objects(done.out)
    assert list(blank) == list(number) == READ_KEYS
    assert list(broken) == list(nowhere) == ["image", "error"]
    assert [row["image"] for row in (blank, broken, number, nowhere)] == [
        "blank.png",
        "broken.png",
        "number.png",
        "nowhere.png",
    ]
    assert broken["error"].startswith("broken.png: is not a scan; ")
    assert nowhere["error"].startswith("nowhere.png: no such file; ")


def test_read_gives_text_confidence_alternatives_and_glyphs(digitocr, crops):
    done = digitocr("read", "number.png", "--format", "jsonl")
    assert (done.code, done.err) == (0, "")
    (row,) = objects(done.out)
    assert isinstance(row["text"], str)
    assert isinstance(row["accepted"], bool)
    assert row["accepted"] == (row["reasons"] == [])
    assert probabilities(iter([row["confidence"]]))
    for other in row["alternatives"]:
        assert list(other) == ["text", "confidence"]
        assert other["text"] != row["text"]
    assert probabilities(other["confidence"] for other in row["alternatives"])
    assert "".join(glyph["text"] for glyph in row["glyphs"]) == row["text"]
    for glyph in row["glyphs"]:
        assert list(glyph) == ["box", "text", "confidence"]
        left, top, right, bottom = glyph["box"]
        assert 0 <= left < right <= 300
        assert 0 <= top < bottom <= 90


def test_a_blank_crop_is_an_empty_text_and_not_null(digitocr, crops):
    (row,) = objects(digitocr("read", "blank.png", "--format", "jsonl").out)
    assert row["text"] == ""
    assert row["glyphs"] == []


def test_a_number_of_the_wrong_length_is_not_accepted(digitocr, crops):
    done = digitocr("read", "number.png", "--min-digits", "6", "--format", "jsonl")
    (row,) = objects(done.out)
    assert not row["accepted"]
    assert row["reasons"]


def test_read_as_a_table_names_what_cannot_be_opened_once(digitocr, crops):
    done = digitocr("read", "number.png", "blank.png", "broken.png")
    assert done.code == PARTIAL
    assert done.err.count("broken.png") == 1
    assert "number.png" in done.out
    assert "(blank)" in done.out


# ---------------------------------------------------------------- classify


def digits(workplace: Path) -> Path:
    """Write one drawn digit of each kind as `digits.npz`, and as pictures."""
    rng = np.random.default_rng(1)
    hand = synth.draw_hand(rng)
    images = []
    for digit in range(10):
        paper = np.full((60, 60), 255, np.uint8)
        image = synth.write_number(
            paper, str(digit), Box(10, 8, 50, 52), rng, hand=hand, cells=1
        )
        Image.fromarray(image).save(workplace / f"digit-{digit}.png")
        images.append(image)
    np.savez(workplace / "digits.npz", x=np.stack(images), y=np.arange(10))
    np.savez(workplace / "inverted.npz", x=255 - np.stack(images))
    return workplace / "digits.npz"


def test_classify_prints_the_promised_keys(digitocr, workplace):
    digits(workplace)
    done = digitocr("classify", "--npz", "digits.npz", "--format", "jsonl")
    assert (done.code, done.err) == (0, "")
    found = objects(done.out)
    assert all(list(row) == ["index", "digit", "confidence", "accepted"] for row in found)
    assert [row["index"] for row in found] == list(range(10))
    assert probabilities(row["confidence"] for row in found)
    right = sum(row["digit"] == index for index, row in enumerate(found))
    assert right >= 9, found


def test_light_digits_on_dark_are_the_same_digits(digitocr, workplace):
    digits(workplace)
    dark = objects(digitocr("classify", "--npz", "digits.npz", "--format", "jsonl").out)
    light = objects(digitocr("classify", "--npz", "inverted.npz", "--format", "jsonl").out)
    assert [row["digit"] for row in light] == [row["digit"] for row in dark]
    assert [row["confidence"] for row in light] == pytest.approx(
        [row["confidence"] for row in dark], abs=1e-3
    )


def test_pictures_are_classified_as_an_npz_of_them_is(digitocr, workplace):
    digits(workplace)
    names = [f"digit-{digit}.png" for digit in range(10)]
    many = digitocr("classify", "--npz", "digits.npz", "--format", "jsonl")
    each = digitocr("classify", *names, "--format", "jsonl")
    assert each.out == many.out


def test_a_picture_that_cannot_be_opened_has_its_place_among_the_digits(digitocr, workplace):
    digits(workplace)
    words = ("classify", "digit-3.png", "nowhere.png", "digit-5.png")
    done = digitocr(*words, "--format", "jsonl")
    assert (done.code, done.err) == (PARTIAL, "")
    first, bad, last = objects(done.out)
    assert list(bad) == ["image", "error"]
    assert bad["image"] == "nowhere.png"
    assert (first["index"], last["index"]) == (0, 2)
    done = digitocr(*words)
    assert done.code == PARTIAL
    assert done.err == "nowhere.png: no such file; was it moved or renamed?\n"


def test_paper_without_ink_is_no_digit(digitocr, workplace):
    np.savez(workplace / "empty.npz", x=np.full((2, 28, 28), 255, np.uint8))
    found = objects(digitocr("classify", "--npz", "empty.npz", "--format", "jsonl").out)
    assert [row["accepted"] for row in found] == [False, False]
    np.savez(workplace / "none.npz", x=np.zeros((0, 28, 28), np.uint8))
    done = digitocr("classify", "--npz", "none.npz", "--format", "jsonl")
    assert (done.code, done.out) == (0, "")


# ---------------------------------------------------------------- evaluate


@pytest.mark.slow
def test_evaluate_prints_its_figures_as_json(workplace):
    pytest.importorskip("keras", reason="the extra [train] is not installed")
    digits(workplace)
    done = subprocess.run(
        [sys.executable, "-m", "digitocr.cli", "evaluate", "--data", "digits.npz", "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (figures,) = json.loads(done.stdout)["sets"].values()
    assert figures["digits"] == 10
    assert figures["accuracy"] >= 0.9
    for key in ("precision", "recall", "f1", "confusion", "ece"):
        assert key in figures
