import numpy as np
import pytest

from digitocr.training import dataset, scores


def scored(labels, probabilities):
    labels = np.asarray(labels, np.int64)
    glyphs, parts = np.zeros((len(labels), 4, 4), np.uint8), np.full(len(labels), "test")
    data = dataset.GlyphSet("drawn", glyphs, labels, parts, "")
    return scores.Scored(data, np.asarray(probabilities, np.float32))


def test_a_perfect_and_a_hopeless_reader_get_the_scores_they_deserve():
    labels = np.arange(40) % 10
    found = scores.figures(scored(labels, np.eye(11)[labels]), accept=0.97)
    assert found["accuracy"] == found["f1"] == found["accepted"] == 1.0
    assert found["ece"] == found["substitution_rate"] == found["log_loss"] == 0.0
    found = scores.figures(scored(labels, np.eye(11)[(labels + 1) % 10]), accept=0.97)
    assert found["accuracy"] == found["f1"] == 0.0
    assert found["ece"] == found["substitution_rate"] == 1.0
    assert np.sum(found["confusion"]) == 40


def test_a_digit_that_is_not_clearly_other_is_still_read():
    rows = np.zeros((3, 11))
    rows[0, [3, 5, 10]] = 0.35, 0.25, 0.4
    rows[1, [3, 10]] = 0.05, 0.95
    rows[2, [3, 10]] = 0.5, 0.5
    one = scored([3, 3, 3], rows)
    assert one.judged.tolist() == [3, dataset.OTHER, 3]
    found = scores.figures(one, accept=0.01)
    assert found["accuracy"] == found["accepted"] == pytest.approx(2 / 3)
    assert found["best_digit_accuracy"] == 1.0


def test_ten_columns_are_scored_as_eleven_are_and_refuse_by_doubt_alone():
    rows = np.full((4, 10), 0.01)
    rows[[0, 1, 2, 3], [7, 7, 2, 2]] = 0.91
    rows[3] = 0.1
    found = scores.figures(scored([7, 2, 10, 10], rows), accept=0.9)
    assert (found["digits"], found["non_digits"]) == (2, 2)
    assert found["accuracy"] == found["refused"] == found["substitution_rate"] == 0.5
    assert found["other_wins"] == 0.0
    assert found["log_loss"] == pytest.approx(-(np.log(0.91) + np.log(0.01)) / 2, rel=1e-4)


def test_a_set_without_digits_has_only_what_is_refused():
    found = scores.figures(scored([10, 10], np.eye(11)[[10, 4]]), accept=0.9)
    assert found["refused"] == found["other_wins"] == 0.5
    assert "accuracy" not in found


def test_the_more_is_rejected_the_fewer_of_the_unsure_remain_wrong():
    confidence = np.linspace(0.01, 1.0, 100).astype(np.float32)
    right = np.arange(100) >= 5
    points = scores.error_reject(confidence, right)
    rates = [point["substitution_rate"] for point in points]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 0.05 and rates[-1] == 0.0


@pytest.mark.parametrize(("hits", "count"), [(0, 0), (0, 10), (10, 10), (5, 10)])
def test_the_interval_of_a_share_holds_the_share(hits, count):
    low, high = scores.wilson(hits, count)
    assert 0.0 <= low <= (hits / count if count else 0.5) <= high <= 1.0


def test_hands_are_told_apart_and_a_hand_that_is_never_read_shows():
    right = np.array([True] * 40 + [False] * 10 + [True] * 9 + [False])
    hands = scores.by_writer(right, np.repeat([7, 2, 5], [40, 10, 10]))
    assert hands == {"writers": 3, "mean": pytest.approx(1.9 / 3), "worst": 0.0, "below_95": 2}


def test_non_digits_are_refused_as_far_as_it_costs_few_digits():
    sure = np.zeros((200, 11))
    sure[:, 3], sure[:, 10] = 1.0, 0.0
    sure[0, [3, 10]] = 0.4, 0.6  # half a percent: this one may be lost
    sure[1, [3, 10]] = 0.7, 0.3
    digits = scored([3] * 200, sure)
    junk = np.zeros((4, 11))
    junk[:, 10] = 0.9, 0.5, 0.31, 0.2
    junk[:, 0] = 1 - junk[:, 10]
    assert scores.refused_beside(digits, scored([dataset.OTHER] * 4, junk)) == 0.75
