import numpy as np
import pytest
from scipy.stats import beta

from digitocr.recognition.promise import LEVEL, least_audited, promise, upper_bound


@pytest.mark.parametrize(
    ("wrong", "count"), [(0, 1), (0, 598), (1, 10), (5, 2000), (40, 100), (9, 10), (10, 10)]
)
def test_the_bound_is_clopper_and_pearsons(wrong, count):
    wanted = 1.0 if wrong == count else beta.ppf(LEVEL, wrong + 1, count - wrong)
    assert upper_bound(wrong, count) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("target", "count"), [(0.005, 598), (0.001, 2995), (0.05, 59)])
def test_so_many_right_readings_prove_a_target_and_one_fewer_does_not(target, count):
    assert least_audited(target) == count
    assert promise([0.99] * count, [True] * count, target).threshold == 0.99
    short = promise([0.99] * (count - 1), [True] * (count - 1), target)
    assert short.threshold is None and short.audited == count - 1 and short.bound > target


def test_the_threshold_stops_above_what_is_wrong():
    confidences = np.linspace(1.0, 0.5, 2000)
    right = np.arange(2000) < 1500  # the least sure quarter is wrong
    found = promise(confidences, right, 0.01)
    assert confidences[1500] < found.threshold < confidences[400]
    assert found.wrong == 0 or found.bound <= 0.01


def test_readings_of_equal_confidence_are_accepted_together():
    confidences = [0.99] * 700 + [0.9] * 300
    right = [True] * 700 + [True] * 200 + [False] * 100
    found = promise(confidences, right, 0.01)
    assert (found.threshold, found.audited, found.wrong) == (0.99, 700, 0)


def test_a_lower_target_never_accepts_more():
    rng = np.random.default_rng(1)
    confidences = rng.beta(8, 1, 6000)
    right = rng.random(6000) < confidences**0.05
    thresholds = [promise(confidences, right, t).threshold or 2.0 for t in (0.05, 0.02, 0.01)]
    assert thresholds == sorted(thresholds)


def test_nothing_audited_promises_nothing():
    found = promise([], [], 0.01)
    assert (found.threshold, found.audited, found.bound) == (None, 0, 1.0)


def test_what_was_drawn_from_a_high_threshold_proves_no_lower_one():
    confidences = [0.99] * 500 + [0.95] * 400
    right = [True] * 900
    assert promise(confidences, right, 0.005).threshold == 0.95
    drawn = [0.98] * 500 + [0.9] * 400
    assert promise(confidences, right, 0.005, drawn_from=drawn).threshold is None
    drawn = [0.98] * 200 + [0.9] * 700
    found = promise(confidences, right, 0.005, drawn_from=drawn)
    assert (found.threshold, found.audited) == (0.95, 700)


def test_a_reading_speaks_from_where_it_was_drawn_on_up_to_its_confidence():
    # Together 600 stand at 0.97 and above, but each half was drawn by a threshold of its own.
    drawn = [0.9] * 300 + [0.97] * 300
    found = promise([0.99] * 600, [True] * 600, 0.005, drawn_from=drawn)
    assert (found.threshold, found.audited) == (0.99, 600)
    unknown = [1.0] * 600  # accepted below where all could be drawn: none speaks for anything
    assert promise([0.99] * 600, [True] * 600, 0.005, drawn_from=unknown).threshold is None


@pytest.mark.parametrize("more", [{"right": [True]}, {"drawn_from": [0.5]}])
def test_a_verdict_that_is_missing_is_refused(more):
    given = {"confidences": [0.9, 0.8], "right": [True, True]} | more
    with pytest.raises(ValueError, match="verdict for each"):
        promise(target=0.01, **given)


@pytest.mark.parametrize("target", [0.0, 1.0, -1.0])
def test_a_target_that_is_no_share_is_refused(target):
    with pytest.raises(ValueError, match="target"):
        promise([0.9], [True], target)


@pytest.mark.parametrize("target", [0.005, 0.02])
def test_over_many_audits_the_promise_is_kept_in_95_of_100(target):
    """300 draws: the share wrong at the threshold, known exactly, stays within the target."""
    rng = np.random.default_rng(7)
    kept = given = 0
    for _ in range(300):
        confidences = np.sort(rng.beta(6, 1.2, 4000))[::-1]
        chance_wrong = 0.06 * (1.0 - confidences) + 0.1 * (1.0 - confidences) ** 2 + 0.0008
        right = rng.random(4000) >= chance_wrong
        found = promise(confidences, right, target)
        if found.threshold is None:
            kept += 1
            continue
        given += 1
        kept += bool(chance_wrong[confidences >= found.threshold].mean() <= target)
    assert given >= 50
    assert kept >= 0.95 * 300


def test_the_promise_is_kept_where_audits_followed_the_threshold():
    """First all from 0.9 on was audited, then what a high threshold accepted: 100 draws."""
    rng = np.random.default_rng(11)
    kept = kept_without = given = 0
    for _ in range(100):
        first, later = rng.uniform(0.9, 1.0, 6000), rng.uniform(0.99, 1.0, 20000)
        confidences = np.concatenate([first, later])
        right = rng.random(len(confidences)) >= 0.3 * (1.0 - confidences)
        drawn = np.concatenate([np.full(6000, 0.9), np.full(20000, 0.99)])
        found = promise(confidences, right, 0.01, drawn_from=drawn).threshold
        careless = promise(confidences, right, 0.01).threshold
        # Confidences are uniform: of those from t on, 0.3 × (1 - t) / 2 are wrong.
        kept += found is None or 0.15 * (1.0 - found) <= 0.01
        given += found is not None and found < 0.99
        kept_without += careless is None or 0.15 * (1.0 - careless) <= 0.01
    assert given >= 50
    assert kept >= 95
    assert kept_without < 50  # the reason for `drawn_from`
