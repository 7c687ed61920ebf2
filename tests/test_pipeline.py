from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import cv2
import numpy as np
import pytest

import digitocr
from digitocr import pipeline, synth, templates
from digitocr.forms.fill import blank, fill
from digitocr.forms.values import draw_values
from digitocr.recognition.classifier import Model
from digitocr.settings import Settings
from digitocr.types import (
    Box,
    Document,
    ModelCard,
    Page,
    PageStatus,
    VoidMark,
)

SAMPLES = Path(__file__).parents[1] / "sample_forms"
SHA = "0" * 64
FORM = """
name = "drawn"
version = 1
[[pages]]
width = 620
height = 420
dpi = 100
reference = "blank.png"
[[fields]]
name = "a"
box = [40, 120, 130, 156]
kind = "boxed"
cells = 4
void_marks = ["x", "dash"]
[[fields]]
name = "b"
box = [40, 220, 130, 256]
kind = "boxed"
cells = 4
void_marks = ["x", "dash"]
required = true
[[fields]]
name = "total"
box = [300, 220, 390, 256]
kind = "comb"
cells = 4
[[fields]]
name = "free"
box = [300, 120, 500, 156]
kind = "open"
[[rules]]
rule = "sum"
of = ["a", "b"]
equals = "total"
name = "both"
"""


def page_of(image, number=1, dpi=None):
    return Page(Document(SHA, 1), number, image, dpi)


def all_sevens(glyphs):
    rows = np.zeros((len(glyphs), 10), np.float32)
    rows[:, 7] = 1.0
    return rows


def fake(classify):
    card = ModelCard("fake", tuple("0123456789"), 28, 1.0, "", (), {}, "")
    return Model(Path("fake"), card, classify)


@pytest.fixture(scope="module")
def form(tmp_path_factory):
    """Draw a small form: boxes, a comb, a ruled line, and words to register it by."""
    folder = tmp_path_factory.mktemp("drawn")
    bare = FORM.replace('reference = "blank.png"\n', "")
    (folder / "template.toml").write_text(bare, encoding="utf-8")
    image = blank(templates.load(folder))
    rng = np.random.default_rng(1)
    for y in (40, 90, 195, 300, 340, 390):
        for x in (30, 230, 420):
            word = "".join(chr(c) for c in rng.integers(97, 123, 8))
            cv2.putText(image, word, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 0, 2, 16)
    cv2.imwrite(str(folder / "blank.png"), image)
    (folder / "template.toml").write_text(FORM, encoding="utf-8")
    return templates.load(folder)


@pytest.fixture(scope="module")
def sevens(form):
    return pipeline.prepare((form,), fake(all_sevens), Settings())


def written(form, **values):
    rng = np.random.default_rng(3)
    return fill(form, values, rng, void_share=0.0, dpi=150)


def read(image, reader):
    reading = pipeline.read_page(page_of(image), reader)
    assert reading.status is PageStatus.READ, reading.cause
    return {one.field.name: one for one in reading.readings}


# ---------------------------------------------------------------- stages together


def test_the_network_is_asked_once_a_page_with_every_glyph(form):
    calls = []

    def counted(glyphs):
        calls.append(glyphs)
        return all_sevens(glyphs)

    reader = pipeline.prepare((form,), fake(counted), Settings())
    read(written(form, a="12", b="345", total="357", free="41"), reader)
    assert len(calls) == 1
    assert calls[0].shape[1:] == (28, 28) and calls[0].dtype == np.float32
    assert len(calls[0]) >= 10


def test_digits_that_are_there_are_read_and_nothing_else(form, sevens):
    found = read(written(form, a="12", b="345", total="357", free="41"), sevens)
    texts = {name: one.text for name, one in found.items()}
    assert texts == {"a": "77", "b": "777", "total": "777", "free": "77"}
    assert all(len(one.glyphs) == len(one.text) for one in found.values())
    assert {one.model for one in found.values()} == {"fake"}
    assert {(o.document, o.page, o.template, o.version) for o in found.values()} == {
        (SHA, 1, "drawn", 1)
    }


def test_boxes_of_glyphs_are_template_pixels_inside_their_field(form, sevens):
    image = written(form, a="12", b="3456", total="357", free="41")
    turned = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
    for page in (image, turned):
        for one in read(page, sevens).values():
            box, margin = one.field.box, 8
            for glyph in one.glyphs:
                assert box.left - margin <= glyph.box.left < glyph.box.right
                assert glyph.box.right <= box.right + margin
                assert box.top - margin <= glyph.box.top < glyph.box.bottom
                assert glyph.box.bottom <= box.bottom + margin
                assert glyph.image.size and glyph.text == "7"
            lefts = [glyph.box.left for glyph in one.glyphs]
            assert lefts == sorted(lefts)


def test_the_same_page_gives_the_same_reading_and_is_not_changed(form, sevens):
    image = synth.scan_like(written(form, a="12", b="345"), np.random.default_rng(1))
    before = image.copy()
    one, two = read(image, sevens), read(image, sevens)
    np.testing.assert_array_equal(image, before)
    for name in one:
        assert one[name].hypotheses == two[name].hypotheses
        assert one[name].reasons == two[name].reasons
        assert [g.box for g in one[name].glyphs] == [g.box for g in two[name].glyphs]
        np.testing.assert_array_equal(one[name].image, two[name].image)


def test_a_page_without_ink_is_blank_and_an_empty_form_is_not(form, sevens):
    paper = np.full((420, 620), 240, np.uint8)
    paper[200, 300] = 0
    assert pipeline.read_page(page_of(paper), sevens).status is PageStatus.BLANK
    found = read(blank(form), sevens)
    assert {one.text for one in found.values()} == {""}
    assert found["a"].accepted and found["b"].reasons == ("missing",)


@pytest.mark.parametrize("kind", ["black", "noise", "one pixel", "other form"])
def test_a_page_that_is_no_page_of_the_form_fails_with_its_cause(sevens, kind):
    image = {
        "black": np.zeros((420, 620), np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, (420, 620)).astype(np.uint8),
        "one pixel": np.zeros((1, 1), np.uint8),
        "other form": templates.load(SAMPLES / "meter-reading").pages[0].reference,
    }[kind]
    found = pipeline.read_page(page_of(image), sevens)
    assert found.status is PageStatus.FAILED
    assert found.cause
    assert found.readings == () and found.template is None


def test_a_page_to_ignore_is_found_and_not_read(form):
    page = replace(form.pages[0], ignore=True)
    ignored = replace(form, pages=(page,))
    reader = pipeline.prepare((ignored,), fake(all_sevens), Settings())
    found = pipeline.read_page(page_of(written(form, a="12")), reader)
    assert (found.status, found.readings) == (PageStatus.IGNORED, ())
    assert (found.template, found.template_page) == ("drawn", 1)


def test_a_field_that_is_blacked_out_is_no_accepted_blank(form, sevens):
    image = written(form, b="12")
    image[174:240, 54:201] = 0  # field a at 150 dpi
    found = read(image, sevens)["a"]
    assert not found.accepted


def test_a_digit_outside_its_box_is_not_left_out_in_silence(form, sevens):
    shifted = replace(form.fields[0], box=Box(17, 120, 107, 156))
    moved = replace(form, fields=(shifted, *form.fields[1:]))
    image = fill(moved, {"a": "1234", "b": "12"}, np.random.default_rng(3), dpi=150)
    found = read(image, sevens)["a"]
    assert not found.accepted


# ---------------------------------------------------------------- with the real model


@pytest.fixture(scope="module")
def model():
    return digitocr.load_model()


@pytest.fixture(scope="module")
def reader(model):
    return pipeline.prepare(templates.load_all(SAMPLES), model, Settings())


def filled(name, seed, **change):
    form = templates.load(SAMPLES / name)
    rng = np.random.default_rng(seed)
    values = draw_values(form, rng) | change
    pages = [fill(form, values, rng, page=page.number) for page in form.pages]
    return form, values, [synth.scan_like(page, rng) for page in pages]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clinic-tally", "meter-reading", "school-register"])
def test_filled_forms_are_read_and_what_is_accepted_is_right(reader, name):
    right = fields = 0
    for seed in range(2):
        form, values, images = filled(name, seed)
        for number, image in enumerate(images, 1):
            found = pipeline.read_page(page_of(image, number), reader)
            assert (found.status, found.template) == (PageStatus.READ, name)
            assert found.template_page == number and found.residual_mm < 0.8
            assert [r.field.name for r in found.readings] == [
                field.name for field in form.fields_of(number)
            ]
            for one in found.readings:
                fields += 1
                right += one.text == values[one.field.name]
                assert one.text == values[one.field.name] or one.reasons, one.field.name
    assert right > 0.85 * fields


@pytest.mark.slow
@pytest.mark.parametrize("dpi", [100, 200, 400])
@pytest.mark.parametrize("upside_down", [True, False])
def test_resolution_and_way_up_make_no_difference(reader, dpi, upside_down):
    _, values, (image,) = filled("clinic-tally", 5)
    scale = dpi / 150
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    sized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=way)
    if upside_down:
        sized = cv2.rotate(sized, cv2.ROTATE_180)
    found = pipeline.read_page(page_of(sized), reader)
    assert found.status is PageStatus.READ
    wrong = [r for r in found.readings if r.text != values[r.field.name]]
    assert len(wrong) <= 1 and not any(one.accepted for one in wrong)


@pytest.mark.slow
def test_a_wrong_sum_is_named_on_its_fields_and_changes_no_clear_text(reader):
    form, values, _ = filled("clinic-tally", 4)
    rule = form.rules[0]
    total = rule.equals
    wrong = str((int(values[total] or 0) + 333) % 9000 + 500)
    assert Decimal(wrong) != sum(Decimal(values[part] or 0) for part in rule.of)
    rng = np.random.default_rng(4)
    image = fill(form, values | {total: wrong}, rng)
    found = pipeline.read_page(page_of(image), reader)
    texts = {one.field.name: one.text for one in found.readings}
    assert texts[total] == wrong
    for one in found.readings:
        named = one.field.name in (*rule.of, total)
        assert (f"rule:{rule.name}" in one.reasons) is named
        if named:
            assert one.text == ({**values, total: wrong})[one.field.name]


@pytest.mark.slow
@pytest.mark.parametrize("void", [VoidMark.X, VoidMark.DASH])
def test_void_marks_in_every_position_are_a_blank_that_was_meant(reader, void):
    form = templates.load(SAMPLES / "clinic-tally")
    field = next(f for f in form.fields if f.name == "visits_total")
    rng = np.random.default_rng(8)
    marked = synth.write_number(blank(form), "", field.box, rng, cells=field.cells, void=void)
    for image, reasons in ((marked, ()), (blank(form), ("missing",))):
        found = pipeline.read_page(page_of(image), reader)
        one = next(r for r in found.readings if r.field.name == field.name)
        assert (one.text, one.reasons) == ("", reasons)


# ---------------------------------------------------------------- from the package root


@pytest.mark.slow
def test_the_package_root_reads_pages_and_numbers(model):
    form = digitocr.FormTemplate.load(SAMPLES / "meter-reading")
    _, values, (image,) = filled("meter-reading", 2)
    page = digitocr.read_page(page_of(image), form, model)
    assert page.status is PageStatus.READ and page.template == "meter-reading"
    assert sum(one.text == values[one.field.name] for one in page.readings) >= 7
    paper = np.full((90, 200), 240, np.uint8)
    crop = synth.write_number(paper, "917", Box(20, 12, 180, 78), np.random.default_rng(0))
    assert digitocr.read_number(crop, model).text == digitocr.read_number(crop).text == "917"


def test_the_package_root_has_no_more_than_it_says():
    assert set(digitocr.__all__) == {"FormTemplate", "load_model", "read_number", "read_page"}
    with pytest.raises(AttributeError, match="reed_page"):
        digitocr.reed_page  # noqa: B018
