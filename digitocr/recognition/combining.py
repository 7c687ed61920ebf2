"""The opinions of two readers of one number → one, with a calibrated confidence.

The lattice says how probable each text is over all ways to cut the ink into glyphs; the
sequence network says it of the gray crop, without ink or cuts. What either proposes is weighed
by both: a text's weight is the product of its two probabilities, each raised to a power and not
below a floor, so that one reader alone cannot rule a text out. `neither` is the weight of the
texts that nobody proposed.

How far the winner is to be believed depends on more: whether both readers put it first, what
was left out of the crop, how sure the least sure digit is. A logistic regression on these gives
the confidence. All the numbers are fitted on composed numbers of validation writers
(`training.combining`), none is set by hand; they stand in the card of the sequence model.

A third opinion (`recognizer`) is weighed in the same way: what both readers make of the number
together stands in the place of the lattice, the recognizer in that of the sequence network.
It is weighed only of numbers that both together are not sure of, and fitted on such. Of the
others it may deny what both say (`unless_denied`): it alone has learned from real writing, and
where all that both learned from is composed, the fit cannot know what it is worth that a
stranger says otherwise.

References
----------
Kittler, Hatef, Duin and Matas, IEEE PAMI 20 (1998) 226-239, on combining classifiers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.errors import ModelError
from digitocr.recognition.ctc import Looks, best_seen, seen_probabilities
from digitocr.recognition.decoding import Decoded

FEATURES = (
    "constant", "share", "lattice", "sequence", "lattice_against", "sequence_against", "agree",
    "doubtful", "lined", "least_digit", "digits", "share_sure", "lattice_sure",
    "sequence_sure", "by_lattice", "by_sequence", "by_lattice_sure", "by_sequence_sure",
)  # fmt: skip
POWERS = ("lattice_power", "sequence_power", "lattice_floor", "sequence_floor", "neither")
MOST_LOGIT = 9.0
DENYING = 0.5  # probability of a text from which on a third opinion denies all others
MOST_DENIED = 0.9  # how far a text is believed that is denied
SURE = 3.0  # log-odds from which on certainty counts for more, or less: the `…_sure`
_KINDS = ("crops", "cells")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a crop beside its texts.

    `doubtful`: more than dust and lines was left out of the ink, or strokes are too faint.
    `lined`: lines were left out of a crop, or writing runs out of a field. `least` is the
    confidence of the least sure digit on the lattice's path of a text. `before`, where a third
    opinion is weighed: the log-odds that lattice and sequence network gave each text.
    """

    doubtful: bool
    lined: bool
    least: Mapping[str, float]
    before: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Combination:
    """How two readers are weighed, and how far what comes out is believed.

    `lattice_power` and `sequence_power` are the powers of their probabilities,
    `lattice_floor` and `sequence_floor` the least of these, `neither` the logarithm of the
    weight of all texts that nobody proposed. `calibration` has a weight for each of `FEATURES`.
    """

    lattice_power: float
    sequence_power: float
    lattice_floor: float
    sequence_floor: float
    neither: float
    calibration: tuple[float, ...]

    @classmethod
    def of_card(cls, entry: object, where: str) -> Combination:
        """Take the entry of a card.

        Raises
        ------
        ModelError
            If it is not there or does not fit.
        """
        try:
            entries = dict(entry)  # type: ignore[call-overload]
            weights = tuple(float(entries["calibration"][name]) for name in FEATURES)
            rest = {name: float(entries[name]) for name in POWERS}
        except (TypeError, KeyError, ValueError) as error:
            raise ModelError(
                f"{where}: combination is missing or wrong ({error}); fit it with "
                "`digitocr models combine`"
            ) from error
        return cls(**rest, calibration=weights)

    def entry(self) -> dict[str, Any]:
        """Give the entry of a card."""
        entries = {
            name: round(value, 6)
            for name, value in asdict(self).items()
            if name != "calibration"
        }
        weights = zip(FEATURES, self.calibration, strict=True)
        return entries | {"calibration": {name: round(one, 6) for name, one in weights}}


@dataclass(frozen=True, slots=True)
class Combinations:
    """The weights for bare crops and open fields, and those for fields with printed cells.

    Where cells are printed the lattice knows how many positions there are, and is believed
    more. `third_crops` and `third_cells` weigh the third opinion of the recognizer whose
    fingerprint is `third`; None where they were fitted without one.
    """

    crops: Combination
    cells: Combination
    third: str | None = None
    third_crops: Combination | None = None
    third_cells: Combination | None = None

    @classmethod
    def of_card(cls, entry: object, where: str) -> Combinations:
        """Take the entry of a card.

        Raises
        ------
        ModelError
            If it does not fit.
        """
        parts = entry if isinstance(entry, dict) else {}
        crops, cells = (Combination.of_card(parts.get(name), where) for name in _KINDS)
        third = parts.get("third")
        if not isinstance(third, dict):
            return cls(crops, cells)
        third_crops, third_cells = (
            Combination.of_card(third.get(name), where) for name in _KINDS
        )
        return cls(crops, cells, str(third.get("fingerprint")), third_crops, third_cells)

    def entry(self) -> dict[str, Any]:
        """Give the entry of a card."""
        entries: dict[str, Any] = {"crops": self.crops.entry(), "cells": self.cells.entry()}
        if self.third_crops is not None and self.third_cells is not None:
            entries["third"] = {
                "fingerprint": self.third,
                "crops": self.third_crops.entry(),
                "cells": self.third_cells.entry(),
            }
        return entries


@dataclass(frozen=True, slots=True, eq=False)
class Opinions:
    """The texts that either reader proposes, and the logarithms of what both say of each."""

    texts: tuple[str, ...]
    lattice: NDArray[np.float64]
    sequence: NDArray[np.float64]


def opinions(
    decoded: Sequence[Decoded],
    looks: Looks,
    *,
    min_length: int = 0,
    max_length: int | None = None,
) -> Opinions:
    """Ask both readers of every text that either proposes.

    Parameters
    ----------
    decoded
        What the lattice may be, with probabilities over all ways to cut it.
    looks
        What the sequence network gives for the crop.
    min_length, max_length
        Digits that a text may have which the network proposes.
    """
    by_lattice = {one.text: one.probability for one in decoded}
    spelled = best_seen(looks, min_length=min_length, max_length=max_length)
    texts = tuple(dict.fromkeys((*by_lattice, *(one.text for one in spelled))))
    said = np.array([by_lattice.get(text, 0.0) for text in texts], np.float64)
    seen = seen_probabilities(looks, texts)
    with np.errstate(divide="ignore"):
        return Opinions(texts, np.log(said), np.log(np.minimum(seen, 1.0)))


def shares(of: Opinions, combination: Combination) -> NDArray[np.float64]:
    """Give each text its share of all the weight, that of the texts nobody proposed too."""
    weights = log_weights(of, combination)
    weights = np.append(weights, combination.neither)
    powers = np.exp(weights - weights.max())
    found: NDArray[np.float64] = (powers / powers.sum())[:-1]
    return found


def log_weights(of: Opinions, combination: Combination) -> NDArray[np.float64]:
    """Give the logarithm of the weight of each text."""
    lattice = np.maximum(of.lattice, math.log(combination.lattice_floor))
    seen = np.maximum(of.sequence, math.log(combination.sequence_floor))
    weights: NDArray[np.float64] = (
        combination.lattice_power * lattice + combination.sequence_power * seen
    )
    return weights


def features(
    of: Opinions,
    share: NDArray[np.float64],
    best: int,
    evidence: Evidence,
    combination: Combination,
) -> NDArray[np.float64]:
    """Describe the best text, in the order of `FEATURES`."""
    text = of.texts[best]
    first = int(of.lattice.argmax()), int(of.sequence.argmax())
    odds = (
        _log_odds(float(share[best])),
        _log_odds(math.exp(of.lattice[best])),
        _log_odds(math.exp(of.sequence[best])),
    )
    unknown = (-MOST_LOGIT, -MOST_LOGIT) if evidence.before else (0.0, 0.0)
    before = evidence.before.get(text, unknown)
    return np.array(
        [
            1.0,
            *odds,
            0.0 if best == first[0] else _log_odds(math.exp(of.lattice[first[0]])),
            0.0 if best == first[1] else _log_odds(math.exp(of.sequence[first[1]])),
            first == (best, best),
            evidence.doubtful,
            evidence.lined,
            math.log(max(evidence.least.get(text, 1.0), 1e-6)),
            len(text) / 5,
            *(max(one - SURE, 0.0) for one in odds),
            *before,
            *(max(one - SURE, 0.0) for one in before),
        ]
    )


def with_both(evidence: Evidence, of: Opinions) -> Evidence:
    """Add what lattice and sequence network say, for when a third opinion is weighed."""
    said = zip(of.texts, of.lattice, of.sequence, strict=True)
    before = {text: (_log_odds(math.exp(a)), _log_odds(math.exp(b))) for text, a, b in said}
    return replace(evidence, before=before)


def _log_odds(share: float) -> float:
    odds = math.log(max(share, 1e-9)) - math.log(max(1.0 - share, 1e-9))
    return min(max(odds, -MOST_LOGIT), MOST_LOGIT)


def combine(
    of: Opinions,
    decoded: Sequence[Decoded],
    evidence: Evidence,
    combination: Combination,
    *,
    keep: int = 6,
) -> tuple[Decoded, ...]:
    """Weigh what two readers say of one number.

    Parameters
    ----------
    decoded
        What the first of them proposed, for the paths of its texts.
    keep
        Texts given back.

    Returns
    -------
    Best first, with confidences; the path of a text that only the other proposes is empty.
    """
    paths = {one.text: one.path for one in decoded}
    return tuple(
        Decoded(one.text, one.probability, paths.get(one.text, ()))
        for one in judge(of, evidence, combination, keep=keep)
    )


def unless_denied(
    found: tuple[Decoded, ...], third: Opinions, *, keep: int = 6
) -> tuple[Decoded, ...]:
    """Believe the best text less where a third opinion is rather sure of another.

    Parameters
    ----------
    found
        The texts, best first.
    third
        What the recognizer says of them stands in the place of the sequence network.
    keep
        Texts given back; what the recognizer says is among them.
    """
    first = int(third.sequence.argmax())
    text, probability = third.texts[first], math.exp(third.sequence[first])
    best, freed = found[0], found[0].probability - MOST_DENIED
    if text == best.text or probability <= DENYING or freed <= 0.0:
        return found
    other = next((one for one in found if one.text == text), Decoded(text, 0.0, ()))
    other = replace(other, probability=other.probability + freed)
    rest = [one for one in found[1:] if one.text != text]
    rest = sorted((other, *rest), key=lambda one: -one.probability)
    return (replace(best, probability=MOST_DENIED), *rest[: keep - 1])


def is_bare(of: Opinions, best: str) -> bool:
    """Say whether neither the best text nor any that the lattice proposes holds a digit."""
    proposed = zip(of.texts, of.lattice, strict=True)
    return not best and not any(text for text, said in proposed if said > -math.inf)


def judge(
    of: Opinions, evidence: Evidence, combination: Combination, *, keep: int = 6
) -> tuple[Decoded, ...]:
    """Give the best texts with their confidences, without paths.

    The best one's is calibrated; the others share what is left by their weights.
    """
    share = shares(of, combination)
    best = int(share.argmax())
    described = features(of, share, best, evidence, combination)
    odds = float(described @ np.array(combination.calibration))
    confidence = 1.0 / (1.0 + math.exp(-min(max(odds, -30.0), 30.0)))
    scale = (1.0 - confidence) / max(1.0 - float(share[best]), 1e-12)
    rest = sorted(
        (
            Decoded(text, min(float(one) * scale, confidence), ())
            for place, (text, one) in enumerate(zip(of.texts, share, strict=True))
            if place != best
        ),
        key=lambda one: (-one.probability, one.text),
    )
    return (Decoded(of.texts[best], confidence, ()), *rest[: keep - 1])
