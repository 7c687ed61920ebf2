"""Several models side by side on the same characters: what each gets right, and its price."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.errors import UsageError
from digitocr.recognition.classifier import Model, from_bytes, load_model
from digitocr.recognition.folders import CARD, NETWORK
from digitocr.settings import Settings
from digitocr.training import evaluate, importing, keras_files, plots
from digitocr.training.conventions import OURS
from digitocr.training.pictures import Watch, unwatched
from digitocr.training.scores import Scored, figures
from digitocr.types import Classify

TIMED_GLYPHS, TIMED_RUNS = 2048, 5
SHOWN = (
    "count", "digits", "accuracy", "accuracy_interval", "log_loss", "ece", "f1", "accepted",
    "substitution_rate", "non_digits", "refused", "refused_interval", "other_wins",
)  # fmt: skip

DIGIT_HEADS, WRONG = ("model", "right (95 %)", "loss", "ECE"), "of these wrong"
OTHER_HEADS = ("model", "refused (95 %)", "judged no digit")


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A loaded model. `by_litert` is what would read: of a Keras file, what import makes."""

    name: str
    path: Path
    input: str
    classes: int
    parameters: int
    size_bytes: int
    classify: Classify
    by_litert: Classify


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under their columns, ready to be printed."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def compare(
    models: Sequence[Path],
    data: Sequence[str],
    settings: Settings,
    out: Path | None = None,
    *,
    watch: Watch = unwatched,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Measure models on the same data sets.

    Parameters
    ----------
    models
        Model folders and Keras files.
    data
        Names of data sets, of which the part held out is measured, or `.npz` files; none
        means `mnist`.
    out
        Folder for `compare.md`, `compare.png` and `compare.json`.
    watch
        Shows how far the work is.
    clock
        By which the glyphs a second are counted.

    Returns
    -------
    A dictionary that is JSON as it stands: `accept_digit`; `models`, what each is and costs
    by name; and `sets`, the figures by data set and model.

    Raises
    ------
    ModelError, DataError
        If a model or the data cannot be read.
    UsageError
        If no model is named, or the folder cannot be written.
    """
    if not models:
        raise UsageError("there is no model to compare; name folders or files with --models")
    opened = [_opened(path) for path in models]  # before any data is loaded, or fetched
    if out is not None:
        _make_folder(out)
    parts = evaluate.held_out(data or ("mnist",), settings.data, whole_files=True)
    with watch(
        "Comparing", len(parts) + len(models) * (1 + len(parts)), unit="step"
    ) as advance:
        glyphs = []
        for part in parts:
            glyphs.append(evaluate.as_read(part.glyphs))
            advance(f"{part.name} normalized")
        contenders = []
        for path, model in zip(models, opened, strict=True):
            if model is None:
                contenders.append(_of_keras_file(path, settings, np.concatenate(glyphs)))
            else:
                contenders.append(_of_folder(path, model))
            advance(f"{path} loaded")
        names = _different_names(contenders)
        sets: dict[str, dict[str, Any]] = {part.name: {} for part in parts}
        for part, normalized in zip(parts, glyphs, strict=True):
            for name, one in zip(names, contenders, strict=True):
                scored = Scored(part, one.classify(normalized))
                found = figures(scored, accept=settings.accept_digit)
                sets[part.name][name] = {key: found[key] for key in SHOWN if key in found}
                advance(f"{name} on {part.name}")
    speeds = glyphs_per_s([one.by_litert for one in contenders], glyphs[0], clock=clock)
    result = {
        "accept_digit": settings.accept_digit,
        "models": {
            name: {
                "path": str(one.path),
                "input": one.input,
                "classes": one.classes,
                "parameters": one.parameters,
                "size_bytes": one.size_bytes,
                "glyphs_per_s": round(speed),
            }
            for name, one, speed in zip(names, contenders, speeds, strict=True)
        },
        "sets": sets,
    }
    if out is not None:
        _write(result, out)
    return result


def glyphs_per_s(
    classifiers: Sequence[Classify],
    glyphs: NDArray[np.float32],
    *,
    count: int = TIMED_GLYPHS,
    runs: int = TIMED_RUNS,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Count the glyphs each classifier does in a second: the best of a few runs, by turns.

    By turns, so that something else on the machine slows all of them; the best, because
    nothing makes a run faster than it is.
    """
    work = np.resize(glyphs, (count, *glyphs.shape[1:]))
    least = [float("inf")] * len(classifiers)
    for _ in range(runs):
        for index, classify in enumerate(classifiers):
            began = clock()
            classify(work)
            least[index] = min(least[index], clock() - began)
    return [count / max(seconds, 1e-9) for seconds in least]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Put a comparison into tables: one of the models, and one a data set."""
    models = tuple(
        (
            name,
            f"{one['parameters']:,}",
            f"{one['size_bytes'] / 1000:.0f}",
            f"{one['glyphs_per_s']:,}",
            str(one["classes"]),
            one["input"],
        )
        for name, one in result["models"].items()
    )
    heads = ("model", "parameters", "kB", "glyphs/s", "classes", "input")
    found = [Table("models (speed: here, one thread)", heads, models)]
    accept = f"accepted at {result['accept_digit']:g}"
    for name, scores in result["sets"].items():
        digits = tuple(
            _digit_row(model, one) for model, one in scores.items() if "digits" in one
        )
        if digits:
            count = next(iter(scores.values()))["digits"]
            found.append(
                Table(f"{name}: {count} digits", (*DIGIT_HEADS, accept, WRONG), digits)
            )
        others = tuple(
            _other_row(model, one) for model, one in scores.items() if "non_digits" in one
        )
        if others:
            count = next(iter(scores.values()))["non_digits"]
            found.append(Table(f"{name}: {count} that are no digits", OTHER_HEADS, others))
    return found


def _digit_row(model: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = one["accuracy_interval"]
    return (
        model,
        f"{one['accuracy']:.2%} ({low:.2%} to {high:.2%})",
        f"{one['log_loss']:.4f}",
        f"{one['ece']:.2%}",
        f"{one['accepted']:.1%}",
        f"{one['substitution_rate']:.2%}",
    )


def _other_row(model: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = one["refused_interval"]
    refused = f"{one['refused']:.1%} ({low:.1%} to {high:.1%})"
    return model, refused, f"{one['other_wins']:.1%}"


def _opened(path: Path) -> Model | None:
    """Load the model in a folder; of a Keras file, see that it is one, and give None."""
    if keras_files.is_keras_file(path):
        keras_files.refuse_code(path)
        return None
    return load_model(path.parent if path.is_file() else path)


def _of_keras_file(path: Path, settings: Settings, glyphs: NDArray[np.float32]) -> Contender:
    file = keras_files.load(path, settings)
    weights = importing.converted(file, glyphs[:TIMED_GLYPHS])
    return Contender(
        path.stem,
        path,
        file.input,
        len(file.classes),
        file.parameters,
        len(weights),
        file.classify,
        from_bytes(weights),
    )


def _of_folder(path: Path, model: Model) -> Contender:
    entries = json.loads((model.path / CARD).read_text(encoding="utf-8"))
    return Contender(
        model.card.name,
        path,
        str(OURS),
        len(model.card.classes),
        int(entries.get("parameters", 0)),
        (model.path / NETWORK).stat().st_size,
        model.classify,
        model.classify,
    )


def _different_names(contenders: Sequence[Contender]) -> list[str]:
    """Name the models; those of one name by their paths."""
    names = [one.name for one in contenders]
    return [
        one.name if names.count(one.name) == 1 else f"{one.name} ({one.path})"
        for one in contenders
    ]


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{out}: {error.strerror or error}; name a folder with --out"
        ) from error


def _write(result: dict[str, Any], out: Path) -> None:
    (out / "compare.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    panels = {
        name: {
            model: one | {"glyphs_per_s": result["models"][model]["glyphs_per_s"]}
            for model, one in found.items()
        }
        for name, found in result["sets"].items()
        if all("digits" in one for one in found.values())
    }
    lines = ["# Models compared", "", "Written by `digitocr compare`. Intervals are Wilson's."]
    if panels:
        plots.draw_comparison(panels, out / "compare.png")
        lines += ["", "![Accuracy against speed](compare.png)"]
    for table in tables(result):
        lines += ["", f"## {table.title}", ""]
        lines += [_line(table.columns), _line(["---"] * len(table.columns))]
        lines += [_line(row) for row in table.rows]
    (out / "compare.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
