"""How networks want their pictures, and which way it is for one that does not say.

Tutorials feed their networks in many ways: 0 to 1 or 0 to 255, ink light or dark, centered or
standardized; and no file says which. Digits whose labels are known tell: the way in which the
network reads them best is the one it was trained with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digitocr.recognition.classifier import best_digits, softmax
from digitocr.training import scores

Answer = Callable[
    [NDArray[np.float32]], NDArray[np.float32]
]  # pictures → logits or probabilities


@dataclass(frozen=True, slots=True)
class Convention:
    """How a network wants its pictures: `gain` × ours, from 0 paper to 1 ink, + `offset`."""

    scale: str
    polarity: str
    gain: float
    offset: float

    def __str__(self) -> str:
        return f"{self.scale}, {self.polarity}"

    def applied(self, glyphs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give glyphs as the network wants them."""
        return glyphs * np.float32(self.gain) + np.float32(self.offset)


def _both(scale: str, gain: float, offset: float, inverted: float) -> tuple[Convention, ...]:
    return (
        Convention(scale, "white on black", gain, offset),
        Convention(scale, "black on white", -gain, inverted),
    )


_MEAN, _DEVIATION = 0.1307, 0.3081  # of MNIST's pixels, as the tutorials have them
CONVENTIONS = (  # the commonest first
    *_both("0-1", 1.0, 0.0, 1.0),
    *_both("0-255", 255.0, 0.0, 255.0),
    *_both("-1 to 1", 2.0, -1.0, 1.0),
    *_both("standardized", 1 / _DEVIATION, -_MEAN / _DEVIATION, _MEAN / _DEVIATION),
)
OURS = CONVENTIONS[0]


def find_convention(
    answer: Answer,
    glyphs: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    close_loss: float = 0.1,
) -> tuple[Convention, float]:
    """Find how digits must be fed to be read best, and the share that is read right then.

    A network that is fed with too little contrast may give nearly as many right classes, but
    less surely; one that is fed with too much, more surely than it has reason to. Of ways
    whose accuracies differ by no more than chance, and whose losses are within `close_loss`
    of the least, the commonest is taken.

    Raises
    ------
    ValueError
        If the network gives infinite or undefined numbers, whatever it is fed.
    """
    tried: list[tuple[float, float, Convention]] = []
    for one in CONVENTIONS:
        rows = answer(one.applied(glyphs))
        if np.isfinite(rows).all():
            rows = rows if are_probabilities(rows) else softmax(rows)
            accuracy = float((best_digits(rows)[0] == labels).mean())
            tried.append((accuracy, scores.log_loss(rows, labels), one))
    if not tried:
        raise ValueError("no finite numbers for any of the digits")
    most = max(accuracy for accuracy, _, _ in tried)
    chance = (most * (1 - most) / len(labels)) ** 0.5
    good = [one for one in tried if one[0] >= most - chance]
    least = min(loss for _, loss, _ in good)
    accuracy, _, best = next(one for one in good if one[1] <= least + close_loss)
    return best, accuracy


def are_probabilities(rows: NDArray[np.float32]) -> bool:
    """Say whether rows come from a softmax, or from a sigmoid each, and are no logits."""
    return bool(rows.min() >= 0.0 and rows.max() <= 1.0 + 1e-3)
