"""Fit how the classifier's lattice and the sequence network are weighed, and when to believe.

Once for bare crops and open fields, on composed numbers of the validation writers; once for
fields with printed cells, on the pages of forms that are filled with handwriting as `form fill`
does it. Neither network learned from these digits. Two thirds are fitted on, the rest measures
what comes out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from digitocr.errors import DataError
from digitocr.recognition import combining
from digitocr.recognition.classifier import load_model
from digitocr.recognition.combining import Combination, Combinations
from digitocr.recognition.decoding import Decoded
from digitocr.recognition.folders import CARD
from digitocr.recognition.recognizer import load_recognizer
from digitocr.recognition.sequence import load_sequence
from digitocr.settings import Settings
from digitocr.training import plots
from digitocr.training.composition import hands
from digitocr.training.observing import Observation, Readers, ask_third, observe, observe_pages
from digitocr.training.pictures import Watch, unwatched
from digitocr.training.scores import calibration_error, error_reject, wilson

COUNT = 27_000  # composed crops; a page is filled for each 50 of them
CELLS_FLOOR = 1e-3  # of the lattice where cells are printed
LEAST_COUNT = 300
CROPS_A_PAGE = 50
FITTED = 2 / 3  # the rest measures
_TRIED = (1e-5, 1e-4, 1e-3, 1e-2)
FLOORS = tuple(product(_TRIED, _TRIED))  # of lattice and sequence
# Where the fit begins, and what it is drawn to: both readers as they are.
START = Combination(
    1.0, 1.0, 1e-3, 1e-3, -6.0, tuple(float(name == "share") for name in combining.FEATURES)
)
# How far it is drawn: standard deviations of the powers, of `neither`, of a weight.
SPREADS, SPREAD = np.array([0.3, 0.3, 2.0]), 0.3
CURVES, TABLE = "readers.png", "readers.md"


def combine(
    sequence: Path,
    model: Path,
    settings: Settings,
    *,
    seed: int = 1,
    count: int = COUNT,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Fit the combination of two models and write it into the card of the sequence model.

    Returns
    -------
    The figures on the part that was not fitted on, by reader and by kind of crop.

    Raises
    ------
    DataError
        If the writers cannot be had, or `count` is too small to fit on.
    ModelError
        If a model cannot be loaded.
    """
    if count < LEAST_COUNT:
        raise DataError(f"{count} crops are too few to fit on; compose at least {LEAST_COUNT}")
    readers = Readers(hands.load(settings.data, "validation"), model, sequence)
    crops = observe(readers, seed=seed, count=count, watch=watch)
    cells = observe_pages(readers, seed=seed, count=max(6, count // CROPS_A_PAGE), watch=watch)
    sure = settings.accept_field
    recognizer = load_recognizer() if settings.recognizer == "auto" else None
    fitted, third, found = {}, {}, {}
    prior, floors = START, FLOORS
    third_prior, third_floors = START, FLOORS
    for kind, seen in (("crops", crops), ("cells", cells)):
        part = round(FITTED * len(seen))
        fitted[kind] = fit(seen[:part], prior, floors=floors)
        # With cells the lattice is as sure as it says, and filled forms hold too few mistakes
        # to tell a floor; of the network nothing else is known than that of the crops.
        prior = replace(fitted[kind], lattice_power=1.0)
        floors = ((CELLS_FLOOR, prior.sequence_floor),)
        said = answers(seen[part:], fitted[kind])
        if recognizer is not None:
            denying = kind == "crops"  # as in `numbers.weigh`
            asked = ask_third(seen, fitted[kind], sure=sure, denying=denying, watch=watch)
            unsure = [_best(one, fitted[kind])[1] < sure for one in seen[:part]]
            third[kind] = fit(
                [one for one, fits in zip(asked[:part], unsure, strict=True) if one and fits],
                third_prior,
                floors=third_floors,
            )
            third_prior = third[kind]
            third_floors = ((third_prior.lattice_floor, third_prior.sequence_floor),)
            said["three"] = with_third(
                said["both"], asked[part:], third[kind], sure=sure, denying=denying
            )
        found[kind] = measure(seen[part:], said, accept=sure)
        if kind == "crops":
            truths = [one.truth for one in seen[part:]]
            judged = {reader: _judged(texts, truths) for reader, texts in said.items()}
            plots.draw_readers(judged, sequence / CURVES)
    combinations = Combinations(
        fitted["crops"],
        fitted["cells"],
        recognizer.fingerprint if recognizer else None,
        third.get("crops"),
        third.get("cells"),
    )
    file = sequence / CARD
    entries = json.loads(file.read_text(encoding="utf-8"))
    entries["combination"] = combinations.entry() | {
        "fitted_with": {
            "classifier": load_model(model).card.fingerprint,
            "sequence": load_sequence(sequence, third=False).card.fingerprint,
            "crops": len(crops),
            "cells": len(cells),
            "seed": seed,
        }
    }
    entries["metrics"] = dict(entries["metrics"]) | {"combined": _brief(found)}
    file.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    (sequence / TABLE).write_text(_table(found, sure), encoding="utf-8")
    return found


def _brief(found: dict[str, Any]) -> dict[str, Any]:
    """Leave what a card needs: every reader's figures on all, on numbers, and on none."""
    return {
        kind: {
            reader: {name: groups[name] for name in ("all", "number", "none") if name in groups}
            for reader, groups in readers.items()
        }
        for kind, readers in found.items()
    }


def _table(found: dict[str, Any], accept: float) -> str:
    lines = [
        "# Two readers, alone and together",
        "",
        "Written by `digitocr models combine`: numbers that were not fitted on. Contours is",
        "the classifier on every contour, as tutorials read; lattice and sequence are the two",
        "readers, both is the two together; three: with the recognizer of `digitocr[ocr]` on",
        f"what both are not sure of. Accepted: at {accept}.",
    ]
    for kind, readers in found.items():
        title = "Bare crops" if kind == "crops" else "Fields with printed cells, filled forms"
        lines += [
            "",
            f"## {title}",
            "",
            "| of | reader | count | right (95 %) | accepted | of these wrong | ECE "
            "| rejected for 0.5 % wrong |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        names = dict.fromkeys(name for groups in readers.values() for name in groups)
        for name in names:
            for reader, groups in readers.items():
                one = groups[name]
                low, high = one["exact_interval"]
                lines.append(
                    f"| {name} | {reader} | {one['count']} "
                    f"| {one['exact']:.2%} ({low:.1%} to {high:.1%}) "
                    f"| {one['accepted']:.1%} | {one['wrong_accepted']} | {one['ece']:.2%} "
                    f"| {one['reject_for_half_percent']:.1%} |"
                )
    return "\n".join([*lines, "", f"![wrong among accepted, by share rejected]({CURVES})", ""])


# ---------------------------------------------------------------- fit


def fit(
    seen: Sequence[Observation],
    prior: Combination = START,
    *,
    floors: Sequence[tuple[float, float]] = FLOORS,
) -> Combination:
    """Find the powers, the floors and the calibration that make truths most probable.

    Powers and calibration are drawn to those of `prior`: where nearly all is right, as on
    filled forms, the truths alone would have both readers believed without limit. Of `floors`
    the best is taken, by what is right alone.
    """
    if not seen:
        return prior
    best, least = prior, float("inf")
    padded = _padded(seen)
    start = (prior.lattice_power, prior.sequence_power, prior.neither)
    for lattice_floor, sequence_floor in floors:
        tried = replace(prior, lattice_floor=lattice_floor, sequence_floor=sequence_floor)
        loss = partial(_loss_of_powers, padded, tried, np.array(start))
        found = minimize(loss, start, method="Nelder-Mead", tol=1e-3)
        if found.fun < least:
            lattice, by_sequence, neither = (float(one) for one in found.x)
            least = float(found.fun)
            best = replace(
                tried, lattice_power=lattice, sequence_power=by_sequence, neither=neither
            )
    rows, right = _described(seen, best)
    drawn_to = np.array(prior.calibration)
    weights = minimize(
        _loss_of_calibration,
        drawn_to,
        args=(rows, right, drawn_to),
        jac=True,
        method="L-BFGS-B",
    ).x
    return replace(best, calibration=tuple(float(one) for one in weights))


_Padded = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


def _padded(seen: Sequence[Observation]) -> _Padded:
    """Give both readers' logarithms, (N, K) with NaN beyond, and the truth's place or -1."""
    most = max(len(one.opinions.texts) for one in seen)
    lattice, by_sequence = np.full((2, len(seen), most), np.nan)
    truths = np.full(len(seen), -1, np.int64)
    for row, one in enumerate(seen):
        count = len(one.opinions.texts)
        lattice[row, :count] = one.opinions.lattice
        by_sequence[row, :count] = one.opinions.sequence
        if one.truth in one.opinions.texts:
            truths[row] = one.opinions.texts.index(one.truth)
    return lattice, by_sequence, truths


def _loss_of_powers(
    padded: _Padded,
    tried: Combination,
    prior: NDArray[np.float64],
    powers: NDArray[np.float64],
) -> float:
    lattice, by_sequence, truths = padded
    weights = powers[0] * np.maximum(lattice, np.log(tried.lattice_floor))
    weights = weights + powers[1] * np.maximum(by_sequence, np.log(tried.sequence_floor))
    weights = np.where(np.isnan(lattice), -np.inf, weights)
    weights = np.column_stack([weights, np.full(len(weights), powers[2])])  # -1 is the last
    top = weights.max(axis=1)
    total = top + np.log(np.exp(weights - top[:, None]).sum(axis=1))
    away = (powers - prior) / SPREADS
    return float((total - weights[np.arange(len(weights)), truths]).sum() + 0.5 * (away @ away))


def _described(
    seen: Sequence[Observation], combination: Combination
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rows, right = [], []
    for one in seen:
        share = combining.shares(one.opinions, combination)
        best = int(share.argmax())
        rows.append(combining.features(one.opinions, share, best, one.evidence, combination))
        right.append(one.opinions.texts[best] == one.truth)
    return np.stack(rows), np.array(right)


def _loss_of_calibration(
    weights: NDArray[np.float64],
    rows: NDArray[np.float64],
    right: NDArray[np.bool_],
    prior: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64]]:
    """Give the logistic loss, with what it costs to leave the prior, and its gradient."""
    odds, away = rows @ weights, (weights - prior) / SPREAD
    loss = np.logaddexp(0.0, np.where(right, -odds, odds)).sum() + 0.5 * (away @ away)
    slope = rows.T @ (1.0 / (1.0 + np.exp(-odds)) - right) + away / SPREAD
    return float(loss), slope


# ---------------------------------------------------------------- measure


Said = list[tuple[str, float]]


def measure(
    seen: Sequence[Observation], said: dict[str, Said], *, accept: float
) -> dict[str, Any]:
    """Measure what each reader alone and all together say of crops that were not fitted on."""
    groups: dict[str, list[int]] = {"all": list(range(len(seen)))}
    for place, one in enumerate(seen):
        names = [one.kind, "number" if one.truth else "none"]
        if len(one.truth) > 1:
            names.append("touching" if one.touching else "not touching")
        for name in names:
            groups.setdefault(name, []).append(place)
    found: dict[str, Any] = {}
    for reader, texts in said.items():
        found[reader] = {
            name: _figures([texts[i] for i in places], [seen[i].truth for i in places], accept)
            for name, places in sorted(groups.items())
        }
        sure, right = _judged(texts, [one.truth for one in seen])
        found[reader]["all"]["error_reject"] = error_reject(sure, right)
    return found


def answers(seen: Sequence[Observation], combination: Combination) -> dict[str, Said]:
    """Give what each reader says, with how sure it is: contours, lattice, sequence, both."""
    by_contours = [one.contours for one in seen if one.contours is not None]
    said: dict[str, Said] = {"contours": by_contours} if len(by_contours) == len(seen) else {}
    for reader in ("lattice", "sequence"):
        said[reader] = []
        for one in seen:
            logs = getattr(one.opinions, reader)
            best = int(logs.argmax())
            said[reader].append((one.opinions.texts[best], float(np.exp(logs[best]))))
    said["both"] = [_best(one, combination) for one in seen]
    return said


def with_third(
    both: Said,
    asked: Sequence[Observation | None],
    third: Combination,
    *,
    sure: float,
    denying: bool,
) -> Said:
    """Give what is said where a third opinion was asked for, elsewhere what both say."""
    said = []
    for (text, confidence), one in zip(both, asked, strict=True):
        found: tuple[Decoded, ...] = (Decoded(text, confidence, ()),)
        if one is not None:
            if confidence < sure:
                found = combining.judge(one.opinions, one.evidence, third)
            if denying:
                found = combining.unless_denied(found, one.opinions)
        said.append((found[0].text, found[0].probability))
    return said


def _best(one: Observation, combination: Combination) -> tuple[str, float]:
    best = combining.judge(one.opinions, one.evidence, combination)[0]
    return best.text, best.probability


def _judged(said: Said, truths: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    right = [text == truth for (text, _), truth in zip(said, truths, strict=True)]
    return np.array([confidence for _, confidence in said]), np.array(right)


def _figures(said: Said, truths: Sequence[str], accept: float) -> dict[str, Any]:
    sure, right = _judged(said, truths)
    accepted = sure >= accept
    wrong = int((accepted & ~right).sum())
    return {
        "count": len(said),
        "exact": round(float(right.mean()), 5),
        "exact_interval": wilson(int(right.sum()), len(said)),
        "accepted": round(float(accepted.mean()), 5),
        "wrong_accepted": wrong,
        "ece": round(float(calibration_error(sure, right)), 5),
        "reject_for_half_percent": round(least_rejected(sure, right, target=0.005), 5),
    }


def least_rejected(
    sure: NDArray[np.float64], right: NDArray[np.bool_], *, target: float
) -> float:
    """Find the least share rejected at which no more than `target` of the rest is wrong."""
    order = np.argsort(-sure, kind="stable")
    counts = np.arange(1, len(order) + 1)
    # Readings of equal confidence are accepted together.
    last = np.append(np.diff(sure[order]) != 0.0, True)
    good = np.flatnonzero(last & (np.cumsum(~right[order]) <= target * counts))
    return 1.0 - (int(good[-1]) + 1 if len(good) else 0) / max(1, len(order))
