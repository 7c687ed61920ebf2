import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from digitocr.training.dataset import OTHER, GlyphSet
from digitocr.training.gate import chance_of_at_least, judge, trial
from digitocr.training.scores import Scored


def glyph_set(labels, name="gold"):
    labels = np.asarray(labels, np.int64)
    empty = np.zeros((len(labels), 1, 1), np.uint8)
    return GlyphSet(name, empty, labels, np.full(len(labels), "test"), "drawn")


def answers(read, sure):
    """Rows that give each character's class so much, and the rest to the others."""
    rows = np.full((len(read), 11), 0.0, np.float32)
    rows[np.arange(len(read)), read] = sure
    rows[np.arange(len(read)), (np.asarray(read) + 1) % 10] += 1 - sure
    return rows


def scored(labels, wrong, *, name="gold", sure=0.999, read_as=None):
    """Answer all characters rightly, but for some that are read as the next digit."""
    read = np.array(labels)
    read[wrong] = (read[wrong] + 1) % 10 if read_as is None else read_as
    return Scored(glyph_set(labels, name), answers(read, np.full(len(labels), sure)))


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.5, 0.01, 0.2]))
@settings(max_examples=60, deadline=None)
def test_the_chance_is_the_binomials(seen, more, share):
    count = seen + more
    wanted = float(binom.sf(seen - 1, count, share))
    assert chance_of_at_least(seen, count, share) == pytest.approx(wanted, abs=1e-9)


def test_only_pictures_on_which_the_two_differ_count():
    in_use = np.array([True] * 50 + [False] * 950)
    assert trial("x", in_use, in_use).chance == 1.0
    candidate = in_use.copy()
    candidate[100:105] = True
    found = trial("x", in_use, candidate)
    assert (found.in_use, found.candidate, found.worse, found.better) == (50, 55, 5, 0)
    assert found.chance == pytest.approx(0.5**5) and not found.passed
    candidate[:2] = False  # two that it alone gets right
    assert trial("x", in_use, candidate).passed


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=80))
@settings(max_examples=60, deadline=None)
def test_a_failure_more_of_the_candidate_never_makes_it_pass(pairs):
    in_use, candidate = np.array(pairs, bool).reshape(-1, 2).T
    before = trial("x", in_use, candidate)
    for place in np.flatnonzero(~candidate):
        worse = candidate.copy()
        worse[place] = True
        assert trial("x", in_use, worse).chance <= before.chance + 1e-12


def test_a_model_that_is_the_same_passes_and_one_that_reads_worse_does_not():
    labels = np.arange(400) % 10
    same = scored(labels, [0, 1, 2])
    good = judge([(same, same)], labels=400, suspicious=0, accept=0.99)
    assert good.passed and good.failures == ()
    worse = scored(labels, list(range(20)))
    bad = judge([(same, worse)], labels=400, suspicious=0, accept=0.99)
    assert not bad.passed
    assert bad.failures[0].startswith("gold: digits read wrong: 20 of 400, the model in use 3")
    assert bad.entries("abc") | {"trials": [], "failures": []} == {
        "passed": False,
        "failures": [],
        "fingerprint": "abc",
        "labels": {"count": 400, "suspicious": 0, "chance": 1.0},
        "trials": [],
    }


def test_a_model_that_is_surer_of_what_is_wrong_does_not_pass():
    labels = np.arange(400) % 10
    unsure = scored(labels, list(range(20)), sure=0.9)
    sure = scored(labels, list(range(20)), sure=0.999)
    found = judge([(unsure, sure)], labels=400, suspicious=0, accept=0.99)
    assert [one.passed for one in found.trials] == [True, False]
    assert "wrong and accepted" in found.failures[0]


def test_a_model_that_takes_crosses_for_digits_does_not_pass():
    labels = np.full(300, OTHER)
    refuses = scored(labels, [], name="drawn-junk")
    takes = scored(labels, list(range(12)), name="drawn-junk", read_as=7)
    found = judge([(refuses, takes)], labels=300, suspicious=0, accept=0.99)
    assert not found.passed and "no digits, and not refused: 12 of 300" in found.failures[0]
    assert judge([(takes, refuses)], labels=300, suspicious=0, accept=0.99).passed


@pytest.mark.parametrize("count", [300, 1000, 10_000])
def test_labels_of_which_five_in_a_hundred_are_contradicted_do_not_pass(count):
    honest = judge([], labels=count, suspicious=round(0.005 * count), accept=0.99)
    assert honest.passed
    poisoned = judge([], labels=count, suspicious=round(0.045 * count), accept=0.99)
    assert not poisoned.passed and "a second person must look" in poisoned.failures[0]
