import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitocr import FormTemplate, templates
from digitocr.errors import TemplateError
from digitocr.pipeline import check_forms
from digitocr.types import Box, FieldKind, FieldType, Rule, VoidMark

SAMPLES = Path(__file__).parents[1] / "sample_forms"
NAMES = ("clinic-tally", "meter-reading", "school-register")
FORM = """
name = "tally"
version = 3
title = "A tally"
[[pages]]
width = 300
height = 200
dpi = 100
reference = "blank.png"
anchors = [{kind = "square", center = [20, 20], size = 16}]
[[pages]]
width = 300
height = 200
dpi = 100
[[fields]]
name = "a"
box = [10, 40, 70, 60]
kind = "boxed"
cells = 3
[[fields]]
name = "b"
box = [80, 40, 140, 60]
kind = "open"
type = "decimal"
decimals = 2
[[fields]]
name = "day"
box = [10, 80, 90, 100]
kind = "comb"
cells = 8
type = "date"
[[fields]]
name = "back"
page = 2
box = [10, 80, 90, 100]
kind = "open"
type = "integer"
[[rules]]
rule = "sum"
of = ["a"]
equals = "b"
"""


def save(folder, text=FORM, shape=(200, 300)):
    folder.mkdir(exist_ok=True)
    picture = np.full(shape, 255, np.uint8)
    picture[10:20, 10:20] = 0
    cv2.imwrite(str(folder / "blank.png"), picture)
    (folder / "template.toml").write_text(text, encoding="utf-8")
    return folder


def message_of(folder, text=FORM, **more):
    with pytest.raises(TemplateError) as error:
        templates.load(save(folder, text, **more))
    message = str(error.value)
    assert message.startswith(str(folder / "template.toml")) and "\n" not in message
    return message


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_forms_load(name):
    form = FormTemplate.load(SAMPLES / name)
    assert form.name == name and form.fields and form.rules
    assert form.fields == sum((form.fields_of(page.number) for page in form.pages), ())
    for page in form.pages:
        assert form.page(page.number) is page
        assert page.reference.shape == (page.height, page.width)
        assert page.reference.dtype == np.uint8
    check_forms([form])


def test_all_forms_of_a_folder_load_in_order_and_one_form_alone():
    assert tuple(form.name for form in templates.load_all(SAMPLES)) == NAMES
    assert [form.name for form in templates.load_all(SAMPLES / NAMES[0])] == [NAMES[0]]


def test_the_types_of_fields_are_found_in_the_text_alone():
    for form in templates.load_all(SAMPLES):
        types = {field.name: field.type for field in form.fields}
        assert templates.field_types(form.source) == types
    assert templates.field_types('[[fields]]\nname = "a"') == {"a": FieldType.INTEGER}
    assert templates.field_types('name = "empty"') == {}


def test_the_folder_the_file_and_a_text_path_lead_to_the_same_form(tmp_path):
    folder = save(tmp_path / "form")
    prints = {
        templates.load(folder).fingerprint,
        templates.load(folder / "template.toml").fingerprint,
        FormTemplate.load(str(folder)).fingerprint,
    }
    assert len(prints) == 1


def test_what_the_file_says_is_what_the_form_is(tmp_path):
    form = templates.load(save(tmp_path / "form"))
    a, b, day, back = form.fields
    assert (str(form), form.title, len(form.pages)) == ("'tally' v3", "A tally", 2)
    assert (a.box, a.kind, a.cells) == (Box(10, 40, 70, 60), FieldKind.BOXED, 3)
    assert (a.type, a.title, a.max_length) == (FieldType.INTEGER, "a", 3)
    assert (b.decimals, b.cells, b.max_length) == (2, None, None)
    assert (day.date_format, day.max_length) == ("DDMMYYYY", 8)
    assert back.page == 2
    assert form.rules[0].name == "sum-b" and form.rules[0].rule is Rule.SUM
    assert form.pages[0].anchors[0].center == (20.0, 20.0)
    assert form.pages[1].reference is None
    assert form.source == FORM


def test_void_marks_and_checks_become_values(tmp_path):
    text = FORM.replace(
        "cells = 3",
        'cells = 3\nvoid_marks = ["x", "dash"]\n'
        'checks = [{rule = "range", min = 1, max = 9}, {rule = "luhn"}]',
    )
    field = templates.load(save(tmp_path / "form", text)).fields[0]
    assert field.void_marks == (VoidMark.X, VoidMark.DASH)
    assert [check.rule for check in field.checks] == [Rule.RANGE, Rule.LUHN]
    assert (field.checks[0].min, field.checks[0].max) == (1.0, 9.0)


def test_an_aruco_anchor_without_a_dictionary_has_the_usual_one(tmp_path):
    text = FORM.replace('{kind = "square",', '{kind = "aruco", id = 2,')
    anchor = templates.load(save(tmp_path / "form", text)).pages[0].anchors[0]
    assert (anchor.id, anchor.dictionary) == (2, "4x4_50")


def test_rules_that_share_a_name_can_be_told_apart(tmp_path):
    rule = '[[rules]]\nrule = "sum"\nof = ["a"]\nequals = "b"\n'
    form = templates.load(save(tmp_path / "form", FORM + rule))
    assert len({rule.name for rule in form.rules}) == 2


def test_the_fingerprint_changes_with_the_text_and_with_the_picture(tmp_path):
    folder = save(tmp_path / "form")
    first = templates.load(folder).fingerprint
    assert templates.load(folder).fingerprint == first
    save(folder, FORM + "# a comment\n")
    second = templates.load(folder).fingerprint
    picture = cv2.imread(str(folder / "blank.png"), cv2.IMREAD_GRAYSCALE)
    picture[100, 100] = 254
    cv2.imwrite(str(folder / "blank.png"), picture)
    third = templates.load(folder).fingerprint
    assert len({first, second, third}) == 3
    copied = shutil.copytree(folder, tmp_path / "elsewhere")
    assert templates.load(Path(copied)).fingerprint == third


CELLS = "cells = 3"
BOXED = 'kind = "boxed"\ncells = 3'
LAST = 'type = "integer"\n[[rules]]'
ANCHOR = '{kind = "square", center = [20, 20], size = 16}'


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        # keys and types
        ("version = 3", "version = 3\ncolor = 1", ("color", "no such key", "README")),
        ("cells = 3", "cell = 3", ("fields[1].cell", "no such key")),
        ("size = 16", "size = 16, side = 2", ("pages[1].anchors[1].side", "no such key")),
        ('name = "tally"', "", ("name", "missing")),
        ('kind = "open"\ntype = "d', 'type = "d', ("fields[2].kind", "missing")),
        ("version = 3", 'version = "3"', ("version = '3'", "integer")),
        ("version = 3", "version = true", ("version = True", "integer")),
        ("version = 3", "version = 0", ("version = 0", "greater")),
        ("width = 300", "width = 300.5", ("pages[1].width = 300.5", "integer")),
        ("dpi = 100", "dpi = nan", ("pages[1].dpi = nan",)),
        ('name = "tally"', 'name = "a b"', ("name = 'a b'", "pattern")),
        ('name = "a"', 'name = "../a"', ("fields[1].name = '../a'", "pattern")),
        ('kind = "boxed"', 'kind = "box"', ("fields[1].kind = 'box'", "'boxed'")),
        (CELLS, "cells = 0", ("fields[1].cells = 0", "greater")),
        (CELLS, "cells = true", ("fields[1].cells = True",)),
        (CELLS, 'cells = 3\ntype = "text"', ("fields[1].type = 'text'", "'integer'")),
        (CELLS, 'cells = 3\nvoid_marks = ["o"]', ("void_marks[1] = 'o'", "'x'")),
        (CELLS, "cells = 3\nweight = 0", ("fields[1].weight = 0", "greater")),
        (CELLS, "cells = 3\nweight = inf", ("fields[1].weight = inf", "finite")),
        # boxes
        ("[10, 40, 70, 60]", "[10, 40, 70]", ("fields[1].box = [10, 40, 70]", "4")),
        ("[10, 40, 70, 60]", "[10, 40, 70, 60.5]", ("fields[1].box[4] = 60.5", "integer")),
        ("[10, 40, 70, 60]", "[10, 40, 301, 60]", ("'a': box = [10, 40, 301", "outside")),
        ("[10, 40, 70, 60]", "[10, -1, 70, 60]", ("'a': box = [10, -1", "300 × 200")),
        ("[10, 40, 70, 60]", "[70, 40, 10, 60]", ("'a': box = [70, 40, 10", "empty")),
        ("[10, 40, 70, 60]", "[10, 40, 70, 40]", ("'a': box =", "empty")),
        # fields
        ('name = "b"', 'name = "a"', ("'a'", "used twice")),
        ("page = 2", "page = 3", ("'back': page = 3", "has 2")),
        ('kind = "boxed"', 'kind = "mark"\ntype = "integer"', ("'a': type", "several boxes")),
        ('kind = "boxed"', 'kind = "mark"\nmin_length = 1', ("'a': min_length", "pattern")),
        ('kind = "boxed"', 'kind = "mark"\nvoid_marks = ["x"]', ("'a': void_marks",)),
        ('kind = "boxed"', 'kind = "barcode"', ("'a': cells = 3", "no positions")),
        (
            BOXED,
            'kind = "barcode"\nchecks = [{rule = "range", min = 1}]',
            ("'a': check 'range'",),
        ),
        (BOXED, 'kind = "barcode"\ntype = "date"', ("'a': type = 'date'", "code")),
        (
            "dpi = 100",
            'dpi = 100\nidentifier = {kind = "qr", box = [9, 9, 9, 19]}',
            ("box = [9",),
        ),
        ('equals = "b"', 'equals = "b"\n[print]\npapper = 1', ("print.papper", "no such key")),
        (CELLS, "", ("'a': cells is missing", "boxed")),
        (
            'kind = "open"\ntype = "d',
            'kind = "open"\ncells = 2\ntype = "d',
            ("'b': cells = 2",),
        ),
        (CELLS, "cells = 3\nmax_length = 4", ("'a': max_length = 4", "cells = 3")),
        (CELLS, "cells = 3\nmin_length = 4", ("'a': min_length = 4", "3")),
        (
            CELLS,
            "cells = 3\nmin_length = 3\nmax_length = 2",
            ("'a': min_length = 3", "more than 2"),
        ),
        (CELLS, "cells = 3\ndecimals = 1", ("'a': decimals = 1", "integer")),
        # dates
        ("cells = 8", 'cells = 8\ndate_format = "DD.MM.YY"', ("'day': date_format", "DD.MM")),
        (
            "cells = 8",
            'cells = 8\ndate_format = "DDMM"',
            ("'day': date_format = 'DDMM'", "year"),
        ),
        ("cells = 8", 'cells = 8\ndate_format = "YYYY"', ("'day': date_format = 'YYYY'", "DD")),
        ("cells = 8", 'cells = 8\ndate_format = "ddmmyyyy"', ("'day': date_format", "DD")),
        ("cells = 8", 'cells = 8\ndate_format = "DDMMYYDD"', ("'day': date_format", "DD")),
        ("cells = 8", 'cells = 8\ndate_format = "DDMMYY"', ("'day': date_format", "6 digits")),
        (
            "cells = 8",
            'cells = 10\ndate_format = "DDMMYYYYYY"',
            ("'day': date_format = 'DDMMYYYYYY'", "DD"),
        ),
        # checks
        (CELLS, 'cells = 3\nchecks = [{rule = "sum"}]', ("checks[1].rule = 'sum'",)),
        (CELLS, 'cells = 3\nchecks = [{rule = "range"}]', ("'a': check 'range'", "min or max")),
        (
            CELLS,
            'cells = 3\nchecks = [{rule = "range", min = 5, max = 4}]',
            ("'a': check 'range'", "min = 5"),
        ),
        (
            CELLS,
            'cells = 3\nchecks = [{rule = "range", min = nan, max = 4}]',
            ("fields[1].checks[1].min = nan", "finite"),
        ),
        (CELLS, 'cells = 3\nchecks = [{rule = "luhn", max = 1}]', ("'a': check 'luhn'", "max")),
        (CELLS, 'cells = 3\nchecks = [{rule = "pattern"}]', ("'a': a pattern",)),
        (
            CELLS,
            'cells = 3\nchecks = [{rule = "luhn", pattern = "1"}]',
            ("'a': a pattern", "alone"),
        ),
        (
            CELLS,
            'cells = 3\nchecks = [{rule = "pattern", pattern = "["}]',
            ("'a': pattern = '['",),
        ),
        (
            "cells = 8",
            'cells = 8\nchecks = [{rule = "range", min = 1}]',
            ("'day': check 'range'", "date"),
        ),
        # rules
        ('equals = "b"', 'equals = "c"', ("rules[1]: 'c'", "not a field")),
        ('of = ["a"]', 'of = ["a", "z"]', ("rules[1]: 'z'", "not a field")),
        ('of = ["a"]', "of = []", ("rules[1].of", "at least 1")),
        ('of = ["a"]', 'of = ["day"]', ("rules[1]: 'day' is a date", "not a number")),
        ('of = ["a"]', 'of = ["back"]', ("rules[1]", "several pages")),
        ('rule = "sum"', 'rule = "product"', ("rules[1].rule = 'product'", "'sum'")),
        # pages and anchors
        ("[20, 20]", "[300, 20]", ("pages[1].anchors", "[300, 20]", "outside")),
        ("[20, 20]", "[20, -1]", ("pages[1].anchors", "[20, -1]", "300 × 200")),
        ("[20, 20]", "[20]", ("pages[1].anchors[1].center = [20]",)),
        ("size = 16", "size = 1", ("pages[1].anchors[1].size = 1", "greater")),
        ('kind = "square"', 'kind = "cross"', ("anchors[1].kind = 'cross'", "'square'")),
        ('kind = "square"', 'kind = "aruco"', ("pages[1].anchors", "needs an id")),
        (
            'kind = "square"',
            'kind = "aruco", id = 1, dictionary = "7x7"',
            ("anchors[1].dictionary = '7x7'", "4x4_50"),
        ),
        ('kind = "square"', 'kind = "aruco", id = 50', ("pages[1].anchors", "id = 50", "50")),
        ('"blank.png"', '"none.png"', ("pages[1].reference = 'none.png'", "empty form")),
        ('"blank.png"', '"template.toml"', ("pages[1].reference", "not a picture")),
        ('"blank.png"', '""', ("pages[1].reference = ''",)),
        (
            "dpi = 100\n[[fields]]",
            "dpi = 100\nignore = true\n[[fields]]",
            ("'back': page = 2",),
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_key_and_value(tmp_path, old, new, parts):
    assert old in FORM
    message = message_of(tmp_path / "form", FORM.replace(old, new, 1))
    assert all(part in message for part in parts), message


def test_a_reference_of_another_size_is_refused(tmp_path):
    message = message_of(tmp_path / "form", shape=(200, 301))
    assert "blank.png" in message and "301 × 200" in message and "300 × 200" in message


def test_an_empty_reference_is_no_picture(tmp_path):
    folder = save(tmp_path / "form")
    (folder / "blank.png").write_bytes(b"")
    with pytest.raises(TemplateError, match=r"blank\.png.*not a picture"):
        templates.load(folder)


def test_a_file_that_is_no_toml_is_said_with_its_line(tmp_path):
    assert "line 2" in message_of(tmp_path / "form", 'name = "a"\nversion\n')


def test_a_file_that_is_not_utf8_is_refused_by_name(tmp_path):
    folder = save(tmp_path / "form")
    (folder / "template.toml").write_bytes(FORM.encode() + b"# \xff\n")
    with pytest.raises(TemplateError, match=r"template\.toml.*mend the file"):
        templates.load(folder)


def test_a_form_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(TemplateError, match=re.escape(str(tmp_path / "none"))):
        templates.load(tmp_path / "none")


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_forms_is_refused_by_name(tmp_path, made):
    folder = tmp_path / "forms"
    if made:
        folder.mkdir()
    with pytest.raises(TemplateError, match=re.escape(str(folder))):
        templates.load_all(folder)


def test_two_forms_of_one_name_are_refused_with_both_files(tmp_path):
    one, two = save(tmp_path / "one"), save(tmp_path / "two")
    with pytest.raises(TemplateError) as error:
        templates.load_all(tmp_path)
    assert all(str(folder / "template.toml") in str(error.value) for folder in (one, two))


def test_a_page_with_neither_reference_nor_three_anchors_cannot_be_laid(tmp_path):
    form = templates.load(save(tmp_path / "form"))
    with pytest.raises(TemplateError, match=r"'tally' v3: page 2.*blank\.png"):
        check_forms([form])


def test_what_prints_the_form_may_stand_in_its_template(tmp_path):
    text = FORM.replace(
        "anchors = [", 'identifier = {kind = "qr", box = [100, 5, 130, 35]}\nanchors = [', 1
    )
    text += '[print]\nlabels = {a = "Visits"}\n'
    plain = templates.load(save(tmp_path / "plain"))
    printed = templates.load(save(tmp_path / "printed", text))
    assert printed.fields == plain.fields
