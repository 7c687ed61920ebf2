import json
from itertools import product

import cv2
import numpy as np
import pytest

from digitocr.errors import ModelError
from digitocr.recognition import sequence
from digitocr.recognition.sequence import (
    BLANK,
    BUCKETS,
    COLUMNS,
    HEIGHT,
    best_texts,
    load_sequence,
    normalize_strip,
    text_probabilities,
)


def written(text="3807", *, height=60, width=220, size=1.2, foot=45, ink=40, paper=210, pen=3):
    gray = np.full((height, width), paper, np.uint8)
    cv2.putText(gray, text, (30, foot), cv2.FONT_HERSHEY_SIMPLEX, size, ink, pen)
    return gray


def drawn_frames(rng, count, *, sharpness=1.0, symbols=COLUMNS):
    """Draw log-probabilities; of a few symbols alone, where all texts are to be tried."""
    logits = np.full((count, COLUMNS), -60.0)
    kept = [*range(symbols - 1), BLANK]
    logits[:, kept] = rng.normal(0.0, sharpness, (count, symbols))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


def spelled_by_trial(frames, symbols):
    """Sum the probability of every path, by the text that it spells."""
    found = {}
    for path in product([*range(symbols - 1), BLANK], repeat=len(frames)):
        kept = [one for i, one in enumerate(path) if i == 0 or one != path[i - 1]]
        text = "".join(str(one) for one in kept if one != BLANK)
        probability = np.exp(sum(float(frames[i, one]) for i, one in enumerate(path)))
        found[text] = found.get(text, 0.0) + probability
    return found


# ---------------------------------------------------------------- crop → strip


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (300, 1), (5, 4), (13, 30), (64, 64), (452, 900), (40, 3000)]
)
@pytest.mark.parametrize("fill", ["black", "white", "noise"])
def test_a_crop_of_any_size_gives_a_strip(shape, fill):
    gray = {
        "black": np.zeros(shape, np.uint8),
        "white": np.full(shape, 255, np.uint8),
        "noise": np.random.default_rng(1).integers(0, 256, shape, np.uint8),
    }[fill]
    before = gray.copy()
    strip = normalize_strip(gray)
    assert strip.dtype == np.uint8 and strip.shape[0] == HEIGHT
    assert HEIGHT // 2 <= strip.shape[1] <= BUCKETS[-1]
    np.testing.assert_array_equal(gray, before)
    np.testing.assert_array_equal(strip, normalize_strip(gray))
    if fill != "noise":
        assert not strip.any()


def test_writing_is_bright_on_paper_of_nothing():
    strip = normalize_strip(written())
    assert np.quantile(strip, 0.98) == 255
    assert np.median(strip) == 0


def test_faint_writing_on_dark_paper_gives_the_strip_of_dark_writing_on_white():
    dark, faint = normalize_strip(written()), normalize_strip(written(ink=120, paper=160))
    assert dark.shape == faint.shape
    assert np.abs(dark.astype(int) - faint).mean() < 12


@pytest.mark.parametrize(("height", "foot"), [(60, 45), (140, 90), (140, 60), (200, 120)])
def test_digits_come_out_as_high_however_much_paper_is_around_them(height, foot):
    strip = normalize_strip(written(height=height, foot=foot))
    rows = np.flatnonzero((strip > 128).any(axis=1))
    assert 18 <= rows[-1] - rows[0] + 1 <= 28


def test_a_rule_does_not_take_the_place_of_the_writing():
    gray = written(height=120, foot=60, ink=90)
    gray[100:104] = 0  # solid
    gray[110:114, ::8] = 0  # dotted
    strip = normalize_strip(gray)
    inked = (strip > 60).any(axis=0)
    assert np.count_nonzero(np.diff(inked.astype(int)) == 1) >= 3  # four digits apart


@pytest.mark.parametrize(
    "gray", [np.zeros((0, 5), np.uint8), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4))]
)
def test_what_is_no_gray_crop_is_refused(gray):
    with pytest.raises(ValueError, match="gray must be"):
        normalize_strip(gray)


# ---------------------------------------------------------------- frames ↔ texts


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("count", "symbols"), [(1, 11), (3, 11), (5, 4), (7, 3)])
def test_the_search_finds_what_trying_every_path_finds(seed, count, symbols):
    frames = drawn_frames(np.random.default_rng(seed), count, symbols=symbols)
    wanted = spelled_by_trial(frames, symbols)
    found = best_texts(frames, keep=5, beam=5000, least=0.0)
    ranked = sorted(wanted.items(), key=lambda entry: -entry[1])[:5]
    assert [one.text for one in found] == [text for text, _ in ranked]
    np.testing.assert_allclose(
        [one.probability for one in found], [p for _, p in ranked], rtol=1e-5
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("count", "symbols"), [(1, 11), (3, 11), (5, 4), (7, 3)])
def test_the_probability_of_a_text_is_that_of_all_paths_that_spell_it(seed, count, symbols):
    frames = drawn_frames(np.random.default_rng(seed), count, symbols=symbols)
    wanted = spelled_by_trial(frames, symbols)
    found = text_probabilities(frames, list(wanted))
    np.testing.assert_allclose(found, list(wanted.values()), rtol=1e-5, atol=1e-12)
    assert found.sum() == pytest.approx(1.0, abs=1e-4)


def test_the_search_agrees_with_the_sum_on_long_sharp_frames():
    frames = drawn_frames(np.random.default_rng(3), 40, sharpness=12.0)
    found = best_texts(frames, beam=200, least=0.0)
    exact = text_probabilities(frames, [one.text for one in found])
    np.testing.assert_allclose([one.probability for one in found], exact, rtol=0.02)
    quick = best_texts(frames)
    assert quick[0].text == found[0].text


def test_only_texts_of_the_asked_lengths_and_the_empty_one_are_given():
    frames = drawn_frames(np.random.default_rng(5), 4)
    wanted = spelled_by_trial(frames, COLUMNS)
    found = best_texts(frames, min_length=2, max_length=3, keep=10_000, beam=50_000, least=0.0)
    assert {len(one.text) for one in found} == {0, 2, 3}
    for one in found:
        assert one.probability == pytest.approx(wanted[one.text], rel=1e-5)


def test_a_text_too_long_for_the_frames_is_impossible():
    frames = drawn_frames(np.random.default_rng(6), 3)
    assert text_probabilities(frames, ["1234", "112", "111"]).tolist() == [0.0, 0.0, 0.0]
    assert text_probabilities(frames, []).shape == (0,)
    with pytest.raises(ValueError, match="digits alone"):
        text_probabilities(frames, ["1a"])


def test_no_frames_spell_nothing_for_sure():
    frames = np.zeros((0, COLUMNS), np.float32)
    assert [(one.text, one.probability) for one in best_texts(frames)] == [("", 1.0)]
    assert text_probabilities(frames, ["", "1"]).tolist() == [1.0, 0.0]


# ---------------------------------------------------------------- the folder


def test_a_card_that_does_not_fit_is_refused_by_its_key(tmp_path):
    with pytest.raises(ModelError, match=r"model\.tflite"):
        load_sequence(tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"card\.json"):
        load_sequence(tmp_path)
    card = sequence.described() | {
        "name": "x",
        "temperature": 1.0,
        "trained_on": [],
        "metrics": {},
    }
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="not a network"):
        load_sequence(tmp_path)
    for key, value in (
        ("kind", "glyph"),
        ("stride", 8),
        ("normalization", "strip-0"),
        ("temperature", 0),
        ("trained_on", "mnist"),
    ):
        (tmp_path / "card.json").write_text(json.dumps(card | {key: value}))
        with pytest.raises(ModelError, match=key):
            load_sequence(tmp_path)
