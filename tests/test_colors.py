"""A form printed in red, scanned in color and in gray, by the public command."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitocr import templates
from digitocr.forms.fill import fill
from digitocr.forms.values import draw_values

SAMPLE = Path(__file__).parents[1] / "sample_forms" / "clinic-tally"
RED = np.array([0.9, 0.9, 0.15])  # darkness of the print in blue, green and red


def red_form(folder):
    """Print a sample form in red, a hatch in each of its fields; give its black picture too."""
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("scans"))
    form = templates.load(folder)
    black = form.pages[0].reference.copy()
    for field in form.fields:
        box = field.box
        part = black[box.top : box.bottom, box.left : box.right]
        for x in range(-part.shape[0], part.shape[1], 12):
            cv2.line(part, (x, 0), (x + part.shape[0], part.shape[0]), 120, 2)
    color = 255 * (1 - (1 - black[..., None] / 255) * RED)
    for anchor in form.pages[0].anchors:  # these stay black
        x, y, half = (round(v) for v in (*anchor.center, anchor.size))
        place = np.s_[max(0, y - half) : y + half, max(0, x - half) : x + half]
        color[place] = black[place][..., None]
    cv2.imwrite(str(folder / "blank.png"), color)
    return templates.load(folder), color


@pytest.mark.slow
def test_a_form_in_red_is_read_from_scans_in_color_and_nothing_is_wrong_in_gray(
    digitocr, workplace
):
    for folder in ("forms", "scans"):
        shutil.rmtree(workplace / folder)
    (workplace / "scans").mkdir()
    form, red = red_form(workplace / "forms" / "clinic-tally")
    rng = np.random.default_rng(5)
    wanted = draw_values(form, rng)
    filled = fill(templates.load(SAMPLE), wanted, rng)
    pencil = 0.5 * (1 - filled / np.maximum(templates.load(SAMPLE).pages[0].reference, 1))
    page = red * (1 - np.clip(pencil, 0, 1)[..., None])
    page = np.clip(cv2.GaussianBlur(page, (0, 0), 0.7) + rng.normal(0, 3, page.shape), 0, 255)
    page = page.astype(np.uint8)
    cv2.imwrite("scans/color.jpg", page, [cv2.IMWRITE_JPEG_QUALITY, 85])
    cv2.imwrite("scans/gray.jpg", cv2.cvtColor(page, cv2.COLOR_BGR2GRAY))

    done = digitocr("process", "scans", "--database", "sqlite:///red.db")
    assert done.code == 0, done.err
    said = digitocr("export", "--format", "jsonl", "--database", "sqlite:///red.db").out
    rows = [json.loads(line) for line in said.splitlines()]
    accepted = {"color.jpg": 0, "gray.jpg": 0}
    for row in rows:
        if row["status"] == "accepted":
            accepted[Path(row["source"]).name] += 1
            assert row["reading"] == wanted[row["field"]], row
    assert accepted["color.jpg"] >= 13, accepted
    assert accepted["gray.jpg"] == 0, accepted  # what the hatch hides is not known
