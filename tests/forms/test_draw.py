import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from digitocr import pipeline, templates
from digitocr.errors import TemplateError
from digitocr.forms import check, draw, fill
from digitocr.forms.damage import Condition, spoil
from digitocr.forms.values import draw_values
from digitocr.imaging import registration
from digitocr.imaging.codes import find_page_codes
from digitocr.recognition.classifier import Model
from digitocr.settings import Settings
from digitocr.types import Document, FieldType, ModelCard, Page, PageStatus

TEN_LINES = """name = "visits"  # our weekly count
version = 1
title = "Visits"
[[fields]]
name = "clinic"
cells = 6
type = "code"
[[fields]]
name = "all"
max_length = 3
"""
WHOLE = """# What we ask households.
name = "survey"
version = 2
title = "Household survey"

[print]            # how it looks
color = "green"
footer = "Thank you."
headings = {people = "The house"}

[print.choices]
water = ["tap", "well", "river"]

# --- what is asked
[[fields]]
name = "day"       # of the visit
type = "date"
date_format = "DDMMYY"
required = true

[[fields]]
name = "income"
type = "decimal"
decimals = 2
cells = 6
kind = "comb"

# How many live there.
[[fields]]
name = "people"
checks = [
    {rule = "range", min = 1, max = 40},
]
max_length = 2

[[fields]]
name = "owner"
kind = "mark"
[[fields]]
name = "water"
kind = "mark"
[[fields]]
name = "rooms"
kind = "open"
max_length = 2
[[fields]]
name = "label"
kind = "barcode"
min_length = 4
max_length = 8
"""


def save(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "template.toml").write_text(text, encoding="utf-8")
    return folder


def text_of(folder):
    return (folder / "template.toml").read_text(encoding="utf-8")


def refused(folder, text):
    with pytest.raises(TemplateError) as error:
        draw.draw(save(folder, text))
    assert text_of(folder) == text and not (folder / "blank.png").exists()
    return str(error.value)


def page_of(image):
    return Page(Document("0" * 64, 1), 1, image, None)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = save(tmp_path_factory.mktemp("drawn") / "survey", WHOLE)
    return folder, draw.draw(folder)


@pytest.fixture(scope="module")
def reader(drawn):
    def nothing(glyphs):
        rows = np.zeros((len(glyphs), 10), np.float32)
        rows[:, 7] = 1.0
        return rows

    card = ModelCard("fake", tuple("0123456789"), 28, 1.0, "", (), {}, "")
    return pipeline.prepare((drawn[1],), Model(Path("fake"), card, nothing), Settings())


def test_ten_lines_make_a_form_with_nothing_to_complain_of(tmp_path):
    form = draw.draw(save(tmp_path / "visits", TEN_LINES))
    page = form.page(1)
    assert (page.width, page.height, page.dpi) == (1240, 1754, 150.0)
    assert [(f.name, f.cells) for f in form.fields] == [("clinic", 6), ("all", 3)]
    assert len(page.anchors) == 4 and page.identifier is not None
    assert check.check(form) == []


def test_every_kind_of_field_is_laid_out_and_the_check_finds_nothing_wrong(drawn):
    _, form = drawn
    assert check.check(form) == []
    kinds = [f.kind.value for f in form.fields]
    assert kinds == ["boxed", "comb", "boxed", "mark", "mark", "open", "barcode"]
    assert form.fields[4].cells == 3 and form.fields[0].type is FieldType.DATE


def test_boxes_lie_where_they_are_printed(drawn):
    _, form = drawn
    box = form.fields[0].box
    image = form.page(1).reference
    for x in np.linspace(box.left, box.right, 7).round().astype(int):
        line = image[box.top + 5 : box.bottom - 5, x - 1 : x + 2].min(axis=1)
        assert (line < 215).all(), x
    inside = image[box.top + 4 : box.bottom - 4, box.left + 4 : box.left + 30]
    assert (inside == 255).all()


def test_the_authors_lines_comments_and_order_stay(drawn):
    folder, _ = drawn
    kept = draw.strip_drawn(text_of(folder))
    assert kept == WHOLE
    lines = iter(text_of(folder).splitlines())
    assert all(line in lines for line in WHOLE.splitlines() if line.strip())


@pytest.mark.parametrize("text", [WHOLE, TEN_LINES, "\n\n" + TEN_LINES, TEN_LINES + "\n\n"])
def test_drawing_again_changes_nothing(tmp_path, text):
    folder = save(tmp_path / "again", text)
    form = draw.draw(folder)
    assert draw.strip_drawn(text_of(folder)) == text
    assert draw.draw(folder).fingerprint == form.fingerprint


def test_what_was_added_to_a_drawn_form_is_laid_out_with_the_rest(drawn, tmp_path):
    folder, _ = drawn
    longer = text_of(folder) + '\n[[fields]]\nname = "more"\ncells = 2\n'
    form = draw.draw(save(tmp_path / "longer", longer))
    assert form.fields[-1].box.top > form.fields[-2].box.bottom


def test_a_box_without_the_comment_is_the_authors_and_stays(tmp_path):
    text = TEN_LINES + "box = [700, 1400, 900, 1450]\n"
    form = draw.draw(save(tmp_path / "fixed", text))
    box = form.fields[1].box
    assert (box.left, box.top, box.right, box.bottom) == (700, 1400, 900, 1450)


def test_fields_that_fill_a_page_go_on_with_the_next(tmp_path):
    many = "".join(f'[[fields]]\nname = "f{i}"\ncells = 3\n' for i in range(30))
    text = 'name = "many"\nversion = 1\n' + many
    form = draw.draw(save(tmp_path / "many", text))
    assert len(form.pages) == 2 and {f.page for f in form.fields} == {1, 2}
    ids = [anchor.id for page in form.pages for anchor in page.anchors]
    assert len(set(ids)) == 8
    two = draw.draw(save(tmp_path / "two", text + "[print]\ncolumns = 2\n"))
    assert len(two.pages) == 1


def test_letter_paper_and_landscape(tmp_path):
    text = TEN_LINES + '[print]\npaper = "letter"\nlandscape = true\n'
    page = draw.draw(save(tmp_path / "letter", text)).page(1)
    assert (page.width, page.height) == (1650, 1275)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("max_length = 3", "", "'all': say how many positions"),
        ("cells = 6", "cells = 40", "'clinic' is wider than its column"),
        ('title = "Visits"', 'title = "\u017dupa \u0107evapi"', "built-in font has no 'ć'"),
        ("max_length = 3", 'max_length = 3\n[print.labels]\nsum = "All"', "print.labels.sum"),
        ("max_length = 3", "max_length = 3\n[print]\nfont = 'no.ttf'", "TrueType"),
        ('title = "Visits"', "[[pages]]\nwidth = 9", "has [[pages]] of its own"),
        ("max_length = 3", "max_length = 3\nbox = [0, 0, 9000, 9]", "lies outside the page"),
        ("max_length = 3", "max_length = 3\npage = 30", "more than 25 pages"),
        ("version = 1", "", "version: is missing"),
    ],
)
def test_what_cannot_be_drawn_is_said_and_nothing_is_written(tmp_path, old, new, said):
    assert old in TEN_LINES
    message = refused(tmp_path / "bad", TEN_LINES.replace(old, new))
    assert said in message and "\n" not in message


def test_a_form_without_fields_or_of_another_maker_is_refused(tmp_path):
    assert "no [[fields]]" in refused(tmp_path / "none", 'name = "a"\nversion = 1\n')
    sample = Path(__file__).parents[2] / "sample_forms" / "clinic-tally"
    with pytest.raises(TemplateError, match="pages"):
        draw.draw(Path(shutil.copytree(sample, tmp_path / "sample")))
    with pytest.raises(TemplateError, match="was not laid out by digitocr"):
        draw.load_drawn(sample)


def test_a_form_edited_since_is_not_printed(drawn, tmp_path):
    folder, _ = drawn
    copy = Path(shutil.copytree(folder, tmp_path / "edited"))
    text = text_of(copy).replace('title = "Household survey"', 'title = "Household"')
    save(copy, text)
    with pytest.raises(TemplateError, match="was edited since"):
        draw.load_drawn(copy)


def test_the_printed_paper_is_the_picture_and_says_who_it_is(drawn):
    folder, form = drawn
    again = draw.load_drawn(folder)
    pdf = again.pdf(["000041", "000042"])
    assert pdf == again.pdf(["000041", "000042"])
    boxes = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
    assert len(boxes) == 2
    width_mm, height_mm = (float(side) / 72 * 25.4 for side in boxes[0])
    assert abs(width_mm - 210) < 0.2 and abs(height_mm - 297) < 0.2
    code = find_page_codes(again.pictures[0])[0]
    assert (code.form, code.version, code.page, code.serial) == ("survey", 2, 1, "")
    assert form.page(1).reference is not None


@pytest.mark.slow
@pytest.mark.parametrize("condition", [Condition.SKEW, Condition.PHOTO, Condition.COVERED])
def test_the_same_file_reads_what_was_printed_and_filled(drawn, reader, condition):
    _, form = drawn
    rng = np.random.default_rng(4)
    texts = draw_values(form, rng)
    image = fill.fill(form, texts, rng, serial="000007")
    spoiled = spoil(image, condition, 0.7, rng, dpi=150)
    reading = pipeline.read_page(page_of(spoiled.image), reader)
    assert reading.status is PageStatus.READ, reading.cause
    found = {one.field.name: one.text for one in reading.readings}
    assert {n: found[n] for n in ("owner", "water", "label")} == {
        n: texts[n] for n in ("owner", "water", "label")
    }


def test_a_form_whose_boxes_are_all_written_in_is_found_by_the_rest_of_its_print(tmp_path):
    described = 'name = "full"\nversion = 1\ntitle = "Forty numbers"\n'
    for number in range(40):
        left, top = 60 + 288 * (number % 4), 240 + 140 * (number // 4)
        box = [left, top, left + 248, top + 50]
        described += f'[[fields]]\nname = "n{number}"\ncells = 6\nbox = {box}\n'
    form = draw.draw(save(tmp_path / "full", described))
    rng = np.random.default_rng(1)
    texts = {one.name: "".join(rng.choice(list("0123456789"), 6)) for one in form.fields}
    page = page_of(fill.fill(form, texts, rng, dpi=300))
    template = form.page(1)
    fields = [one.box for one in form.fields]
    found, blind = (
        registration.register(page, [reference], max_residual_mm=0.8).marks[:, 2].mean()
        for reference in (
            registration.prepare(template, fields=fields),
            registration.prepare(template),
        )
    )
    assert found >= 0.95
    assert blind < 0.8  # a little more writing, and it would not be this form any more


@pytest.mark.slow
def test_points_of_a_spoiled_page_are_where_it_says(drawn):
    _, form = drawn
    image = fill.fill(form, {}, np.random.default_rng(0))
    reference = registration.prepare(form.page(1))
    corners = np.array([[200.0, 300], [1000, 300], [300, 900]])
    for condition in (Condition.SKEW, Condition.TURN, Condition.SCALE, Condition.RESOLUTION):
        spoiled = spoil(image, condition, 0.7, np.random.default_rng(1), dpi=150)
        found = registration.register(page_of(spoiled.image), [reference], max_residual_mm=0.8)
        there = np.column_stack([spoiled.place(corners), np.ones(3)]) @ found.homography.T
        off = there[:, :2] / there[:, 2:] - corners
        assert np.abs(off).max() < 1.5, condition


def test_the_drawn_form_loads_as_any_other(drawn):
    folder, form = drawn
    assert templates.load(folder).fingerprint == form.fingerprint
    identifier = form.page(1).identifier
    white = form.page(1).reference[
        identifier.top : identifier.bottom, identifier.left : identifier.right
    ]
    assert (white == 255).all()


def test_the_description_in_the_readme_is_drawn_with_nothing_to_complain_of(tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    (described,) = [one for one in blocks if "[[fields]]" in one and "[[pages]]" not in one]
    assert check.check(draw.draw(save(tmp_path / "readme", described))) == []
