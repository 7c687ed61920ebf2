from __future__ import annotations

import csv
import importlib.util
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from digitocr import templates
from digitocr.errors import TemplateError, UsageError
from digitocr.forms.fill import TruthRow, blank, fill, fill_pages
from digitocr.forms.values import draw_values, written
from digitocr.types import FieldType

SAMPLES = Path(__file__).parents[2] / "sample_forms"
NAMES = ("clinic-tally", "meter-reading", "school-register")
PLAIN = """
name = "plain"
version = 1
[[pages]]
width = 400
height = 300
dpi = 100
anchors = [{kind = "square", center = [20, 20], size = 16}]
[[fields]]
name = "count"
box = [50, 50, 170, 90]
kind = "boxed"
cells = 3
checks = [{rule = "range", min = 100, max = 120}]
[[fields]]
name = "day"
box = [50, 120, 290, 160]
kind = "comb"
cells = 6
type = "date"
date_format = "MMDDYY"
[[fields]]
name = "free"
box = [50, 200, 290, 240]
kind = "open"
"""


@pytest.fixture(scope="module")
def forms():
    return {name: templates.load(SAMPLES / name) for name in NAMES}


@pytest.fixture
def plain(tmp_path):
    return load(tmp_path, PLAIN)


def load(folder, text):
    (folder / "template.toml").write_text(text, encoding="utf-8")
    return templates.load(folder)


def luhn(digits):
    pairs = [divmod(int(d) * (1 + i % 2), 10) for i, d in enumerate(reversed(digits))]
    return sum(tens + ones for tens, ones in pairs) % 10 == 0


@pytest.mark.parametrize("name", NAMES)
def test_made_up_values_obey_lengths_and_sums(name, forms):
    form = forms[name]
    for seed in range(30):
        values = draw_values(form, np.random.default_rng(seed))
        assert list(values) == [field.name for field in form.fields]
        for field in form.fields:
            digits = written(field, values[field.name]).replace(".", "")
            assert len(digits) <= (field.max_length or 99), field.name
            assert digits == "" or len(digits) >= field.min_length, field.name
            assert digits or not field.required
            if field.type is FieldType.DATE and digits:
                assert date.fromisoformat(values[field.name]).year >= 2021
            if field.type is FieldType.DECIMAL and digits:
                assert len(values[field.name].split(".")[1]) == field.decimals
        for rule in form.rules:
            parts = sum(Decimal(values[part] or 0) for part in rule.of)
            assert parts == Decimal(values[rule.equals] or 0), rule.name


def test_made_up_values_obey_ranges_patterns_and_check_digits(forms, plain):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        card = draw_values(forms["meter-reading"], rng)
        assert luhn(card["meter"])
        assert "1000" <= card["route"] <= "9999"
        assert card["pressure"] == "" or 0.5 <= float(card["pressure"]) <= 16
        count = draw_values(plain, rng)["count"]
        assert count == "" or 100 <= int(count) <= 120


def test_rules_that_cannot_hold_are_named(tmp_path):
    text = PLAIN + '[[rules]]\nrule = "sum"\nof = ["count", "count"]\nequals = "free"\n'
    text = text.replace('kind = "open"', 'kind = "open"\nmax_length = 1')
    text = text.replace("cells = 3", "cells = 3\nmin_length = 1")
    with pytest.raises(TemplateError, match="sum-free"):
        draw_values(load(tmp_path, text), np.random.default_rng(0))


def test_checks_that_contradict_each_other_are_named(tmp_path):
    text = PLAIN.replace("max = 120}", 'max = 120}, {rule = "pattern", pattern = "9.."}')
    with pytest.raises(TemplateError, match=r"'count'.*range, pattern"):
        draw_values(load(tmp_path, text), np.random.default_rng(1))


def test_a_date_is_written_in_the_order_of_its_field(plain):
    day = plain.fields[1]
    assert written(day, "2024-03-09") == "030924"
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        written(day, "09.03.2024")


def test_the_same_seed_fills_the_same_page_and_the_template_stays(forms):
    form = forms["meter-reading"]
    before = form.pages[0].reference.copy()
    values = draw_values(form, np.random.default_rng(1))
    one, two = (fill(form, values, np.random.default_rng(2)) for _ in range(2))
    other = fill(form, values, np.random.default_rng(3))
    assert np.array_equal(one, two) and not np.array_equal(one, other)
    assert np.array_equal(form.pages[0].reference, before)
    assert (one <= before).all()


def test_ink_is_in_the_fields_that_have_a_value_only(plain):
    page = fill(plain, {"count": "105"}, np.random.default_rng(0))
    inked = page < blank(plain)
    assert inked[45:95, 45:175].sum() > 200
    inked[45:95, 45:175] = False
    assert not inked.any()


def test_a_page_is_drawn_at_the_resolution_asked_for(plain):
    page = fill(plain, {"free": "12"}, np.random.default_rng(0), dpi=200)
    assert page.shape == (600, 800)
    assert (page[390:490] < 100).any()


def test_a_value_for_no_field_and_a_page_of_no_form_are_refused(plain):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no field 'total'"):
        fill(plain, {"total": "1"}, rng)
    with pytest.raises(ValueError, match="page must be 1 to 1"):
        fill(plain, {}, rng, page=2)


@pytest.mark.parametrize("clean", [True, False])
def test_filled_pages_come_with_their_truth(plain, tmp_path, clean):
    rows = fill_pages(plain, 2, tmp_path / "out", 5, clean=clean)
    with (tmp_path / "out" / "truth.csv").open(encoding="utf-8", newline="") as file:
        read = [TruthRow(**{**row, "page": int(row["page"])}) for row in csv.DictReader(file)]
    assert read == rows and len(rows) == 6
    assert {row.source for row in rows} == {"plain-001.png", "plain-002.png"}
    with Image.open(tmp_path / "out" / "plain-002.png") as picture:
        assert picture.size == (400, 300)
        assert round(picture.info["dpi"][0]) == 100


def test_more_pages_do_not_change_the_first_ones(plain, tmp_path):
    few = fill_pages(plain, 1, tmp_path / "few", 5)
    many = fill_pages(plain, 2, tmp_path / "many", 5)
    assert many[: len(few)] == few
    name = "plain-001.png"
    assert (tmp_path / "few" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_a_form_of_two_pages_is_one_file(forms, tmp_path):
    rows = fill_pages(forms["school-register"], 1, tmp_path, 1, clean=True, dpi=75)
    assert {row.page for row in rows} == {1, 2}
    with Image.open(tmp_path / "school-register-001.tif") as picture:
        assert picture.n_frames == 2


def test_what_cannot_be_written_is_said_in_one_line(plain, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="--out"):
        fill_pages(plain, 1, tmp_path / "taken", 1)
    with pytest.raises(UsageError, match="count"):
        fill_pages(plain, 0, tmp_path / "out", 1)


def script(name):
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_blank_sample_forms_are_as_their_script_draws_them(tmp_path):
    script("draw_blanks").main(tmp_path)
    drawn = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
    assert len(drawn) == 4
    for path in drawn:
        with Image.open(tmp_path / path) as new, Image.open(SAMPLES / path) as old:
            difference = np.abs(np.asarray(new, int) - np.asarray(old, int))
        # Another build of Pillow may draw the edges of letters a shade lighter.
        assert difference.mean() < 0.3, path


def test_every_sample_scan_is_named_in_its_readme_and_truth_names_scans_only():
    for name in NAMES:
        scans = {path.name for path in (SAMPLES / name / "scans").iterdir()}
        readme = (SAMPLES / name / "README.md").read_text(encoding="utf-8")
        with (SAMPLES / name / "truth.csv").open(encoding="utf-8", newline="") as file:
            sources = {row["source"] for row in csv.DictReader(file)}
        assert sources <= scans
        assert [scan for scan in sorted(scans) if scan not in readme] == []
