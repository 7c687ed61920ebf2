import json

import pytest

from digitocr.errors import ModelError
from digitocr.recognition import sequence
from digitocr.recognition.sequence import load_sequence


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
