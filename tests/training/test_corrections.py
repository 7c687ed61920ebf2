import csv
import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.db.corrections import OTHER, VerifiedGlyph
from digitocr.imaging.normalization import ink_intensity, normalize
from digitocr.training import corrections
from digitocr.training.corrections import part_of_document, prepare

documents = st.text(min_size=1, max_size=64)


@pytest.fixture(scope="module")
def said(printed):
    """Printed digits as crops of scans, ten of each of thirty documents."""
    glyphs, labels = printed
    found = []
    for index, (glyph, label) in enumerate(zip(glyphs, labels, strict=True)):
        paper = np.full((46, 37), 240, np.uint8)
        paper[9:37, 5:33] = 240 - (glyph * 0.8).astype(np.uint8)
        png = cv2.imencode(".png", paper)[1].tobytes()
        document = hashlib.sha256(f"{index // 10}".encode()).hexdigest()
        found.append(
            VerifiedGlyph(
                index, document, 1, "votes", index % 10, int(label), "", png, ("ana",)
            )
        )
    return found


@pytest.fixture
def knows(said):
    """A model that knows every one of them, sure of it, but for those that are named."""
    by_image = {corrections.ink_of(one.crop).tobytes(): one.label for one in said}
    images = {normalize(np.frombuffer(k, np.uint8).reshape(46, 37)).tobytes(): v
              for k, v in by_image.items()}  # fmt: skip

    def build(sure=0.999):
        def classify(glyphs):
            rows = np.zeros((len(glyphs), 11), np.float32)
            for row, glyph in zip(rows, glyphs, strict=True):
                row[images[glyph.tobytes()]] = sure
                row[OTHER] += 1 - sure
            return rows

        return classify

    return build


def test_crops_come_to_the_classifier_as_they_do_in_reading(said, knows):
    found = prepare(said, knows(), gold=0.3, sure=0.99)
    assert len(found.verified) == len(said) - repeated(said)
    for image, one in zip(found.images, found.verified, strict=True):
        gray = cv2.imdecode(np.frombuffer(one.crop, np.uint8), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(image, normalize(ink_intensity(gray)))


def repeated(said):
    return len(said) - len({(one.label, one.crop) for one in said})


def test_no_document_stands_on_two_sides(said, knows):
    found = prepare(said, knows(), gold=0.3, sure=0.99)
    sides = {}
    for one, part in zip(found.verified, found.data.parts, strict=True):
        sides.setdefault(one.document, set()).add(str(part))
    assert all(len(parts) == 1 for parts in sides.values())
    assert {part for parts in sides.values() for part in parts} >= {"train", "heldout"}
    assert found.documents("heldout") == sum(parts == {"heldout"} for parts in sides.values())


@given(documents, st.floats(0.05, 0.9), st.floats(0.0, 0.9))
@settings(max_examples=60, deadline=None)
def test_what_is_held_out_stays_so_at_a_larger_share(document, gold, more):
    larger = gold + more * (0.9 - gold)
    if part_of_document(document, gold=gold) == "heldout":
        assert part_of_document(document, gold=larger) == "heldout"
    assert part_of_document(document, gold=gold) == part_of_document(document, gold=gold)


def test_about_that_share_is_held_out():
    parts = [part_of_document(f"{n}", gold=0.25) for n in range(4000)]
    assert 900 < parts.count("heldout") < 1100
    assert 0.04 < parts.count("validation") / 4000 < 0.08


def test_labels_that_a_sure_model_contradicts_are_set_aside_until_a_second_person_agrees(
    said, knows
):
    wrong = [replace(one, label=(one.label + 1) % 10) for one in said[::20]]
    others = [one for index, one in enumerate(said) if index % 20]
    found = prepare([*others, *wrong], knows(), gold=0.3, sure=0.99)
    assert {one.id for one in found.suspicious()} == {one.id for one in wrong}
    parts = ("train", "validation", "heldout")
    assert sum(found.count(part) for part in parts) + len(wrong) == len(found.verified)

    agreed = [replace(one, reviewers=("ana", "ben")) for one in wrong]
    assert prepare([*others, *agreed], knows(), gold=0.3, sure=0.99).suspicious() == ()
    # A model that is not sure contradicts nobody: that is what corrections are for.
    assert prepare([*others, *wrong], knows(0.95), gold=0.3, sure=0.99).suspicious() == ()


def test_what_has_no_ink_or_comes_twice_is_left_out(said, knows):
    blank = cv2.imencode(".png", np.full((30, 20), 250, np.uint8))[1].tobytes()
    more = [replace(said[0], id=900, crop=blank), replace(said[0], id=901)]
    more.append(replace(said[0], id=902, crop=b"no picture"))
    found = prepare([*said, *more], knows(), gold=0.3, sure=0.99)
    assert not {900, 901, 902} & {one.id for one in found.verified}


def test_nothing_at_all_is_no_lesson_and_no_fault(knows):
    found = prepare([], knows(), gold=0.3, sure=0.99)
    assert len(found.data) == 0 and found.images.shape == (0, 28, 28)
    assert found.count("train") == found.documents("train") == 0


@pytest.mark.parametrize("size", [(10, 6), (64, 64), (200, 90), (3, 300)])
def test_ink_of_any_size_goes_onto_the_canvas_and_keeps_its_shape(size):
    ink = np.zeros((320, 320), np.uint8)
    ink[5 : 5 + size[0], 7 : 7 + size[1]] = 255
    canvas = corrections.on_canvas(ink)
    _, _, width, height = cv2.boundingRect(canvas)
    assert canvas.shape == (64, 64)
    assert max(width, height) == min(64, max(size))
    assert (
        abs(width / height - size[1] / size[0]) <= max(0.1, size[1] / size[0] * 0.2)
        or min(width, height) == 1
    )


def test_what_wants_a_second_look_is_listed_with_its_place(said, knows, tmp_path):
    wrong = [replace(said[3], label=9), replace(said[14], label=OTHER)]
    found = prepare(wrong, knows(), gold=0.3, sure=0.99)
    corrections.write_suspicious(found.suspicious(), tmp_path / "list.csv")
    with (tmp_path / "list.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["said"], row["position"], row["reviewers"]) for row in rows] == [
        ("9", "4", "ana"),
        ("other", "5", "ana"),
    ]
    assert rows[0]["document"] == said[3].document
