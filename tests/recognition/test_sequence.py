import json

import numpy as np
import pytest

from digitocr.errors import ModelError
from digitocr.recognition import sequence
from digitocr.recognition.sequence import VIEWS, load_sequence, with_views


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


def test_a_strip_that_is_surely_read_is_not_looked_at_again_and_another_is_from_all_sides():
    strips = list(np.random.default_rng(1).integers(0, 256, (2, 32, 40), np.uint8))
    asked = []

    def read(some):
        asked.append(some)
        sure = [0.9995, 0.6] if len(asked) == 1 else [0.9] * len(some)
        rows = [np.full((10, 11), (1 - one) / 10, np.float32) for one in sure]
        for row, one in zip(rows, sure, strict=True):
            row[:, 10] = one
        return [np.log(row) for row in rows]

    first, second = with_views(read)(strips)
    assert [len(some) for some in asked] == [2, len(VIEWS)]
    assert {view.shape for view in asked[1]} == {strips[1].shape}
    assert not any(np.array_equal(view, strips[1]) for view in asked[1])
    np.testing.assert_allclose(np.exp(first[:, 10]), 0.9995, rtol=1e-5)
    mean = (0.6 + len(VIEWS) * 0.9) / (1 + len(VIEWS))
    np.testing.assert_allclose(np.exp(second[:, 10]), mean, rtol=1e-5)
    np.testing.assert_allclose(np.exp(second).sum(axis=1), 1.0, rtol=1e-5)
