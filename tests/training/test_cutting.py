"""What is cut out of composed numbers, and the training that goes on with it."""

import numpy as np
import pytest

from digitocr import types
from digitocr.training import cutting
from digitocr.training.composition import numbers
from digitocr.training.composition.layouts import Layout


@pytest.fixture(scope="module")
def writers():
    from digitocr.training.composition import hands

    return hands.gather(hands.drawn_hands(3, 12), (), "drawn")


def clean(writers, text, seed, *, touching=0.0):
    return numbers.compose(
        writers,
        np.random.default_rng(seed),
        layout=Layout.PLAIN,
        text=text,
        touching=touching,
        roughness=0.0,
        signs=False,
    )


@pytest.mark.parametrize("seed", range(12))
def test_the_owners_of_a_number_are_where_its_digits_are(writers, seed):
    made = numbers.compose(writers, np.random.default_rng(seed), text="4711", roughness=1.0)
    assert made.owners.shape == made.image.shape
    for number, box in enumerate(made.boxes, start=1):
        rows, columns = np.nonzero(made.owners == number)
        assert len(rows), "every digit owns some ink"
        assert box.left - 2 <= columns.min() and columns.max() <= box.right + 1
        assert box.top - 2 <= rows.min() and rows.max() <= box.bottom + 1


def test_digits_that_stand_apart_are_cut_out_whole(writers):
    right = []
    for seed in range(40):
        text = "".join(str(d) for d in np.random.default_rng(seed).integers(0, 10, 4))
        labels = [label for _, label in cutting.cut(clean(writers, text, seed))]
        right.append(all(int(digit) in labels for digit in text))
    assert np.mean(right) > 0.8


def test_all_of_the_ink_of_two_digits_is_no_digit(writers):
    whole = []
    for seed in range(40):
        cut = cutting.cut(clean(writers, "50", seed, touching=1.0))
        last = max((glyph.end for glyph, _ in cut), default=0)
        whole += [label for glyph, label in cut if (glyph.start, glyph.end) == (0, last)]
    assert len(whole) > 20
    assert np.mean([label == cutting.OTHER for label in whole]) > 0.9


def test_a_crop_without_ink_is_cut_into_nothing(writers):
    blank = numbers.Composed(
        np.full((60, 120), 230, np.uint8), "", "none", (), False, np.zeros((60, 120), np.uint8)
    )
    assert cutting.cut(blank) == []


def test_ink_of_no_digit_teaches_nothing():
    image = np.full((60, 120), 230, np.uint8)
    image[20:45, 50:62] = 20
    owners = np.zeros_like(image)
    owners[30:40, 5:10] = 1  # a digit that was not found
    made = numbers.Composed(image, "7", "plain", (types.Box(5, 30, 10, 40),), False, owners)
    assert {label for _, label in cutting.cut(made)} <= {cutting.UNKNOWN}


def test_cut_numbers_are_a_data_set_with_a_part_to_validate(data_folder):
    counts = {"train": 60, "validation": 40}
    found = cutting.load(data_folder, seed=2, counts=counts)
    again = cutting.load(data_folder, seed=2, counts=counts)
    assert np.array_equal(found.glyphs, again.glyphs)
    assert set(found.parts) == {"train", "validation"}
    assert (found.labels >= 0).all() and (found.labels == cutting.OTHER).any()
    assert len(set(found.labels) - {cutting.OTHER}) == 10
