from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitocr import templates
from digitocr.forms.check import check, check_among, overlay

SAMPLES = Path(__file__).parents[2] / "sample_forms"
GOOD = """
name = "good"
version = 1
[[pages]]
width = 800
height = 1000
dpi = 100
reference = "blank.png"
anchors = [
    {kind = "square", center = [40, 40], size = 20},
    {kind = "square", center = [760, 40], size = 20},
    {kind = "square", center = [40, 960], size = 20},
]
[[fields]]
name = "first"
box = [100, 100, 220, 140]
kind = "boxed"
cells = 4
[[fields]]
name = "second"
box = [100, 300, 300, 340]
kind = "open"
max_length = 5
"""


def form_of(folder, text=GOOD, print_more=None):
    picture = np.full((1000, 800), 255, np.uint8)
    for x, y in ((40, 40), (760, 40), (40, 960)):
        picture[y - 10 : y + 10, x - 10 : x + 10] = 0
    for x in range(100, 221, 30):
        cv2.line(picture, (x, 100), (x, 140), 100, 2)
    cv2.rectangle(picture, (100, 100), (220, 140), 100, 2)
    cv2.line(picture, (100, 340), (300, 340), 100, 2)
    if print_more is not None:
        print_more(picture)
    cv2.imwrite(str(folder / "blank.png"), picture)
    (folder / "template.toml").write_text(text, encoding="utf-8")
    return templates.load(folder)


def test_a_good_form_has_no_warning(tmp_path):
    assert check(form_of(tmp_path)) == []


@pytest.mark.parametrize("name", ["clinic-tally", "meter-reading", "school-register"])
def test_the_sample_forms_have_no_warning(name):
    assert check(templates.load(SAMPLES / name)) == []


ANCHORS = GOOD[GOOD.index("anchors") : GOOD.index("[[fields]]")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[100, 300, 300, 340]", "[180, 120, 380, 160]", "'first' and 'second' overlap"),
        ("[100, 100, 220, 140]", "[100, 100, 140, 140]", "2.5 mm"),
        ("[100, 300, 300, 340]", "[100, 325, 300, 340]", "mm high"),
        ("[100, 300, 300, 340]", "[5, 300, 205, 340]", "rim of the sheet"),
        ("[760, 40]", "[60, 48]", "overlap|not on the reference"),
        ("center = [760, 40]", "center = [700, 300]", "not on the reference"),
        ("center = [40, 960]", "center = [400, 40]", "one row"),
        ('    {kind = "square", center = [40, 960], size = 20},\n', "", "2 anchors"),
        ('reference = "blank.png"\n' + ANCHORS, "", "neither anchors nor a reference"),
        ("max_length = 5", "", "no max_length"),
        ("max_length = 5", 'max_length = 5\nvoid_marks = ["x"]', "mean nothing"),
        ("max_length = 5", "max_length = 5\nrequired = true", "set min_length"),
        (
            "max_length = 5",
            'max_length = 5\nchecks = [{rule = "range", max = 1234567}]',
            "no room in 5 digits",
        ),
        ('name = "second"', 'name = "First"', "in case only"),
    ],
)
def test_what_may_go_wrong_is_named(tmp_path, old, new, said):
    assert old in GOOD
    warnings = check(form_of(tmp_path, GOOD.replace(old, new)))
    assert any(part in warning for warning in warnings for part in said.split("|")), warnings


def test_print_within_a_field_is_named(tmp_path):
    def letters(picture):
        cv2.putText(picture, "kg", (200, 330), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 0, 2)

    (warning,) = check(form_of(tmp_path, print_more=letters))
    assert "'second'" in warning and "printed on" in warning


def test_aruco_anchors_with_one_number_are_named(tmp_path):
    text = GOOD.replace('reference = "blank.png"\n', "")
    for number in (1, 2, 1):
        text = text.replace('"square"', f'"aruco", id = {number}', 1)
    assert any("aruco id 1" in warning for warning in check(form_of(tmp_path, text)))


def test_an_overlay_shows_the_boxes_and_leaves_the_template_alone(tmp_path):
    form = form_of(tmp_path)
    before = form.pages[0].reference.copy()
    image = overlay(form)
    assert image.shape == (1000, 800, 3)
    assert tuple(image[300, 200]) == (40, 40, 210)
    assert np.array_equal(form.pages[0].reference, before)


def test_a_form_with_hardly_any_print_is_named(tmp_path):
    def nothing_below(picture):
        picture[160:] = 255

    warnings = check(form_of(tmp_path, print_more=nothing_below))
    assert any("places of print" in warning for warning in warnings), warnings


@pytest.mark.slow
def test_a_form_that_could_be_taken_for_another_is_named():
    clinic = templates.load(SAMPLES / "clinic-tally")
    copy = replace(templates.load(SAMPLES / "clinic-tally"), name="copy")
    (warning,) = check_among(clinic, [copy])
    assert "fits page 1 of 'copy' v1 as well" in warning
    others = [templates.load(SAMPLES / name) for name in ("meter-reading", "school-register")]
    assert check_among(clinic, others) == []
