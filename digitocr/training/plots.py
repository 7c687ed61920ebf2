"""Pictures for reports: training, confusion, calibration, what was read wrong.

Reports are committed beside their models, so that only digits of MNIST are ever shown; of
other data sets there are curves.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digitocr.errors import MissingExtraError
from digitocr.recognition.classifier import best_digits
from digitocr.training.dataset import OTHER
from digitocr.training.scores import Scored, confusion, precision_recall, wilson

PICTURED = "mnist"  # the only set whose pictures may be shown
CLASS_NAMES = (*map(str, range(OTHER)), "other")
# The file of each plot, in the order of a report, and what it shows.
CAPTIONS = {
    "history": "Accuracy and loss over the epochs of training",
    "classes": "What was trained on: characters of each class",
    "confusion": "What was read for what was written",
    "by_class": "Precision, recall and F1 of each digit",
    "calibration": "Share right against confidence, and how many are that sure",
    "error_reject": "Wrong of what is left when the least sure are rejected",
    "gold_reject": "The same of corrected digits held out: the model in use, and the candidate",
    "samples": "Digits of MNIST's test part with their confidence",
    "mistakes": "Digits of MNIST read wrong, the surest mistake first",
}
_BESIDE = {"loc": "upper left", "bbox_to_anchor": (1, 1)}  # a legend that covers nothing


def draw_plots(scored: Sequence[Scored], folder: Path) -> None:
    """Draw all that is measured: the sets of digits together, MNIST also by its pictures."""
    digits = [one.digits() for one in scored if (one.data.labels < OTHER).any()]
    if not digits:
        return
    first = next((one for one in digits if one.data.name == PICTURED), digits[0])
    draw_confusion(first, folder / "confusion.png")
    draw_by_class(first, folder / "by_class.png")
    draw_calibration(digits, folder / "calibration.png")
    draw_error_reject(digits, folder / "error_reject.png")
    if first.data.name == PICTURED:
        draw_samples(first, folder / "samples.png")
        draw_mistakes(first, folder / "mistakes.png")


def draw_history(history: Mapping[str, Sequence[float]], best_epoch: int, file: Path) -> None:
    """Draw accuracy and loss of training and validation over the epochs.

    Parameters
    ----------
    history
        Lists `accuracy`, `loss`, `val_accuracy` and `val_loss`, a number an epoch.
    best_epoch
        Counted from 1: the one whose weights were kept.
    """
    figure = _figure(9, 3.6)
    for axes, key in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for name, label in ((key, "training"), (f"val_{key}", "validation")):
            epochs = range(1, len(history[name]) + 1)
            axes.plot(epochs, history[name], ".-", linewidth=1, label=label)
        axes.axvline(best_epoch, color="gray", linestyle="--", linewidth=0.8)
        kept = float(history[f"val_{key}"][best_epoch - 1])
        axes.set(xlabel="epoch", ylabel=key)
        axes.set_title(f"kept: epoch {best_epoch}, validation {key} {kept:.4f}", fontsize=9)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    _save(figure, file)


def draw_class_counts(
    counts: Mapping[str, Sequence[int] | NDArray[np.int64]], file: Path
) -> None:
    """Draw how many characters of each class the data sets hold, one upon the other.

    Parameters
    ----------
    counts
        Data set → 11 counts: 0-9 and other.
    """
    figure = _figure(8, 4)
    axes = figure.subplots()
    below = np.zeros(OTHER + 1)
    for index, (name, count) in enumerate(counts.items()):
        heights = np.asarray(count, np.float64)
        axes.bar(CLASS_NAMES, heights, bottom=below, label=name, color=f"C{index % 10}")
        below += heights
    for place, total in enumerate(below):
        axes.text(place, total, f"{int(total):,}", ha="center", va="bottom", fontsize=7)
    axes.set(xlabel="class", ylabel="characters trained on")
    axes.legend(fontsize=8, **_BESIDE)
    _save(figure, file)


def draw_confusion(one: Scored, file: Path) -> None:
    """Draw how often each digit was read as each class; shades go by the logarithm."""
    table = confusion(one.data.labels, one.judged)[:OTHER]
    figure = _figure(6, 5.5)
    axes = figure.subplots()
    axes.imshow(np.log1p(table), cmap="Blues")
    dark = np.log1p(table.max(initial=1)) / 2
    for row, column in np.ndindex(*table.shape):
        if table[row, column]:
            color = "white" if np.log1p(table[row, column]) > dark else "black"
            text = str(table[row, column])
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(OTHER + 1), CLASS_NAMES)
    axes.set_yticks(range(OTHER))
    axes.set(xlabel="read", ylabel="written", title=one.data.name)
    _save(figure, file)


def draw_by_class(one: Scored, file: Path) -> None:
    """Draw precision, recall and F1 of each digit as bars."""
    classes = precision_recall(confusion(one.data.labels, one.judged))["classes"]
    figure = _figure(8, 3.6)
    axes = figure.subplots()
    lowest = 1.0
    for place, key in enumerate(("precision", "recall", "f1")):
        heights = [classes[digit][key] for digit in classes]
        lowest = min(lowest, *heights)
        axes.bar(np.arange(OTHER) + (place - 1) * 0.27, heights, width=0.25, label=key)
    axes.set_xticks(range(OTHER))
    axes.set_ylim(max(0.0, 1.0 - 1.3 * max(1.0 - lowest, 0.005)), 1.0)
    axes.set(xlabel="digit", title=f"{one.data.name} (the axis does not begin at 0)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, **_BESIDE)
    _save(figure, file)


def draw_calibration(scored: Sequence[Scored], file: Path, *, bins: int = 10) -> None:
    """Draw the share right by confidence with 95 % intervals, and how many there are of each.

    Most confidences lie in the last bin: the counts below, on a logarithmic axis, say how
    little the others rest on.
    """
    figure = _figure(6.5, 6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    upper.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    width = 0.8 / bins / max(1, len(scored))
    for index, one in enumerate(scored):
        best, confidence = best_digits(one.probabilities)
        right = best == one.data.labels
        place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
        counts = np.bincount(place, minlength=bins)
        filled = [b for b in range(bins) if counts[b] >= 5]
        means = [float(confidence[place == b].mean()) for b in filled]
        shares = [float(right[place == b].mean()) for b in filled]
        ends = [wilson(int(right[place == b].sum()), int(counts[b])) for b in filled]
        reach = np.abs(np.array(ends).reshape(-1, 2).T - np.array(shares))
        color = f"C{index % 10}"
        marks = {"fmt": "o-", "markersize": 3, "linewidth": 1, "capsize": 2, "color": color}
        upper.errorbar(means, shares, yerr=reach, label=one.data.name, **marks)
        few = int((confidence < 0.9).sum())
        middles = (np.arange(bins) + 0.5) / bins + (index - (len(scored) - 1) / 2) * width
        label = f"{one.data.name}: {few} of {len(right)} below 0.9"
        lower.bar(middles, counts, width=width, color=color, label=label)
    upper.set(ylabel="share right", ylim=(0, 1.02))
    upper.set_title("bins with at least 5 digits; bars are 95 % intervals", fontsize=9)
    lower.set(xlabel="confidence", ylabel="digits", yscale="log", xlim=(0, 1.02))
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    _save(figure, file)


def draw_error_reject(scored: Sequence[Scored], file: Path) -> None:
    """Draw the substitution rate that is left as the least sure digits are rejected."""
    figure = _figure(6, 4)
    axes = figure.subplots()
    for one in scored:
        best, confidence = best_digits(one.probabilities)
        wrong = (best != one.data.labels)[np.argsort(confidence, kind="stable")]
        left = np.cumsum(wrong[::-1])[::-1]
        kept = np.arange(len(wrong), 0, -1)
        axes.plot(1 - kept / len(wrong), left / kept, label=one.data.name)
    axes.set(xlabel="reject rate", ylabel="substitution rate", xlim=(0, 0.2), ylim=(0, None))
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    _save(figure, file)


def draw_readers(
    judged: Mapping[str, tuple[NDArray[np.float64], NDArray[np.bool_]]], file: Path
) -> None:
    """Draw the substitution rate of several readers of the same numbers.

    Parameters
    ----------
    judged
        By reader, how sure it was of each number and whether it was right.
    """
    figure = _figure(6, 4)
    axes = figure.subplots()
    for name, (sure, right) in judged.items():
        left = np.cumsum(~right[np.argsort(-sure, kind="stable")])
        kept = np.arange(1, len(right) + 1)
        axes.plot(1 - kept / len(right), left / kept, label=name)
    axes.set(xlabel="reject rate", ylabel="substitution rate", xlim=(0, 1), ylim=(0, 0.4))
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    _save(figure, file)


def draw_samples(one: Scored, file: Path, *, a_class: int = 5) -> None:
    """Draw some MNIST digits of each class with what was read and how sure it is.

    Raises
    ------
    ValueError
        If the data set is not MNIST, whose pictures alone may be shown.
    """
    chosen = [np.flatnonzero(one.data.labels == digit) for digit in range(OTHER)]
    chosen = [places[:: max(1, len(places) // a_class)][:a_class] for places in chosen]
    rows = [index for column in zip(*_padded(chosen, a_class), strict=True) for index in column]
    _draw_gallery(one, rows, file, columns=OTHER)


def draw_mistakes(one: Scored, file: Path, *, most: int = 40) -> None:
    """Draw the MNIST digits read wrong, the surest of the wrong answer first.

    Raises
    ------
    ValueError
        If the data set is not MNIST, whose pictures alone may be shown.
    """
    wrong = np.flatnonzero(one.judged != one.data.labels)
    surest_first = wrong[np.argsort(-_confidence(one)[wrong], kind="stable")]
    _draw_gallery(one, [int(index) for index in surest_first[:most]], file, columns=8)


def draw_comparison(sets: Mapping[str, Mapping[str, Mapping[str, Any]]], file: Path) -> None:
    """Draw accuracy with its 95 % interval against speed, a panel for each set of digits.

    Parameters
    ----------
    sets
        Data set → model → `accuracy`, `accuracy_interval` and `glyphs_per_s`.
    """
    columns = min(3, max(1, len(sets)))
    rows = -(-len(sets) // columns)
    figure = _figure(4.6 * columns, 3.8 * max(1, rows))
    panels = np.atleast_1d(figure.subplots(max(1, rows), columns)).ravel()
    for axes in panels[len(sets) :]:
        axes.set_axis_off()
    for axes, (name, models) in zip(panels, sets.items(), strict=False):
        for index, (model, found) in enumerate(models.items()):
            low, high = found["accuracy_interval"]
            share, speed = found["accuracy"], found["glyphs_per_s"]
            reach = [[max(0.0, share - low)], [max(0.0, high - share)]]
            mark = "os^Dv"[index // 10 % 5]
            axes.errorbar(speed, share, yerr=reach, fmt=mark, capsize=3, label=model)
        axes.set(xscale="log", xlabel="glyphs/s, one thread", ylabel="right", title=name)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2%}")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=7)
    _save(figure, file)


def _padded(chosen: Sequence[NDArray[np.int64]], length: int) -> list[list[int | None]]:
    return [
        [int(column[row]) if row < len(column) else None for row in range(length)]
        for column in chosen
    ]


def _confidence(one: Scored) -> NDArray[np.float32]:
    """Find how sure the answer is: of the digit, or of its being none."""
    _, confidence = best_digits(one.probabilities)
    sure: NDArray[np.float32] = confidence
    if one.probabilities.shape[1] > OTHER:
        sure = np.where(one.judged == OTHER, one.probabilities[:, OTHER], confidence)
    return sure


def _draw_gallery(one: Scored, rows: Sequence[int | None], file: Path, *, columns: int) -> None:
    """Draw characters in rows of `columns`; None leaves a place empty."""
    if one.data.name != PICTURED:
        raise ValueError(f"pictures of {one.data.name} must not be shown, only of {PICTURED}")
    lines = max(1, -(-len(rows) // columns))
    figure = _figure(0.95 * columns, 1.2 * lines)
    judged, confidence = one.judged, _confidence(one)
    grid = np.atleast_1d(figure.subplots(lines, columns)).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, index in zip(grid, rows, strict=False):
        if index is None:
            continue
        axes.imshow(255 - one.data.glyphs[index], cmap="gray", vmin=0, vmax=255)
        written, read = int(one.data.labels[index]), CLASS_NAMES[judged[index]]
        wrong = judged[index] != written
        title = f"{written} read {read}\n{confidence[index]:.1%}"
        axes.set_title(title, fontsize=7, color="firebrick" if wrong else "black")
    _save(figure, file)


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "plots need matplotlib: pip install 'digitocr[train]'"
        ) from error
    return Figure(figsize=(width, height), layout="tight")  # draws by Agg, without a screen


def _save(figure: Any, file: Path, *, colors: int = 128) -> None:
    """Write a PNG of few colors, a third as large: these files are committed."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100, format="png")
    Image.open(drawn).convert("RGB").quantize(colors).save(file, optimize=True)
