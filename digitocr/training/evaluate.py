"""Score a model on what it was not trained on; write its report and fill its card.

Every picture takes the way `digitocr classify` sends it: polarity, ink, normalization, LiteRT.
A digit is right when its own class wins against the other nine and `other`. A non-digit is
refused when `other` wins or no digit is sure enough to be accepted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.errors import DataError, MissingExtraError, ModelError
from digitocr.imaging.normalization import ink_intensity, normalize
from digitocr.recognition.classifier import CARD, NETWORK, best_digits, load_model, softmax
from digitocr.settings import Settings
from digitocr.training import dataset
from digitocr.training.dataset import OTHER, GlyphSet
from digitocr.types import Classify

log = logging.getLogger(__name__)

REPORT = "report.md"
REJECT_RATES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
ECE_BINS = 15
PICTURED = "mnist"  # the only set whose pictures may be shown


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A data set with the probabilities a model gives its characters."""

    data: GlyphSet
    probabilities: NDArray[np.float32]


def evaluate(
    model: Path,
    data: Sequence[str],
    settings: Settings,
    report: Path | None = None,
    *,
    whole_files: bool = True,
) -> dict[str, Any]:
    """Measure a model on data sets.

    Parameters
    ----------
    model
        A model folder, its `model.tflite`, or a Keras file.
    data
        Names of data sets, of which the part held out is measured, or `.npz` files; none
        means `mnist`.
    report
        Folder for `report.md` and its plots. If it is the model folder, the card's metrics
        are filled in too.
    whole_files
        Measure all of a file, and not only the writers held out from training on it.

    Returns
    -------
    A dictionary that is JSON as it stands: `model`, `accept_digit`, and `sets` with the
    figures of each data set by name.

    Raises
    ------
    ModelError, DataError
        If the model or the data cannot be read.
    """
    name, classify, classes = _classifier(Path(model))
    scored = [
        Scored(part, classify(_as_read(part.glyphs)))
        for part in held_out(data or ("mnist",), settings.data, whole_files=whole_files)
    ]
    result = {
        "model": name,
        "classes": classes,
        "accept_digit": settings.accept_digit,
        "sets": {one.data.name: figures(one, accept=settings.accept_digit) for one in scored},
    }
    if report is not None:
        report.mkdir(parents=True, exist_ok=True)
        draw_plots(scored, report)
        (report / REPORT).write_text(report_text(result, scored, report), encoding="utf-8")
        if report.resolve() == Path(model).resolve():
            _fill_card(report, result)
    return result


def held_out(names: Sequence[str], folder: str, *, whole_files: bool) -> list[GlyphSet]:
    """Load the part of each data set that is measured; what is all trained on has none."""
    parts = []
    for name in names:
        one = dataset.load(name, folder)
        if whole_files and name.endswith(".npz"):
            parts.append(one)
            continue
        test = one.part("test")
        measured = test if len(test) else one.part("heldout")
        if len(measured):
            parts.append(measured)
        else:
            log.info("%s: every character is trained on; not measured", name)
    if not parts:
        raise DataError(f"{', '.join(names)}: nothing is held out to measure on; add mnist")
    return parts


def figures(one: Scored, *, accept: float) -> dict[str, Any]:
    """Put one data set into figures."""
    labels, winners = one.data.labels, one.probabilities.argmax(axis=1)
    digits, confidence = best_digits(one.probabilities)
    written = labels < OTHER
    accepted = (winners < OTHER) & (confidence >= accept)
    found: dict[str, Any] = {"count": len(labels)}
    if written.any():
        right = (winners == labels)[written]
        best_right = (digits == labels)[written]
        table = confusion(labels, winners)
        found |= {
            "digits": int(written.sum()),
            "accuracy": float(right.mean()),
            "accuracy_interval": wilson(int(right.sum()), len(right)),
            "best_digit_accuracy": float(best_right.mean()),
            "log_loss": float(
                -np.log(np.maximum(one.probabilities[np.arange(len(labels)), labels], 1e-12))[
                    written
                ].mean()
            ),
            "ece": calibration_error(confidence[written], best_right),
            "accepted": float(accepted[written].mean()),
            "substitution_rate": _share((~best_right & accepted[written]), accepted[written]),
            **precision_recall(table),
            "confusion": table.tolist(),
            "error_reject": error_reject(confidence[written], best_right),
        }
    if not written.all():
        refused = ~accepted[~written]
        found |= {
            "non_digits": int((~written).sum()),
            "refused": float(refused.mean()),
            "refused_interval": wilson(int(refused.sum()), len(refused)),
            "other_wins": float((winners[~written] == OTHER).mean()),
        }
    return found


def confusion(labels: NDArray[np.int64], winners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count what was read (columns) by what was written (rows): (11, 11)."""
    table = np.zeros((OTHER + 1, OTHER + 1), np.int64)
    np.add.at(table, (labels, winners), 1)
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


def calibration_error(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], *, bins: int = ECE_BINS
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
    confidence: NDArray[np.float32],
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


def report_text(result: dict[str, Any], scored: Sequence[Scored], folder: Path) -> str:
    """Write the report: rates in pairs, with numbers and intervals."""
    accept = result["accept_digit"]
    lines = [
        f"# {result['model']}",
        "",
        "Written by `digitocr.training.evaluate`; every figure is measured on characters that",
        "were not trained on. Intervals are Wilson's, 95 %.",
        "",
        "| digits | count | right | 95 % | ECE | accepted at "
        f"{accept:g} | wrong of these | macro F1 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    sets = result["sets"]
    for name, found in sets.items():
        if "digits" in found:
            low, high = found["accuracy_interval"]
            lines.append(
                f"| {name} | {found['digits']} | {found['accuracy']:.2%} | "
                f"{low:.2%} to {high:.2%} | {found['ece']:.2%} | {found['accepted']:.1%} | "
                f"{found['substitution_rate']:.2%} | {found['f1']:.4f} |"
            )
    if any("non_digits" in found for found in sets.values()):
        lines += [
            "",
            f"| not digits | count | refused at {accept:g} | 95 % | `other` wins |",
            "| --- | --- | --- | --- | --- |",
        ]
    for name, found in sets.items():
        if "non_digits" in found:
            low, high = found["refused_interval"]
            lines.append(
                f"| {name} | {found['non_digits']} | {found['refused']:.1%} | "
                f"{low:.1%} to {high:.1%} | {found['other_wins']:.1%} |"
            )
    lines += ["", "## Error after rejecting the least sure", ""]
    lines.append("| digits | " + " | ".join(f"{rate:.1%}" for rate in REJECT_RATES) + " |")
    lines.append("| --- |" + " --- |" * len(REJECT_RATES))
    for name, found in sets.items():
        if "digits" in found:
            points = [
                f"{p['substitution_rate']:.2%} ({p['wrong']} of {p['kept']})"
                for p in found["error_reject"]
            ]
            lines.append(f"| {name} | " + " | ".join(points) + " |")
    for one in scored:
        if one.data.name == PICTURED:
            lines += _class_table(sets[one.data.name])
    for picture in sorted(folder.glob("*.png")):
        lines += ["", f"![{picture.stem}]({picture.name})"]
    return "\n".join(lines) + "\n"


def _class_table(found: dict[str, Any]) -> list[str]:
    lines = ["", "## MNIST by class", "", "| digit | precision | recall | F1 |"]
    lines.append("| --- | --- | --- | --- |")
    for digit, one in found["classes"].items():
        cells = " | ".join(f"{one[key]:.4f}" for key in ("precision", "recall", "f1"))
        lines.append(f"| {digit} | {cells} |")
    return lines


def draw_plots(scored: Sequence[Scored], folder: Path) -> None:
    """Draw confusion, error-reject curve, calibration, and the MNIST digits read wrong."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError(
            "plots need matplotlib: pip install 'digitocr[train]'"
        ) from error
    matplotlib.use("Agg")
    digits = [one for one in scored if (one.data.labels < OTHER).any()]
    if not digits:
        return
    first = next((one for one in digits if one.data.name == PICTURED), digits[0])
    _draw_confusion(first, folder / "confusion.png")
    _draw_curves(digits, folder / "error_reject.png")
    _draw_calibration(digits, folder / "calibration.png")
    if first.data.name == PICTURED:
        _draw_mistakes(first, folder / "mistakes.png")


def _draw_confusion(one: Scored, file: Path) -> None:
    from matplotlib.figure import Figure

    table = confusion(one.data.labels, one.probabilities.argmax(axis=1))[:OTHER]
    figure = Figure(figsize=(6, 5.5), layout="tight")
    axes = figure.subplots()
    axes.imshow(np.log1p(table), cmap="Blues")
    for row, column in np.ndindex(*table.shape):
        if table[row, column]:
            color = "white" if row == column else "black"
            text = str(table[row, column])
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(OTHER + 1), [*map(str, range(OTHER)), "other"])
    axes.set_yticks(range(OTHER))
    axes.set(xlabel="read", ylabel="written", title=one.data.name)
    figure.savefig(file, dpi=100)


def _draw_curves(scored: Sequence[Scored], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="tight")
    axes = figure.subplots()
    for one in scored:
        written = one.data.labels < OTHER
        digits, confidence = best_digits(one.probabilities[written])
        wrong = (digits != one.data.labels[written])[np.argsort(confidence)]
        left = np.cumsum(wrong[::-1])[::-1]
        kept = np.arange(len(wrong), 0, -1)
        axes.plot(1 - kept / len(wrong), left / kept, label=one.data.name)
    axes.set(xlabel="reject rate", ylabel="substitution rate", xlim=(0, 0.2), ylim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=100)


def _draw_calibration(scored: Sequence[Scored], file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.5), layout="tight")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    for one in scored:
        written = one.data.labels < OTHER
        digits, confidence = best_digits(one.probabilities[written])
        right = digits == one.data.labels[written]
        place = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
        filled = [b for b in range(ECE_BINS) if (place == b).sum() >= 5]
        x = [float(confidence[place == b].mean()) for b in filled]
        y = [float(right[place == b].mean()) for b in filled]
        axes.plot(x, y, "o-", markersize=3, label=one.data.name)
    axes.set(xlabel="confidence", ylabel="share right")
    axes.legend()
    figure.savefig(file, dpi=100)


def _draw_mistakes(one: Scored, file: Path, *, most: int = 40) -> None:
    from matplotlib.figure import Figure

    winners = one.probabilities.argmax(axis=1)
    wrong = np.flatnonzero(winners != one.data.labels)[:most]
    figure = Figure(figsize=(8, 5), layout="tight")
    grid = figure.subplots(5, 8)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, wrong, strict=False):
        axes.imshow(255 - one.data.glyphs[index], cmap="gray", vmin=0, vmax=255)
        read = "other" if winners[index] == OTHER else winners[index]
        axes.set_title(f"{one.data.labels[index]} read {read}", fontsize=7)
    figure.savefig(file, dpi=100)


def _as_read(glyphs: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.stack([normalize(ink_intensity(glyph)) for glyph in glyphs])


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return float(part.sum()) / max(1, int(whole.sum()))


def _classifier(path: Path) -> tuple[str, Classify, list[str]]:
    """Load a model folder for LiteRT, or a Keras file, whose classes follow from its width."""
    if path.suffix == ".keras":
        return _keras_classifier(path)
    model = load_model(path.parent if path.name == NETWORK else path)
    return model.card.name, model.classify, list(model.card.classes)


def _keras_classifier(path: Path) -> tuple[str, Classify, list[str]]:
    try:
        import keras
    except ImportError as error:
        raise MissingExtraError(
            "a Keras file needs Keras: pip install 'digitocr[train]'"
        ) from error
    try:
        network: Any = keras.models.load_model(path)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not a Keras file that can be read: {error}") from error
    columns = int(network.output_shape[-1])
    if tuple(network.input_shape[1:3]) != (28, 28) or columns not in (OTHER, OTHER + 1):
        raise ModelError(f"{path}: must read 28x28 and give 10 or 11 classes")
    call: Callable[..., Any] = network.predict

    def classify(glyphs: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = np.asarray(call(glyphs[..., None], batch_size=512, verbose=0), np.float32)
        if rows.min() >= 0 and np.allclose(rows.sum(axis=1), 1, atol=1e-3):
            return rows
        return softmax(rows)

    return path.stem, classify, [*map(str, range(OTHER)), "other"][:columns]


def _fill_card(folder: Path, result: dict[str, Any]) -> None:
    """Write the figures that describe the model into its card."""
    file = folder / CARD
    card = json.loads(file.read_text(encoding="utf-8"))
    wanted = (
        "count", "digits", "accuracy", "accuracy_interval", "best_digit_accuracy", "f1", "ece",
        "log_loss", "accepted", "substitution_rate", "non_digits", "refused", "other_wins",
    )  # fmt: skip
    card["metrics"] = {
        name: {key: _rounded(found[key]) for key in wanted if key in found}
        for name, found in result["sets"].items()
    }
    file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 5) if isinstance(value, float) else value
