import csv
import importlib.util
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from digitocr.errors import DataError
from digitocr.training import dataset, lines
from digitocr.training.composition import hands, numbers
from digitocr.training.composition.characters import (
    MOST_BENT,
    Bend,
    draw_character,
    draw_lines,
)
from digitocr.training.composition.clutter import Content
from digitocr.training.composition.hands import DIGITS, Hand, Hands, PenPath
from digitocr.training.composition.handwriting import Style, draw_style, touches, write
from digitocr.training.composition.layouts import Layout

OPEN = [Layout.PLAIN, Layout.RULE, Layout.BOX, Layout.CHEQUE, Layout.TABLE]


def drawn_letter(rng):
    return PenPath((rng.random((6, 2)).astype(np.float32),), 1.0)


@pytest.fixture(scope="module")
def some_hands(printed_hand) -> Hands:
    """Draw two hands of pictures, one of pen paths, and someone who writes letters."""
    rng = np.random.default_rng(0)
    faces = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX)
    writers = [printed_hand(face=face, slant=0.1 * place) for place, face in enumerate(faces)]
    turns = np.linspace(0, 5, 9, dtype=np.float32)
    path = PenPath((np.stack([np.cos(turns), np.sin(turns)], axis=1) / 2,), 1.0)
    writers.append(Hand("drawn", dict.fromkeys(DIGITS, (path,)), 0.0))
    letters = Hand("drawn", {c: (drawn_letter(rng),) for c in "dfkmnpAEFHKxX$#Rr"}, 0.0)
    return hands.gather(writers, [letters], "drawn")


def crops(some_hands, count, **how):
    return [
        numbers.compose(some_hands, np.random.default_rng([7, i]), **how) for i in range(count)
    ]


def plain_style(some_hands, **changes):
    settings = {
        "hand": some_hands.writers[0],
        "height": 30.0,
        "pen": 3.0,
        "slant": 0.0,
        "stretch": 1.0,
        "gap": 0.2,
        "uneven": 0.02,
        "climb": 0.0,
        "pressure": 0.0,
        "zero": 1.0,
    }
    return Style(**(settings | changes))


def test_the_same_seed_composes_the_same_crop(some_hands):
    for compose in (numbers.compose, numbers.compose_none):
        for seed in range(12):
            first, second = (compose(some_hands, np.random.default_rng(seed)) for _ in range(2))
            assert np.array_equal(first.image, second.image)
            assert (first.text, first.kind, first.boxes) == (
                second.text,
                second.kind,
                second.boxes,
            )


@pytest.mark.parametrize("layout", Layout)
def test_every_layout_is_drawn_with_any_number_of_digits(some_hands, layout):
    for length in range(1, 11):
        rng = np.random.default_rng(length)
        text = "0123456789"[:length]
        crop = numbers.compose(some_hands, rng, layout=layout, text=text)
        assert crop.image.dtype == np.uint8
        assert crop.image.ndim == 2
        assert (crop.text, crop.kind, len(crop.boxes)) == (text, layout.value, length)


@pytest.mark.parametrize("content", Content)
@pytest.mark.parametrize("layout", Layout)
def test_a_crop_of_none_has_no_digits(some_hands, content, layout):
    for seed in range(4):
        crop = numbers.compose_none(
            some_hands, np.random.default_rng(seed), content=content, layout=layout
        )
        assert (crop.text, crop.boxes, crop.touching) == ("", (), False)
        assert crop.kind.startswith("none-")
        assert crop.image.size


def test_none_and_number_are_drawn_where_no_one_lends_letters(some_hands):
    alone = hands.gather(some_hands.writers, [], "drawn")
    for seed in range(40):
        numbers.compose(alone, np.random.default_rng(seed))
        numbers.compose_none(alone, np.random.default_rng(seed))


def test_the_boxes_are_inside_the_crop_and_in_reading_order(some_hands):
    for crop in crops(some_hands, 150):
        h, w = crop.image.shape
        assert len(crop.boxes) == len(crop.text)
        middles = [(box.left + box.right) / 2 for box in crop.boxes]
        assert middles == sorted(middles)
        for box in crop.boxes:
            assert 0 <= box.left < box.right <= w
            assert 0 <= box.top < box.bottom <= h


def test_there_is_ink_in_every_box(some_hands):
    for crop in crops(some_hands, 60, layout=Layout.PLAIN, roughness=0.0):
        paper = float(np.median(crop.image))
        for box in crop.boxes:
            part = crop.image[box.top : box.bottom, box.left : box.right]
            assert part.min() < paper - 15


def test_a_turned_crop_has_its_boxes_turned_with_it(some_hands):
    found = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        crop = numbers.compose(some_hands, rng, layout=Layout.PLAIN, text="7" * 5, touching=0)
        if crop.image.shape[0] < 40:
            continue
        found += 1
        ink = crop.image < np.median(crop.image) - 12
        inside = np.zeros_like(ink)
        for box in crop.boxes:
            inside[box.top : box.bottom, box.left : box.right] = True
        for box in crop.boxes:
            assert ink[box.top : box.bottom, box.left : box.right].any()
    assert found > 20


def test_the_digits_written_are_those_of_the_text(some_hands):
    rng = np.random.default_rng(0)
    for text in ("7", "1.250,-", "$12 400=", "€10.^50", "Rr 07"):
        stamps = write(text, some_hands, plain_style(some_hands), rng)
        drawn = "".join(stamp.label for stamp in stamps)
        assert drawn == "".join(char for char in text if char in DIGITS)


def test_four_numbers_in_ten_have_digits_that_touch(some_hands):
    share = np.mean([crop.touching for crop in crops(some_hands, 400)])
    assert 0.32 < share < 0.48


@pytest.mark.parametrize("layout", OPEN)
def test_digits_touch_as_often_as_asked(some_hands, layout):
    always = crops(some_hands, 25, layout=layout, text="40318", touching=1.0)
    never = crops(some_hands, 25, layout=layout, text="40318", touching=0.0)
    assert all(crop.touching for crop in always)
    assert not any(crop.touching for crop in never)


def test_digits_that_touch_stay_legible(some_hands):
    rng = np.random.default_rng(1)
    for _ in range(60):
        style = draw_style(some_hands, rng)
        first, second = write("47", some_hands, style, rng, touching=True)[:2]
        assert touches(first, second)
        assert second.left - first.left >= 0.2 * min(first.width, second.width)


def test_a_pen_is_as_wide_in_a_small_picture_as_in_a_large_one(some_hands):
    line = np.array([[0.0, 0.0], [40.0, 0.0]])
    for pen in (1.0, 2.0, 4.0, 7.0):
        strokes = draw_lines([line], pen)
        width = float(strokes[:, 20].sum()) / 255
        assert abs(width - pen) < 0.6


def test_a_digit_is_bent_otherwise_each_time_and_no_more_than_a_little(some_hands):
    rng = np.random.default_rng(1)
    for hand in some_hands.writers:
        character = hand.characters["8"][0]
        drawn = [draw_character(character, 60, rng, pen=4) for _ in range(6)]
        assert len({one.tobytes() for one in drawn}) == 6
        assert all(0.6 * 60 < len(one) < 1.5 * 60 for one in drawn)
    places = rng.uniform(0, 1, (50, 2))
    moves = np.stack([Bend.draw(rng).moves(places) for _ in range(200)])
    assert 0.5 * MOST_BENT < np.abs(moves).max() <= MOST_BENT


def test_composing_leaves_the_hands_as_they_are(some_hands):
    pictures = [
        one for hand in some_hands.writers[:2] for d in hand.characters.values() for one in d
    ]
    before = [picture.copy() for picture in pictures]
    crops(some_hands, 20)
    assert all(np.array_equal(a, b) for a, b in zip(pictures, before, strict=True))


def test_a_hand_without_a_digit_borrows_it_from_the_hand_most_like_it(printed_hand):
    near, far = (
        Hand("drawn", {"5": (np.full((28, 28), value, np.uint8),)}, slant)
        for value, slant in ((1, 0.3), (2, -0.4))
    )
    lacking = printed_hand(slant=0.2, digits="1")
    some = hands.gather([far, near, lacking], [], "drawn")
    assert some.find("5", lacking, np.random.default_rng(0)).max() == 1


def test_a_character_no_one_wrote_is_refused(some_hands):
    with pytest.raises(ValueError, match="label"):
        some_hands.find("Q", some_hands.writers[0], np.random.default_rng(0))


def test_a_part_without_writers_is_refused():
    with pytest.raises(DataError, match="no writers"):
        hands.gather([], [], "train")


@pytest.fixture
def small_folder(small_mnist):
    """Lay out noise for digits, 60 writers each."""
    rng = np.random.default_rng(0)
    table = np.zeros((6100, 8), np.int32)
    table[:, 2] = np.arange(6100) % 60
    table[6000:, 2] += 1000
    np.savez(small_mnist / "mnist_writers.npz", train=table[:6000], test=table[6000:])
    x = rng.integers(0, 256, (500, 8, 8)).astype(np.uint8)
    np.savez(small_mnist / "usps_train.npz", x=x, y=np.arange(500) % 10)
    count = 600
    np.savez(
        small_mnist / "unipen_strokes.npz",
        points=rng.integers(0, 1000, (4 * count, 2)).astype(np.int16),
        stroke=np.tile(np.array([0, 0, 1, 1], np.uint8), count),
        offset=4 * np.arange(count + 1),
        label=np.array([str(i % 10) for i in range(count)]),
        writer=np.array([f"pen {i // 10}" for i in range(count)]),
        relsize=np.ones(count, np.float32),
        suspect=np.arange(count) % 10 == 3,
    )
    return small_mnist


def pictures_of(loaded):
    return {
        one.tobytes()
        for hand in loaded.writers
        if hand.source == "mnist"
        for found in hand.characters.values()
        for one in found
    }


def test_no_picture_is_in_two_parts_and_the_reserved_digits_are_in_none(small_folder):
    folder = str(small_folder)
    parts = {part: hands.load(folder, part) for part in ("train", "validation", "test")}
    found = {part: pictures_of(loaded) for part, loaded in parts.items()}
    for first, second in pairwise([*found.values(), found["train"]]):
        assert first
        assert not first & second
    forms = dataset.load("mnist", folder).part("forms")
    assert len(forms) == 5000
    assert not {glyph.tobytes() for glyph in forms.glyphs} & set().union(*found.values())


def test_a_hand_is_one_writers_and_knows_no_name(small_folder):
    loaded = hands.load(str(small_folder), "heldout")
    assert {hand.source for hand in loaded.writers} == {"unipen"}
    for hand in loaded.writers:
        assert sorted(hand.characters) == list("012456789")  # 3 is suspect
        assert "pen 1" not in repr(hand)


def test_a_missing_data_set_is_named(tmp_path):
    with pytest.raises(DataError, match="unipen_strokes"):
        hands.load(str(tmp_path), "train")


def test_the_bench_writes_pictures_and_their_truth(some_hands, tmp_path):
    place = Path(__file__).parents[1] / "bench" / "composed.py"
    spec = importlib.util.spec_from_file_location("bench_composed", place)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    drawn = [*crops(some_hands, 3), numbers.compose_none(some_hands, np.random.default_rng(0))]
    bench.write_set(tmp_path, drawn)
    with (tmp_path / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [crop.text for crop in drawn]
    for row, crop in zip(rows, drawn, strict=True):
        saved = cv2.imread(str(tmp_path / row["file"]), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(saved, crop.image)


@pytest.mark.slow
def test_the_digits_of_the_sample_forms_are_in_no_hand(data_folder):
    forms = dataset.load("mnist", data_folder).part("forms")
    reserved = {glyph.tobytes() for glyph in forms.glyphs}
    for part in ("train", "validation", "test"):
        assert not reserved & pictures_of(hands.load(data_folder, part))


@pytest.mark.slow
def test_the_testing_set_has_two_to_ten_digits_and_four_in_ten_touch(data_folder):
    composed, nones = numbers.testing_set(data_folder, 200, 3, nones=20)
    assert {len(crop.text) for crop in composed} == set(range(2, 11))
    assert 78 <= sum(crop.touching for crop in composed) <= 82
    assert [crop.text for crop in nones] == [""] * 20


def test_the_line_of_a_register_that_is_learned_from_holds_its_number(some_hands):
    made = crops(some_hands, 60, layout=Layout.TABLE, roughness=0.5)
    found = [(one, lines._line_that_holds(one)) for one in made]
    for one, line in found:
        if line is not None:
            middles = [((b.left + b.right) / 2, (b.top + b.bottom) / 2) for b in one.boxes]
            assert all(line.box.left <= x <= line.box.right for x, _ in middles)
            assert all(line.box.top <= y <= line.box.bottom for _, y in middles)
    assert sum(line is not None for _, line in found) >= 48
