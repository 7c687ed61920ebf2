import numpy as np
import pytest

from digitocr.errors import ModelError
from digitocr.imaging.normalization import normalize_all
from digitocr.training import export

pytest.importorskip("tensorflow", reason="networks need digitocr[train]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # TensorFlow's own
]


def test_an_exported_network_that_does_not_agree_is_refused(network, printed, monkeypatch):
    glyphs = normalize_all(printed[0][:32])
    assert export.converted_classifier(network(), glyphs)
    monkeypatch.setattr(export, "from_bytes", lambda _: lambda x: np.eye(10)[[3] * len(x)])
    with pytest.raises(ModelError, match="of the characters as Keras does; it was not written"):
        export.converted_classifier(network(), glyphs)


def test_int8_weights_that_do_not_agree_give_way_to_exact_ones(network):
    seen = []

    def agreement(weights):
        seen.append(weights)
        return 0.9 if len(seen) == 1 else 1.0

    found = export.converted(network(), agreement, least=0.99, tried_on="characters")
    rounded, exact = seen
    assert found == exact and len(rounded) < len(exact) / 2
