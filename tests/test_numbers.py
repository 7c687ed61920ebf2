from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import digitocr
from digitocr import numbers, synth
from digitocr.errors import ModelError
from digitocr.imaging import strips
from digitocr.recognition.acceptance import Acceptance
from digitocr.recognition.classifier import Model
from digitocr.recognition.combining import FEATURES, Combination, Combinations
from digitocr.recognition.ctc import BLANK, COLUMNS, best_seen
from digitocr.recognition.sequence import SequenceCard, SequenceModel
from digitocr.settings import Settings
from digitocr.types import Box, FieldType, ModelCard


def fake(classify):
    card = ModelCard("fake", tuple("0123456789"), 28, 1.0, "", (), {}, "")
    return Model(Path("fake"), card, classify)


@pytest.fixture(scope="module")
def model():
    return digitocr.load_model()


def number(text, seed=0):
    rng = np.random.default_rng(seed)
    paper = np.full((90, 60 + 46 * len(text)), 240, np.uint8)
    return synth.write_number(paper, text, Box(20, 12, paper.shape[1] - 20, 78), rng)


def read_number(image, model, **more):
    return numbers.read_number(image, model, Acceptance(0.97, 0.95), **more)


@pytest.mark.slow
def test_crops_are_read_and_what_is_accepted_is_right(model):
    right = 0
    for seed, text in enumerate(["52063", "8", "0047", "917", "31", "2604"] * 3):
        image = number(text, seed)
        before = image.copy()
        found = read_number(image, model)
        np.testing.assert_array_equal(image, before)
        assert found.text == text or found.reasons, (text, found.text)
        right += found.text == text
        h, w = image.shape
        for glyph in found.glyphs:
            assert 0 <= glyph.box.left < glyph.box.right <= w
            assert 0 <= glyph.box.top < glyph.box.bottom <= h
    assert right >= 15


def test_lengths_that_were_not_asked_for_are_a_reason(model):
    found = read_number(number("917"), model, min_digits=5)
    assert "length" in found.reasons or found.text is None


@pytest.mark.parametrize("shade", [120, 255])
def test_a_blank_crop_is_blank(model, shade):
    found = read_number(np.full((50, 200), shade, np.uint8), model)
    assert (found.text, found.reasons, found.glyphs) == ("", (), ())


@pytest.mark.parametrize("shape", [(1, 1), (50, 200), (300, 2)])
def test_a_black_crop_is_not_accepted(model, shape):
    assert not read_number(np.zeros(shape, np.uint8), model).accepted


def all_ones(glyphs):
    rows = np.full((len(glyphs), 10), 1e-5, np.float32)
    rows[:, 1] = 1.0 - 9e-5
    return rows


@pytest.mark.parametrize(
    ("left", "ruled", "accepted"),
    [(100, False, True), (194, False, False), (100, True, False)],
    ids=["alone", "cut off at the side", "above a rule"],
)
def test_a_lone_one_is_accepted_only_where_nothing_else_looks_like_one(left, ruled, accepted):
    image = np.full((80, 200), 245, np.uint8)
    image[15:65, left : left + 6] = 20
    if ruled:
        image[74:77] = 60
    found = read_number(image, fake(all_ones))
    assert found.text == "1"
    assert found.accepted is accepted
    assert accepted or "junk" in found.reasons


@pytest.mark.parametrize("text", ["3.75", "12.5"])
def test_a_decimal_keeps_its_mark_and_an_integer_does_not_lose_it_in_silence(model, text):
    for seed in range(6):
        image = number(text, seed)
        decimal = read_number(image, model, type=FieldType.DECIMAL)
        assert decimal.text == text or not decimal.accepted
        integer = read_number(image, model, type=FieldType.INTEGER)
        assert not integer.accepted


# ---------------------------------------------------------------- with a second reader


EVEN = Combination(
    1.0, 1.0, 1e-3, 1e-3, -12.0, tuple(1.0 if name == "share" else 0.0 for name in FEATURES)
)


WEIGHTS = Combinations(EVEN, EVEN)


def saying(text, *, sure=0.999, weights=WEIGHTS):
    """Make a sequence model that says one text of every crop."""

    def look(strips):
        found = []
        for strip in strips:
            frames = np.full((-(-strip.shape[1] // 4), COLUMNS), (1 - sure) / 10, np.float32)
            frames[:, BLANK] = sure
            places = np.linspace(0, len(frames) - 1, 2 * len(text) + 1).astype(int)[1::2]
            for place, digit in zip(places, text, strict=True):
                frames[place] = (1 - sure) / 10
                frames[place, int(digit)] = sure
            found.append((np.log(frames),))
        return found

    card = SequenceCard("said", 1.0, "", (), {}, "", weights)
    return SequenceModel(Path("said"), card, look)


@pytest.mark.slow
def test_a_second_reader_that_agrees_makes_a_reading_surer_and_one_that_does_not_doubtful(
    model,
):
    image = number("917")
    alone = read_number(image, model)
    agreed = read_number(image, model, sequence=saying("917"))
    denied = read_number(image, model, sequence=saying("911"))
    assert alone.text == agreed.text == "917"
    assert agreed.accepted and not denied.accepted
    assert agreed.confidence > denied.confidence
    assert {one.text for one in denied.hypotheses} >= {"917", "911"}
    assert agreed.model.endswith("+said")


@pytest.mark.slow
def test_a_text_that_only_the_second_reader_proposes_has_its_digits_shown(model):
    image = number("917")
    found = read_number(image, fake(all_ones), sequence=saying("4705", sure=0.999999))
    assert found.text == "4705"
    assert [glyph.text for glyph in found.glyphs] == list("4705")
    lefts = [glyph.box.left for glyph in found.glyphs]
    assert lefts == sorted(lefts) and len(set(lefts)) == 4
    h, w = image.shape
    for glyph in found.glyphs:
        assert 0 <= glyph.box.left < glyph.box.right <= w
        assert 0 <= glyph.box.top < glyph.box.bottom <= h
        assert glyph.image.shape == (glyph.box.height, glyph.box.width)


def all_eights(glyphs):
    rows = np.full((len(glyphs), 10), 1e-5, np.float32)
    rows[:, 8] = 1.0 - 9e-5
    return rows


def test_a_blot_that_both_readers_take_for_a_digit_is_not_accepted():
    image = np.full((90, 240), 240, np.uint8)
    for x in (30, 170):
        cv2.putText(image, "8", (x, 65), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 40, 4)
    clean, blotted = image.copy(), image
    cv2.putText(clean, "8", (100, 65), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 40, 4)
    cv2.ellipse(blotted, (116, 48), (11, 17), 0, 0, 360, 40, -1)
    said = saying("888", sure=0.999999)
    for one, accepted in ((clean, True), (blotted, False)):
        reading = read_number(one, fake(all_eights), sequence=said)
        assert (reading.text, reading.accepted) == ("888", accepted)


def test_what_is_struck_out_is_not_accepted_though_both_readers_read_through_the_line():
    image = np.full((90, 240), 240, np.uint8)
    for x in (30, 100, 170):
        cv2.putText(image, "8", (x, 65), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 40, 4)
    struck = cv2.line(image.copy(), (20, 44), (215, 44), 40, 3)
    said = saying("888", sure=0.999999)
    for one, accepted in ((image, True), (struck, False)):
        reading = read_number(one, fake(all_eights), sequence=said)
        assert reading.accepted == accepted


def test_noise_is_read_as_nothing_sure(model):
    noise = np.random.default_rng(5).integers(0, 256, (80, 400)).astype(np.uint8)
    lattice = numbers.read_lattice(noise, model)
    assert lattice.crop.doubtful and len(lattice.lattice.glyphs) < 1000
    assert not read_number(noise, model).accepted


@pytest.fixture(scope="module")
def shipped():
    return numbers.load_readers(Settings())


@pytest.mark.slow
@pytest.mark.parametrize("text", ["52063", "9171", "2604"])
def test_a_pale_number_on_a_dark_dotted_rule_is_found(shipped, text):
    image = 255 - (255 - np.pad(number(text), ((0, 30), (0, 0)), mode="edge")) // 4
    for x in range(4, image.shape[1] - 8, 12):
        cv2.rectangle(image, (x, 100), (x + 6, 108), 0, -1)
    _, sequence = shipped
    (found,) = numbers.read_whole([image], sequence)
    assert found.line.top < 40
    assert best_seen(found.looks)[0].text == text


@pytest.mark.slow
def test_a_line_that_holds_but_a_part_of_the_digits_is_not_accepted(shipped, monkeypatch):
    image = np.pad(number("20"), ((0, 60), (0, 0)), mode="edge")
    half = image[:100, :80].copy()
    part = strips.find_lines(half)

    def find_half(gray, *, most=1, pale=True):
        return part if most > 1 else strips.find_lines(gray)

    model, sequence = shipped
    assert numbers.read_whole([image], sequence)[0].alone is not False
    monkeypatch.setattr(numbers, "find_lines", find_half)
    (found,) = numbers.read_whole([image], sequence)
    assert best_seen(found.looks)[0].text == "2"
    assert found.alone is False
    reading = read_number(image, model, sequence=sequence)
    assert not reading.accepted
    assert "junk" in reading.reasons or reading.text == "20"


@pytest.mark.slow
@pytest.mark.parametrize("width", [300, 700], ids=["tall", "wide"])
def test_of_two_numbers_none_is_taken_in_silence(shipped, width):
    image = np.full((300, width), 250, np.uint8)
    cv2.putText(image, "12", (40, 110), cv2.FONT_HERSHEY_SIMPLEX, 2, 0, 4)
    cv2.putText(image, "4567", (40, 240), cv2.FONT_HERSHEY_SIMPLEX, 2, 0, 4)
    model, sequence = shipped
    found = numbers.read_number(image, model, Acceptance(0.5, 0.5), sequence=sequence)
    assert "junk" in found.reasons


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [((40, 110), (40, 176)), ((8, 150), (230, 150))],
    ids=["close below", "far beside"],
)
def test_in_a_tall_crop_none_of_two_numbers_is_lost_in_silence(shipped, first, second):
    image = np.full((420, 300), 250, np.uint8)
    for text, at in (("12", first), ("47", second)):
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 1.4, 0, 4)
    model, sequence = shipped
    found = numbers.read_number(image, model, Acceptance(0.5, 0.5), sequence=sequence)
    assert found.reasons or found.text == "1247", found.text


@pytest.mark.slow
@pytest.mark.parametrize("tall", [False, True])
def test_ink_that_one_reader_takes_for_digits_is_not_accepted_as_a_blank(model, tall):
    image = number("917")
    if tall:
        image = np.vstack([np.full((150, image.shape[1]), 240, np.uint8), image])
    listening = replace(EVEN, sequence_power=9.0, lattice_power=0.1)
    weights = Combinations(listening, listening)
    nothing = saying("", sure=0.9999999, weights=weights)
    found = read_number(image, model, sequence=nothing)
    assert (found.text, found.accepted) == ("", False)
    assert "junk" in found.reasons


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (50, 200), (300, 2)])
def test_a_black_crop_is_no_blank_for_two_readers_either(shipped, shape):
    model, sequence = shipped
    image = np.zeros(shape, np.uint8)
    assert not numbers.read_number(
        image, model, Acceptance(0.5, 0.5), sequence=sequence
    ).accepted


@pytest.mark.slow
@pytest.mark.parametrize("shade", [120, 255])
def test_a_blank_crop_is_blank_for_two_readers_too(shipped, shade):
    model, sequence = shipped
    image = np.full((50, 200), shade, np.uint8)
    found = numbers.read_number(image, model, Acceptance(0.97, 0.95), sequence=sequence)
    assert (found.text, found.reasons, found.glyphs) == ("", (), ())


def test_a_sequence_model_whose_weight_was_not_fitted_is_refused(model):
    with pytest.raises(ModelError, match="models combine"):
        read_number(number("917"), model, sequence=saying("917", weights=None))


def test_the_second_reader_sees_no_mark_so_a_decimal_it_alone_proposes_goes_to_a_person(model):
    image = number("917")
    second = saying("4705", sure=0.999999)
    found = read_number(image, fake(all_ones), sequence=second, type=FieldType.DECIMAL)
    assert "gap" in found.reasons
