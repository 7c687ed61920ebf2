"""Ticked boxes, bar codes and page codes through the whole pipeline, into rows."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitocr import pipeline
from digitocr.db import batches, export, schema, store
from digitocr.db.completeness import uneven_forms
from digitocr.forms import draw, fill
from digitocr.imaging.codes import PageCode, draw_code
from digitocr.recognition.classifier import Model
from digitocr.settings import Settings
from digitocr.types import Box, Document, ModelCard, Page, PageReading, PageStatus

NOW = datetime(2026, 5, 4, tzinfo=UTC)
FORM = """
name = "kinds"
version = 3
title = "Every kind"
[[fields]]
name = "one"
kind = "mark"
type = "integer"
[[fields]]
name = "row"
kind = "mark"
cells = 4
required = true
checks = [{rule = "pattern", pattern = "0*10*"}]
[[fields]]
name = "strip"
kind = "barcode"
min_length = 4
max_length = 8
checks = [{rule = "luhn"}]
[[fields]]
name = "square"
kind = "barcode"
checks = [{rule = "pattern", pattern = "[A-Z]{2}-[0-9]{4}"}]
[[fields]]
name = "number"
cells = 3
[print.sizes_mm]
square = [24, 24]
"""
SECOND = FORM.replace('name = "kinds"', 'name = "two"') + (
    '[[fields]]\nname = "back"\npage = 2\nkind = "mark"\n'
)
RIGHT = {"one": "1", "row": "0100", "strip": "18", "square": "AB-0471", "number": ""}


def sevens(glyphs):
    rows = np.zeros((len(glyphs), 10), np.float32)
    rows[:, 7] = 1.0
    return rows


def make(folder, text):
    folder.mkdir()
    # A table after [print.sizes_mm] would be a field of it: fields go before.
    head, _, tail = text.partition("[print.sizes_mm]\nsquare = [24, 24]\n")
    (folder / "template.toml").write_text(
        f"{head}{tail}[print.sizes_mm]\nsquare = [24, 24]\n", encoding="utf-8"
    )
    return draw.draw(folder)


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    return make(folder / "kinds", FORM), make(folder / "two", SECOND)


@pytest.fixture(scope="module")
def reader(forms):
    card = ModelCard("fake", tuple("0123456789"), 28, 1.0, "", (), {}, "f" * 64)
    return pipeline.prepare(forms, Model(Path("fake"), card, sevens), Settings())


def page_of(image, sha="0" * 64, number=1):
    return Page(Document(sha, 1), number, image, None)


def filled(form, values=RIGHT, *, page=1, serial="", seed=1):
    known = {field.name for field in form.fields}
    texts = {name: text for name, text in values.items() if name in known}
    rng = np.random.default_rng(seed)
    return fill.fill(form, texts, rng, page=page, serial=serial, void_share=0.0)


def read(image, reader):
    reading = pipeline.read_page(page_of(image), reader)
    assert reading.status is PageStatus.READ, reading.cause
    return {one.field.name: one for one in reading.readings}


# ---------------------------------------------------------------- ticked boxes and bar codes


def test_ticks_and_codes_are_read_and_accepted_in_the_order_of_the_form(forms, reader):
    reading = pipeline.read_page(page_of(filled(forms[0])), reader)
    found = {one.field.name: one for one in reading.readings}
    assert list(found) == [field.name for field in forms[0].fields]
    for name in ("one", "row", "square"):
        assert (found[name].text, found[name].accepted) == (RIGHT[name], True), name
    # A glyph is a digit, in review and in training: ticks and codes have none.
    assert not any(found[name].glyphs for name in ("one", "row", "strip", "square"))


def test_a_code_is_held_against_lengths_and_check_digits(forms, reader):
    strip = read(filled(forms[0]), reader)["strip"]
    assert (strip.text, strip.reasons) == ("18", ("length",))
    wrong = read(filled(forms[0], RIGHT | {"strip": "123456"}), reader)["strip"]
    assert (wrong.text, wrong.reasons) == ("123456", ("rule:luhn",))
    letters = read(filled(forms[0], RIGHT | {"strip": "AB12"}), reader)["strip"]
    assert (letters.text, letters.reasons) == ("AB12", ("rule:luhn",))
    other = read(filled(forms[0], RIGHT | {"square": "AB-047"}), reader)["square"]
    assert (other.text, other.reasons) == ("AB-047", ("rule:pattern",))


def test_rules_of_a_row_are_patterns_and_an_empty_required_row_is_missing(forms, reader):
    both = read(filled(forms[0], RIGHT | {"row": "0101"}), reader)["row"]
    assert (both.text, both.reasons) == ("0101", ("rule:pattern",))
    none = read(filled(forms[0], RIGHT | {"row": "0000"}), reader)["row"]
    assert none.text == "0000" and "missing" in none.reasons


def test_an_empty_place_for_a_code_is_blank_and_a_spoiled_code_is_for_a_person(forms, reader):
    image = filled(forms[0], RIGHT | {"square": ""})
    assert read(image, reader)["square"].text == ""
    box = forms[0].fields[3].box
    spoiled = filled(forms[0])
    middle = (box.top + box.bottom) // 2
    spoiled[middle - 30 : middle + 30, box.left + 20 : box.right - 20] = 60
    square = read(spoiled, reader)["square"]
    assert (square.text, square.reasons) == (None, ("unreadable",))


def test_a_code_without_a_check_digit_of_its_own_is_looked_at(forms, reader, monkeypatch):
    image = filled(forms[0], RIGHT | {"strip": ""})
    monkeypatch.setattr(fill, "draw_code", lambda text, kind: draw_code(text, "ITF"))
    rng = np.random.default_rng(0)
    image = fill.stick_label(image, "00471234", forms[0].fields[2].box, rng)
    strip = read(image, reader)["strip"]
    assert strip.text == "00471234" and "low-confidence" in strip.reasons


def test_two_codes_in_one_field_are_for_a_person(forms, reader):
    box = forms[0].fields[2].box
    half = Box(box.left, box.top, (box.left + box.right) // 2, box.bottom)
    other = Box((box.left + box.right) // 2, box.top, box.right, box.bottom)
    image = filled(forms[0], RIGHT | {"strip": ""})
    rng = np.random.default_rng(0)
    image = fill.stick_label(image, "11111111", half, rng)
    image = fill.stick_label(image, "22222222", other, rng)
    strip = read(image, reader)["strip"]
    assert {one.text for one in strip.hypotheses} == {"11111111", "22222222"}
    assert "junk" in strip.reasons


def test_a_stamp_over_a_ticked_box_is_for_a_person(forms, reader):
    image = filled(forms[0])
    box = forms[0].fields[1].box
    cv2.rectangle(image, (box.left - 60, box.top + 9), (box.right + 60, box.top + 22), 60, 4)
    row = read(image, reader)["row"]
    assert {"junk", "misregistered"} & set(row.reasons)


# ---------------------------------------------------------------- finding the form by its code


def failed(image, reader):
    reading = pipeline.read_page(page_of(image), reader)
    assert reading.status is PageStatus.FAILED and not reading.readings
    return reading.cause


def recoded(form, code):
    """Print another page code over that of a filled page."""
    image = filled(form)
    box = form.page(1).identifier
    image[box.top : box.bottom, box.left : box.right] = 255
    return fill.print_page_code(image, box, code)


def test_a_code_of_a_form_that_is_not_here_fails_the_page(forms, reader):
    cause = failed(recoded(forms[0], PageCode("unknown", 1, 1)), reader)
    assert "'unknown' v1" in cause and "--forms" in cause


def test_a_code_of_another_version_or_page_fails_the_page(forms, reader):
    assert "'kinds' v2" in failed(recoded(forms[0], PageCode("kinds", 2, 1)), reader)
    assert "page 4 of 'kinds'" in failed(recoded(forms[0], PageCode("kinds", 3, 4)), reader)


def test_a_page_is_not_forced_into_the_form_its_code_names(forms, reader, tmp_path):
    image = np.full((1754, 1240), 255, np.uint8)
    for y in range(300, 1600, 40):
        cv2.putText(image, "another thing altogether", (90, y), 0, 1.0, 30, 2)
    box = forms[0].page(1).identifier
    image = fill.print_page_code(image, box, PageCode("kinds", 3, 1))
    assert "no page of a known form" in failed(image, reader)


def test_a_covered_code_leaves_the_anchors_and_the_print(forms, reader):
    image = filled(forms[0])
    box = forms[0].page(1).identifier
    image[box.top : box.bottom, box.left : box.right] = 90
    reading = pipeline.read_page(page_of(image), reader)
    assert (reading.status, reading.template) == (PageStatus.READ, "kinds")


def test_the_pages_of_a_document_are_told_by_their_codes_in_any_order(forms, reader):
    for page in (2, 1):
        image = np.ascontiguousarray(np.rot90(filled(forms[1], page=page, serial="000012")))
        reading = pipeline.read_page(page_of(image), reader)
        assert (reading.template, reading.template_page) == ("two", page)


def test_half_a_sheet_and_two_sheets_fail(forms, reader):
    page = filled(forms[0])
    alone = pipeline.prepare(forms[:1], reader.model, Settings())
    assert "of the sheet is on the scan" in failed(page[: len(page) * 6 // 10], alone)
    assert "2 page codes" in failed(np.hstack([page, filled(forms[1])]), reader)
    bare = filled(forms[1])
    box = forms[1].page(1).identifier
    bare[box.top : box.bottom, box.left : box.right] = 255
    assert "two sheets" in failed(np.hstack([page, bare]), reader)


# ---------------------------------------------------------------- stored and exported


@pytest.fixture
def session(tmp_path):
    engine = schema.connect(f"sqlite:///{tmp_path / 'x.db'}", create=True)
    with schema.writing(engine) as session:
        yield session
    engine.dispose()


def stored(session, reader, forms, pages, *, source="a.tif", sha="0" * 64):
    """Store pages of one document."""
    document = Document(sha, len(pages))
    for form in forms:
        store.register_form(session, form)
    store.register_model(session, reader.card)
    store.open_batch(session, "b", NOW)
    store.add_arrival(session, "b", source, document, "tif", NOW)
    for number, reading in enumerate(pages, 1):
        moved = replace(reading, document=sha, page=number)
        store.save_page(session, moved, model=reader.card.fingerprint, now=NOW)


def test_texts_with_letters_and_formulas_are_stored_and_exported_as_text(
    session, forms, reader, tmp_path
):
    values = RIGHT | {"square": "=AB-1", "strip": "0018"}
    reading = pipeline.read_page(page_of(filled(forms[0], values)), reader)
    stored(session, reader, forms, [reading])
    frame = export.rows(session)
    value = dict(zip(frame["field"], frame["reading"], strict=True))
    assert value["square"] == "=AB-1" and value["strip"] == "0018" and value["row"] == "0100"
    out = tmp_path / "x.csv"
    export.write(frame, export.Format.CSV, out)
    text = out.read_text(encoding="utf-8")
    assert "'=AB-1" in text and ",0018," in text


def page_reading(form, page):
    return PageReading(
        document="0" * 64,
        page=1,
        status=PageStatus.READ,
        template=form.name,
        version=form.version,
        template_page=page,
        homography=np.eye(3),
        residual_mm=0.1,
    )


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ((1, 2), None),
        ((2, 1, 1, 2), None),
        ((1,), "page 2 is missing"),
        ((1, 1, 2), "page 1 twice, page 2 once: one is missing, or came twice"),
    ],
)
def test_missing_and_double_pages_of_a_document_are_said(session, forms, reader, pages, said):
    readings = [page_reading(forms[1], page) for page in pages]
    readings.append(PageReading("0" * 64, 1, PageStatus.BLANK))
    stored(session, reader, forms, readings)
    found = [str(one) for one in uneven_forms(session, "b")]
    assert len(found) == (said is not None)
    if said is not None:
        assert said in found[0] and "a.tif" in found[0] and "'two' v3" in found[0]


def test_files_of_one_page_are_counted_together(session, forms, reader):
    for i, page in enumerate((1, 2, 1)):
        reading = [page_reading(forms[1], page)]
        stored(session, reader, forms, reading, source=f"{i}.png", sha=f"{i}" * 64)
    (one,) = uneven_forms(session, "b")
    assert "files of one page" in str(one) and one.came == ((1, 2), (2, 1))


def test_a_form_of_one_page_is_never_uneven(session, forms, reader):
    stored(session, reader, forms, [page_reading(forms[0], 1), page_reading(forms[0], 1)])
    assert uneven_forms(session, "b") == ()
    assert batches.batch_summary(session, "b").pages == 2
