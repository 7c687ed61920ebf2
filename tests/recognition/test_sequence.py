import json

import numpy as np
import pytest

from digitocr.errors import ModelError
from digitocr.recognition import sequence
from digitocr.recognition.ctc import best_seen, seen_probabilities, text_probabilities
from digitocr.recognition.sequence import VIEWS, load_sequence, with_views
from digitocr.types import STRIP_WIDTHS


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


def test_a_strip_that_is_surely_read_is_looked_at_once_and_another_from_all_sides():
    strips = list(np.random.default_rng(1).integers(0, 256, (2, 32, 40), np.uint8))
    asked = []

    def read(some):
        asked.append(some)
        sure = [0.9995, 0.6] if len(asked) == 1 else [0.9] * len(some)
        found = []
        for strip, one in zip(some, sure, strict=True):
            rows = np.full((-(-strip.shape[1] // 4), 11), (1 - one) / 10, np.float32)
            rows[:, 10] = one
            found.append(np.log(rows))
        return found

    first, second = with_views(read)(strips)
    assert [len(some) for some in asked] == [2, len(VIEWS)]
    for view, (wide, *_) in zip(asked[1], VIEWS, strict=True):
        assert view.shape == (32, round(40 * wide)) and not np.array_equal(view, strips[1])
    assert [len(looks) for looks in (first, second)] == [1, 1 + len(VIEWS)]
    np.testing.assert_allclose(np.exp(first[0][:, 10]), 0.9995, rtol=1e-5)
    # How probable a text is: the mean of what all looks say of it.
    wanted = np.mean([text_probabilities(frames, ["", "7"]) for frames in second], axis=0)
    np.testing.assert_allclose(seen_probabilities(second, ["", "7"]), wanted)
    seen = best_seen(second)
    assert seen[0].text == "" and seen[0].probability == pytest.approx(wanted[0])


def test_a_strip_as_wide_as_strips_may_be_is_widened_no_further():
    strip = np.zeros((32, STRIP_WIDTHS[-1]), np.uint8)
    unsure = np.log(np.full((8, 11), 1 / 11, np.float32))
    seen = []

    def read(some):
        seen.extend(some)
        return [unsure] * len(some)

    with_views(read)([strip])
    assert {view.shape for view in seen} == {strip.shape}
