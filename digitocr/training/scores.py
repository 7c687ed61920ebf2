"""What a model's probabilities are worth, in figures.

A digit is right when it is judged a digit and its own class wins against the other nine. A
non-digit is refused when it is judged none or no digit is sure enough to be accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.recognition.classifier import are_digits, best_digits
from digitocr.training.dataset import OTHER, GlyphSet

REJECT_RATES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
ECE_BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A data set with the probabilities a model gives its characters."""

    data: GlyphSet
    probabilities: NDArray[np.float32]

    @property
    def judged(self) -> NDArray[np.int64]:
        """What every character was read as: 0-9, or 10 for no digit."""
        best, _ = best_digits(self.probabilities)
        judged: NDArray[np.int64] = np.where(are_digits(self.probabilities), best, OTHER)
        return judged

    def digits(self) -> Scored:
        """Keep the characters that are digits."""
        written = self.data.labels < OTHER
        return Scored(self.data.where(written), self.probabilities[written])


def figures(one: Scored, *, accept: float) -> dict[str, Any]:
    """Put one data set into figures."""
    labels, judged = one.data.labels, one.judged
    best, confidence = best_digits(one.probabilities)
    written = labels < OTHER
    accepted = (judged < OTHER) & (confidence >= accept)
    found: dict[str, Any] = {"count": len(labels)}
    if written.any():
        right = (judged == labels)[written]
        best_right = (best == labels)[written]
        table = confusion(labels, judged)
        found |= {
            "digits": int(written.sum()),
            "accuracy": float(right.mean()),
            "accuracy_interval": wilson(int(right.sum()), len(right)),
            "best_digit_accuracy": float(best_right.mean()),
            "log_loss": log_loss(one.probabilities[written], labels[written]),
            "ece": calibration_error(confidence[written], best_right),
            "accepted": float(accepted[written].mean()),
            "substitution_rate": _share(~best_right & accepted[written], accepted[written]),
            **precision_recall(table),
            "confusion": table.tolist(),
            "error_reject": error_reject(confidence[written], best_right),
        }
        if one.data.writers is not None:
            found["by_writer"] = by_writer(right, one.data.writers[written])
    if not written.all():
        refused = ~accepted[~written]
        found |= {
            "non_digits": int((~written).sum()),
            "refused": float(refused.mean()),
            "refused_interval": wilson(int(refused.sum()), len(refused)),
            "other_wins": float((judged[~written] == OTHER).mean()),
        }
    return found


def confusion(labels: NDArray[np.int64], judged: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count what was read (columns) by what was written (rows): (11, 11)."""
    table = np.zeros((OTHER + 1, OTHER + 1), np.int64)
    np.add.at(table, (labels, judged), 1)
    return table


def precision_recall(table: NDArray[np.int64]) -> dict[str, Any]:
    """Give precision, recall and F1 of each digit, and their means."""
    hits = np.diag(table)[:OTHER].astype(np.float64)
    precision = hits / np.maximum(table[:, :OTHER].sum(axis=0), 1)
    recall = hits / np.maximum(table[:OTHER].sum(axis=1), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    classes = {
        str(digit): {
            "precision": float(precision[digit]),
            "recall": float(recall[digit]),
            "f1": float(f1[digit]),
        }
        for digit in range(OTHER)
    }
    return {
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
        "classes": classes,
    }


def refused_beside(digits: Scored, one: Scored, *, lost: float = 0.005) -> float:
    """Say what share of non-digits can be refused while so few of the digits are lost.

    By the probability of `other`, or by the best digit's where the model has no such class.
    """

    def sureness(scored: Scored) -> NDArray[np.float32]:
        if scored.probabilities.shape[1] > OTHER:
            return 1 - scored.probabilities[:, OTHER]
        return best_digits(scored.probabilities)[1]

    written, none = digits.digits(), one.data.labels == OTHER
    least = np.sort(sureness(written))[int(lost * len(written.data))]
    return float((sureness(one)[none] < least).mean())


def by_writer(right: NDArray[np.bool_], writers: NDArray[np.int64]) -> dict[str, Any]:
    """Say how the hands fare one by one: an average may hide one that is never read."""
    _, at, counts = np.unique(writers, return_inverse=True, return_counts=True)
    accuracy = np.bincount(at, right) / counts
    return {
        "writers": len(counts),
        "mean": float(accuracy.mean()),
        "worst": float(accuracy.min()),
        "below_95": int((accuracy < 0.95).sum()),
    }


def log_loss(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], *, least: float = 1e-12
) -> float:
    """Give the mean of -ln of the probability of what was written."""
    of_truth = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_truth, least)).mean())


def calibration_error(
    confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_], *, bins: int = ECE_BINS
) -> float:
    """Give the expected calibration error: how far confidence is from the share right.

    References
    ----------
    Guo, Pleiss, Sun and Weinberger, ICML 2017.
    """
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = [
        abs(float(confidence[place == one].sum()) - float(right[place == one].sum()))
        for one in range(bins)
    ]
    return sum(gaps) / max(1, len(right))


def error_reject(
    confidence: NDArray[np.floating[Any]],
    right: NDArray[np.bool_],
    *,
    rates: Sequence[float] = REJECT_RATES,
) -> list[dict[str, Any]]:
    """Give the substitution rate that is left when the least sure share is rejected."""
    order = np.argsort(confidence, kind="stable")
    points = []
    for rate in rates:
        kept = order[round(rate * len(order)) :]
        wrong = int((~right[kept]).sum())
        points.append(
            {
                "reject_rate": rate,
                "substitution_rate": wrong / max(1, len(kept)),
                "wrong": wrong,
                "kept": len(kept),
                "threshold": float(confidence[kept[0]]) if len(kept) else 1.0,
            }
        )
    return points


def wilson(hits: int, count: int, *, z: float = 1.96) -> list[float]:
    """Give the interval a share lies in with 95 % probability.

    References
    ----------
    Wilson, Journal of the American Statistical Association 22 (1927) 209-212.
    """
    if not count:
        return [0.0, 1.0]
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * float(np.sqrt(share * (1 - share) / count + spread / count / 4))
    return [max(0.0, middle - half), min(1.0, middle + half)]


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return float(part.sum()) / max(1, int(whole.sum()))
