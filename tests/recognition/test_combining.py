import math

import numpy as np
import pytest

from digitocr.errors import ModelError
from digitocr.recognition import combining
from digitocr.recognition.combining import FEATURES, Combination, Evidence
from digitocr.recognition.ctc import BLANK, COLUMNS
from digitocr.recognition.decoding import Decoded, Step

EVEN = Combination(
    1.0, 1.0, 1e-3, 1e-3, -12.0, tuple(1.0 if name == "share" else 0.0 for name in FEATURES)
)
NOTHING_KNOWN = Evidence(False, False, {})


def decoded(**texts):
    """One reader's texts: `_12=0.9` is that 12 is 90 % probable."""
    return tuple(
        Decoded(name[1:], p, tuple(Step(i, digit) for i, digit in enumerate(name[1:])))
        for name, p in sorted(texts.items(), key=lambda entry: -entry[1])
    )


def looks_of(text, sure=0.9):
    """Give a look whose frames spell a text, a blank between its digits."""
    rows = np.full((2 * len(text) + 1, COLUMNS), (1 - sure) / (COLUMNS - 1))
    for place in range(len(rows)):
        rows[place, int(text[place // 2]) if place % 2 else BLANK] = sure
    return (np.log(rows).astype(np.float32),)


def combine(decoded, looks, evidence, combination, **lengths):
    of = combining.opinions(decoded, looks, **lengths)
    return combining.combine(of, decoded, evidence, combination)


@pytest.mark.parametrize("sure", [0.2, 0.6, 0.99])
def test_confidences_are_probabilities_best_first(sure):
    found = combine(
        decoded(_12=0.6, _13=0.3, _1=0.05), looks_of("13", sure), NOTHING_KNOWN, EVEN
    )
    confidences = [one.probability for one in found]
    assert confidences == sorted(confidences, reverse=True)
    assert all(0.0 <= one <= 1.0 for one in confidences) and sum(confidences) <= 1.0 + 1e-9
    assert len({one.text for one in found}) == len(found) <= 6


def test_who_agrees_is_believed_more_than_who_does_not():
    agreed = combine(decoded(_12=0.9, _13=0.1), looks_of("12"), NOTHING_KNOWN, EVEN)
    denied = combine(decoded(_12=0.9, _13=0.1), looks_of("47"), NOTHING_KNOWN, EVEN)
    assert agreed[0].text == "12"
    assert agreed[0].probability > denied[0].probability


def test_the_floor_keeps_one_reader_from_ruling_out_a_text():
    found = combine(decoded(_12=1.0), looks_of("47", 0.99), NOTHING_KNOWN, EVEN)
    assert {"12", "47"} <= {one.text for one in found}
    by_text = {one.text: one for one in found}
    assert by_text["12"].path and not by_text["47"].path


def test_the_weights_are_the_products_of_the_powers():
    weighed = Combination(0.5, 2.0, 1e-3, 1e-3, -math.inf, EVEN.calibration)
    of = combining.opinions(decoded(_12=0.64, _13=0.36), looks_of("12", 0.9))
    lattice, seen = np.exp(of.lattice[:2]), np.exp(of.sequence[:2])
    assert of.texts[:2] == ("12", "13")
    wanted = (lattice**0.5) * np.maximum(seen, 1e-3) ** 2.0
    found = np.exp(combining.log_weights(of, weighed)[:2])
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_what_was_left_out_lowers_the_confidence_as_it_was_fitted():
    doubted = Combination(
        1.0, 1.0, 1e-3, 1e-3, -12.0,
        tuple({"share": 1.0, "doubtful": -2.0}.get(name, 0.0) for name in FEATURES),
    )  # fmt: skip
    args = decoded(_12=0.9, _13=0.1), looks_of("12")
    clear = combine(*args, NOTHING_KNOWN, doubted)[0].probability
    doubtful = combine(*args, Evidence(True, False, {}), doubted)[0].probability
    assert doubtful < clear


def test_of_a_third_opinion_it_counts_what_both_said_before():
    weighed = Combination(
        1.0, 1.0, 1e-3, 1e-3, -12.0,
        tuple({"share": 1.0, "by_sequence": 0.5}.get(name, 0.0) for name in FEATURES),
    )  # fmt: skip
    both, third = decoded(_12=0.9, _13=0.1), looks_of("12")

    def confidence(first: str) -> float:
        of = combining.opinions(decoded(_12=0.9), looks_of(first))
        evidence = combining.with_both(NOTHING_KNOWN, of)
        found = combine(both, third, evidence, weighed)
        assert found[0].text == "12"
        return found[0].probability

    plain = combine(both, third, NOTHING_KNOWN, weighed)[0].probability
    assert confidence("4777") < plain < confidence("12")


def test_certainty_beyond_the_knot_counts_for_more_or_less():
    weighed = Combination(
        1.0, 1.0, 1e-3, 1e-3, -12.0,
        tuple({"share": 1.0, "lattice_sure": -0.9}.get(name, 0.0) for name in FEATURES),
    )  # fmt: skip
    below, above = (
        tuple(
            combine(decoded(_12=lattice), looks_of("12"), NOTHING_KNOWN, one)[0].probability
            for one in (EVEN, weighed)
        )
        for lattice in (0.9, 0.999)
    )
    assert below[0] == below[1]
    assert above[1] < above[0]


def test_lengths_that_are_not_allowed_are_not_proposed_by_the_network():
    found = combine(decoded(_12=0.5), looks_of("123"), NOTHING_KNOWN, EVEN, max_length=2)
    assert all(len(one.text) <= 2 for one in found)


def test_an_entry_of_a_card_comes_back_as_it_went():
    assert Combination.of_card(EVEN.entry(), "card") == EVEN


@pytest.mark.parametrize("entry", [None, {}, {"lattice": 1.0}, {"calibration": "x"}])
def test_an_entry_that_does_not_fit_is_refused(entry):
    with pytest.raises(ModelError, match="models combine"):
        Combination.of_card(entry, "card.json")
