"""Score a model on what it was not trained on; write its report and fill its card.

Every picture takes the way `digitocr classify` sends it: polarity, ink, normalization, and
LiteRT if the model is a folder.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.errors import DataError, UsageError
from digitocr.imaging.normalization import ink_intensity, normalize_all
from digitocr.recognition.classifier import load_model
from digitocr.recognition.folders import CARD
from digitocr.settings import Settings
from digitocr.training import dataset, keras_files, plots
from digitocr.training.conventions import OURS
from digitocr.training.dataset import OTHER, GlyphSet
from digitocr.training.pictures import Watch, unwatched
from digitocr.training.plots import CAPTIONS, PICTURED
from digitocr.training.scores import REJECT_RATES, Scored, figures, refused_beside
from digitocr.types import Classify

log = logging.getLogger(__name__)

REPORT = "report.md"
CHUNK = 1000
LONG = 20 * CHUNK  # so many glyphs take long enough to show how far the work is


def evaluate(
    model: Path,
    data: Sequence[str],
    settings: Settings,
    report: Path | None = None,
    *,
    whole_files: bool = True,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Measure a model on data sets.

    Parameters
    ----------
    model
        A model folder, its `model.tflite`, or a Keras file, also from elsewhere.
    data
        Names of data sets, of which the part held out is measured, or `.npz` files; none
        means `mnist`.
    report
        Folder for `report.md` and its plots. If it is the model folder, the card's metrics
        are filled in too.
    whole_files
        Measure all of a file, and not only the writers held out from training on it.
    watch
        Shows how far the work is, if there is much of it.

    Returns
    -------
    A dictionary that is JSON as it stands: `model`, `classes`, `input` (how the network wants
    its pictures), `accept_digit`, `training` where the card tells of it, and `sets` with the
    figures of each data set by name.

    Raises
    ------
    ModelError, DataError
        If the model or the data cannot be read.
    UsageError
        If the report cannot be written.
    """
    model = Path(model)
    told, classify = _reader(model, settings)
    parts = held_out(data or ("mnist",), settings.data, whole_files=whole_files)
    scored = score(classify, parts, watch=watch)
    result: dict[str, Any] = told | {
        "accept_digit": settings.accept_digit,
        "sets": {one.data.name: figures(one, accept=settings.accept_digit) for one in scored},
    }
    digits = next((one for one in scored if one.data.name == PICTURED), None)
    for one in scored:
        if digits is not None and (one.data.labels == OTHER).any():
            found = result["sets"][one.data.name]
            found["refused_beside_mnist"] = refused_beside(digits, one)
    if report is not None:
        try:
            report.mkdir(parents=True, exist_ok=True)
            plots.draw_plots(scored, report)
            (report / REPORT).write_text(report_text(result, report), encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{report}: {error.strerror or error}; name a folder that can be written to"
            ) from error
        if (report / CARD).is_file() and report.resolve() == model.resolve():
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
    if not any(len(one) for one in parts):
        raise DataError(f"{', '.join(names)}: nothing is held out to measure on; add mnist")
    return parts


def score(
    classify: Classify, parts: Sequence[GlyphSet], *, watch: Watch = unwatched
) -> list[Scored]:
    """Give every character of the data sets its probabilities."""
    starts = [range(0, max(1, len(part)), CHUNK) for part in parts]
    shown = watch if sum(map(len, parts)) >= LONG else unwatched
    scored = []
    with shown("Measuring", sum(map(len, starts)), unit="thousand glyph") as advance:
        for part, places in zip(parts, starts, strict=True):
            rows = []
            for start in places:
                rows.append(classify(as_read(part.glyphs[start : start + CHUNK])))
                advance(part.name)
            scored.append(Scored(part, np.concatenate(rows)))
    return scored


def as_read(glyphs: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bring pictures to what the classifier sees of them: (N, 28, 28)."""
    return normalize_all([ink_intensity(glyph) for glyph in glyphs])


def _reader(path: Path, settings: Settings) -> tuple[dict[str, Any], Classify]:
    """Load a model, and tell its name, classes, input and training."""
    if keras_files.is_keras_file(path):
        file = keras_files.load(path, settings)
        told = {"model": path.stem, "classes": list(file.classes), "input": file.input}
        return told, file.classify
    model = load_model(path.parent if path.is_file() else path)
    told = {
        "model": model.card.name,
        "classes": list(model.card.classes),
        "input": str(OURS),
    }
    training = json.loads((model.path / CARD).read_text(encoding="utf-8")).get("training")
    return told | ({"training": training} if training else {}), model.classify


def report_text(result: dict[str, Any], folder: Path) -> str:
    """Write the report: rates in pairs, with numbers and intervals, and the plots there are."""
    accept = result["accept_digit"]
    lines = [
        f"# {result['model']}",
        "",
        "Written by `digitocr.training.evaluate`; every figure is measured on characters that",
        "were not trained on. Intervals are Wilson's, 95 %. The network takes pictures as "
        f"{result['input']}.",
        *_training_lines(result.get("training")),
        "",
        "| digits | count | right | 95 % | loss | ECE | accepted at "
        f"{accept:g} | wrong of these | macro F1 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    sets = result["sets"]
    for name, found in sets.items():
        if "digits" in found:
            low, high = found["accuracy_interval"]
            lines.append(
                f"| {name} | {found['digits']} | {found['accuracy']:.2%} | "
                f"{low:.2%} to {high:.2%} | {found['log_loss']:.4f} | {found['ece']:.2%} | "
                f"{found['accepted']:.1%} | {found['substitution_rate']:.2%} | "
                f"{found['f1']:.4f} |"
            )
    if any("non_digits" in found for found in sets.values()):
        lines += [
            "",
            f"| not digits | count | refused at {accept:g} | 95 % | judged no digit | "
            "refused where 0.5 % of MNIST is |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
    for name, found in sets.items():
        if "non_digits" in found:
            low, high = found["refused_interval"]
            lines.append(
                f"| {name} | {found['non_digits']} | {found['refused']:.1%} | "
                f"{low:.1%} to {high:.1%} | {found['other_wins']:.1%} | "
                f"{_percent(found.get('refused_beside_mnist'))} |"
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
    lines += _writer_lines(sets)
    if "classes" in sets.get(PICTURED, {}):
        lines += _class_table(sets[PICTURED])
    return "\n".join([*lines, *_plot_lines(folder)]) + "\n"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _training_lines(training: dict[str, Any] | None) -> list[str]:
    """Write what the card tells of the training as a sentence."""
    if not training:
        return []
    told = []
    for key, value in training.items():
        shown = ", ".join(map(str, value)) or "none" if isinstance(value, list) else value
        told.append(f"{key.replace('_', ' ')} {shown}")
    return ["", f"Training: {'; '.join(told)}."]


def _writer_lines(sets: dict[str, Any]) -> list[str]:
    hands = {name: found["by_writer"] for name, found in sets.items() if "by_writer" in found}
    if not hands:
        return []
    lines = ["", "## By writer", "", "| digits | writers | mean | worst | below 95 % |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for name, one in hands.items():
        lines.append(
            f"| {name} | {one['writers']} | {one['mean']:.2%} | {one['worst']:.1%} | "
            f"{one['below_95']} |"
        )
    return lines


def _class_table(found: dict[str, Any]) -> list[str]:
    lines = ["", "## MNIST by class", "", "| digit | precision | recall | F1 |"]
    lines.append("| --- | --- | --- | --- |")
    for digit, one in found["classes"].items():
        cells = " | ".join(f"{one[key]:.4f}" for key in ("precision", "recall", "f1"))
        lines.append(f"| {digit} | {cells} |")
    return lines


def _plot_lines(folder: Path) -> list[str]:
    """List the plots in the folder, known ones first and with what they show."""
    there = {file.stem: file.name for file in sorted(folder.glob("*.png"))}
    lines: list[str] = []
    for stem in [*(one for one in CAPTIONS if one in there), *sorted(there.keys() - CAPTIONS)]:
        shown = CAPTIONS.get(stem, stem)
        lines += ["", f"## {shown}", "", f"![{shown}]({there[stem]})"]
    return lines


def _fill_card(folder: Path, result: dict[str, Any]) -> None:
    """Write the figures that describe the model into its card."""
    file = folder / CARD
    card = json.loads(file.read_text(encoding="utf-8"))
    wanted = (
        "count", "digits", "accuracy", "accuracy_interval", "best_digit_accuracy", "f1", "ece",
        "log_loss", "accepted", "substitution_rate", "non_digits", "refused", "other_wins",
        "by_writer", "refused_beside_mnist",
    )  # fmt: skip
    card["metrics"] = {
        name: {key: _rounded(found[key]) for key in wanted if key in found}
        for name, found in result["sets"].items()
    }
    file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(value, 5) if isinstance(value, float) else value
