from itertools import product

import numpy as np
import pytest

from digitocr.recognition.ctc import (
    BLANK,
    COLUMNS,
    best_seen,
    best_texts,
    digit_frames,
    own_probabilities,
    seen_probabilities,
    text_probabilities,
)


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


def test_of_each_strip_its_own_text_is_as_probable_as_alone():
    rng = np.random.default_rng(8)
    every = [drawn_frames(rng, count, sharpness=4.0) for count in (0, 1, 6, 6, 40)]
    texts = ["", "7", "11", "", "1234"]
    wanted = [
        text_probabilities(*one)[0] for one in zip(every, [[t] for t in texts], strict=True)
    ]
    np.testing.assert_allclose(own_probabilities(every, texts), wanted, rtol=1e-12)
    assert own_probabilities([], []).shape == (0,)


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


def test_looks_of_different_widths_say_the_mean_of_what_each_says():
    rng = np.random.default_rng(8)
    looks = tuple(drawn_frames(rng, count) for count in (5, 8, 6))
    texts = ["", "1", "12", "11", "9074"]
    wanted = np.mean([text_probabilities(frames, texts) for frames in looks], axis=0)
    np.testing.assert_allclose(seen_probabilities(looks, texts), wanted, rtol=1e-9)
    found = best_seen(looks)
    exact = seen_probabilities(looks, [one.text for one in found])
    np.testing.assert_allclose([one.probability for one in found], exact)
    assert list(exact) == sorted(exact, reverse=True)


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


def paths_of(text, symbols, count):
    """Give every path that spells a text."""
    for path in product([*range(symbols - 1), BLANK], repeat=count):
        kept = [one for i, one in enumerate(path) if i == 0 or one != path[i - 1]]
        if "".join(str(one) for one in kept if one != BLANK) == text:
            yield path


@pytest.mark.parametrize("text", ["", "1", "12", "11", "121"])
@pytest.mark.parametrize("seed", range(6))
def test_digits_are_found_on_the_likeliest_path_where_they_are_surest(text, seed):
    frames = drawn_frames(np.random.default_rng(seed), 6, symbols=4)
    likeliest = max(
        paths_of(text, 4, 6), key=lambda path: sum(frames[t, one] for t, one in enumerate(path))
    )
    runs, before = [], BLANK
    for t, one in enumerate(likeliest):
        if one != BLANK and one != before:
            runs.append([])
        if one != BLANK:
            runs[-1].append(t)
        before = one
    wanted = [
        max(run, key=lambda t: frames[t, int(digit)])
        for run, digit in zip(runs, text, strict=True)
    ]
    assert digit_frames(frames, text).tolist() == wanted


def test_frames_too_few_for_a_text_show_no_digits():
    with pytest.raises(ValueError, match="too few"):
        digit_frames(drawn_frames(np.random.default_rng(1), 2), "11")
