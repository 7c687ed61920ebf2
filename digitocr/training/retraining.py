"""Corrections → a candidate model and its report: from top to bottom, as `train` is.

The network of the model in use goes on learning: of every ten pictures three are made of
verified digits, seven of what it was trained on, where it is taught by its own answers, so
that it forgets nothing. Documents that are held out are never learned from. What came of it is
measured beside the model in use, and judged (`gate`); reading changes only when a person
promotes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from digitocr.db.corrections import VerifiedGlyph
from digitocr.errors import DataError, ModelError, UsageError
from digitocr.recognition.classifier import DIGITS, Model, load_model
from digitocr.recognition.folders import CARD
from digitocr.settings import Settings
from digitocr.training import (
    corrections,
    dataset,
    evaluate,
    keras_files,
    networks,
    pictures,
    plots,
    train,
)
from digitocr.training.corrections import Lessons
from digitocr.training.dataset import GlyphSet
from digitocr.training.export import KERAS_FILE
from digitocr.training.gate import Gate, judge
from digitocr.training.pictures import Kind, Sheaf, Watch, unwatched
from digitocr.training.scores import REJECT_RATES, Scored, figures

LEAST_LEARNED, LEAST_GOLD = 200, 100  # glyphs; fewer show nothing either way
GOLD_SHARE = 0.2  # of the documents
EPOCHS = 6
VERIFIED_SHARE = 0.3  # of the pictures
PICTURES = 19_200  # an epoch
TOP_RATE, DECAY = 1.5e-3, 1e-3
KEPT_SHARE = 0.25  # of the old weights in the new ones
TIMES_USED = 2  # of each picture
SUSPICIOUS = "suspicious.csv"
# What `models/digitocr-130k` was trained on; MNIST alone needs no folder of data sets.
KNOWN_BEFORE = (
    "mnist", "unipen", "usps", "optdigits", "semeion", "printed", "drawn", "letters",
    "omniglot", "frames",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Retrained:
    """What came of a retraining; `figures` holds what both models score, by data set."""

    folder: Path
    gate: Gate
    figures: dict[str, tuple[dict[str, Any], dict[str, Any]]]
    learned: int
    held_out: int
    suspicious: int
    missing: tuple[str, ...]


def retrain(
    verified: Sequence[VerifiedGlyph],
    in_use: Path,
    out: Path,
    settings: Settings,
    *,
    origin: str = "the corrections",
    gold: float = GOLD_SHARE,
    epochs: int = EPOCHS,
    seed: int = 1,
    watch: Watch = unwatched,
    pictures_an_epoch: int = PICTURES,
    batch: int = 128,
) -> Retrained:
    """Let the model in use learn from corrections, and judge what came of it.

    Parameters
    ----------
    verified
        The corrections.
    in_use
        Folder of the model to go on with, and to compare with.
    out
        The model folder to write.
    origin
        Where the corrections are from, for messages.
    gold
        Share of the documents that is held out for good.
    epochs
        Rounds over the pictures.
    seed
        The same seed gives the same weights on one machine.

    Raises
    ------
    DataError
        If there are too few corrections, or MNIST cannot be had.
    ModelError
        If the model cannot go on learning, or learned from documents that are now to be held
        out.
    UsageError
        If `out` is the folder of the model in use, or cannot be written.
    """
    began = time.monotonic()
    model, card = _open(in_use, out, gold=gold)
    lessons = corrections.prepare(
        verified, model.classify, gold=gold, sure=settings.accept_digit
    )
    refuse_few(lessons, origin)
    known, missing = known_before(card, settings)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()

    network = network_of(in_use, card)
    share = round(VERIFIED_SHARE * pictures_an_epoch)
    sizes = (pictures_an_epoch - share, share)
    sources = ([one.part("train") for one in known], [lessons.data.part("train")])
    plan = [pictures.LIGHT] * -(-epochs // TIMES_USED)
    old, new = (
        pictures.draw_sheaves(
            Kind.SCANNED,
            sets,
            epochs=epochs,
            seed=seed + 1000 * at,
            size=size,
            plan=plan,
            watch=watch,
        )
        for at, (sets, size) in enumerate(zip(sources, sizes, strict=True))
    )
    sheaves, targets = _mixed(old, new, model)
    glyphs, labels = _validation(known, lessons, seed=seed)
    order = [epoch % len(plan) for epoch in range(epochs)]
    batches = train.Batches(sheaves, targets, order, seed=seed, size=batch)
    history = _fit(network, batches, glyphs, labels, epochs=epochs, watch=watch)
    train.expect_fewer_others(network)

    trained = {
        "went_on_from": f"{model.card.name} ({model.card.fingerprint[:12]})",
        "seed": seed,
        "epochs": epochs,
        "pictures": int(sum(len(sheaf.labels) for sheaf in sheaves)),
        "verified_share": VERIFIED_SHARE,
        "corrections": lessons.count("train"),
        "documents": lessons.documents("train"),
        "gold_share": gold,
        "gold_digits": lessons.count("heldout"),
        "suspicious": lessons.count("suspicious"),
        "not_there": list(missing),
        "seconds": round(time.monotonic() - began),
    }
    _make_folder(out)
    sets = (*known, lessons.data)
    train.save(network, out, sets=sets, glyphs=glyphs, labels=labels, trained=trained)
    plots.draw_history(history, epochs, out / "history.png")
    candidate = load_model(out)
    pairs = _both(model, candidate, lessons, settings, watch=watch)
    verdict = judge(
        pairs,
        labels=len(lessons.verified),
        suspicious=lessons.count("suspicious"),
        accept=settings.accept_digit,
    )
    names = tuple(one.name for one in known)
    _write(out, candidate, verdict, pairs, lessons, names, settings, watch=watch)
    return Retrained(
        folder=out,
        gate=verdict,
        figures={
            a.data.name: (
                figures(a, accept=settings.accept_digit),
                figures(b, accept=settings.accept_digit),
            )
            for a, b in pairs
        },
        learned=lessons.count("train"),
        held_out=lessons.count("heldout"),
        suspicious=lessons.count("suspicious"),
        missing=missing,
    )


def refuse_few(lessons: Lessons, origin: str) -> None:
    """Refuse to learn from what is too little to learn, or to measure by.

    Raises
    ------
    DataError
        Saying how many corrections there are and how many are needed.
    """
    learned, held_out = lessons.count("train"), lessons.count("heldout")
    if learned >= LEAST_LEARNED and held_out >= LEAST_GOLD:
        return
    documents = len({one.document for one in lessons.verified})
    aside = lessons.count("suspicious")
    said = f"; {aside} more want a second look" if aside else ""
    raise DataError(
        f"{origin}: {learned} verified digits to learn from and {held_out} in held-out "
        f"documents, of {documents} documents in all{said}; retraining needs at least "
        f"{LEAST_LEARNED} and {LEAST_GOLD}: review more, or hold out another share with --gold"
    )


def known_before(
    card: dict[str, Any], settings: Settings
) -> tuple[tuple[GlyphSet, ...], tuple[str, ...]]:
    """Load what a model was trained on, as far as it is here; name what is not.

    Raises
    ------
    DataError
        If MNIST cannot be had: what a candidate forgets could not be measured.
    """
    found, missing = [], []
    for name in KNOWN_BEFORE:
        try:
            one = dataset.load(name, settings.data)
        except DataError:
            if name == "mnist":
                raise
            missing.append(name)
            continue
        if name == "mnist" or one.source in card["trained_on"]:
            found.append(one)
    return dataset.without_form_digits(found), tuple(missing)


def _open(in_use: Path, out: Path, *, gold: float) -> tuple[Model, dict[str, Any]]:
    """Load the model in use and its card; refuse what cannot go on learning."""
    if out.resolve() == in_use.resolve():
        raise UsageError(f"--out {out}: is the model in use; name another folder")
    model = load_model(in_use)
    card: dict[str, Any] = json.loads((in_use / CARD).read_text(encoding="utf-8"))
    if len(model.card.classes) <= len(DIGITS):
        raise ModelError(
            f"{in_use}: has no class for what is no digit, and cannot go on learning here; "
            "name another with --model"
        )
    before = card.get("training", {}).get("gold_share", 1.0)
    if before < gold:
        raise ModelError(
            f"{in_use}: held out {before:g} of the documents and learned from the others; with "
            f"--gold {gold:g} it would be measured on what it knows: take --gold {before:g}"
        )
    return model, card


def network_of(in_use: Path, card: dict[str, Any]) -> Any:
    """Rebuild the network of a folder, its bias of `other` as it was in training."""
    name = str(card.get("architecture", ""))
    if name not in networks.ARCHITECTURES:
        raise ModelError(
            f"{in_use}: architecture '{name}' is none that digitocr builds, so it cannot go on "
            "learning; name another with --model"
        )
    network = networks.find(name).build()
    file = in_use / KERAS_FILE
    keras_files.refuse_code(file)
    try:
        network.load_weights(file)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{file}: does not hold the weights of {name}; train the model again"
        ) from error
    train.expect_fewer_others(network, back=True)
    return network


def _mixed(
    old: Sequence[Sheaf], new: Sequence[Sheaf], model: Model
) -> tuple[list[Sheaf], list[NDArray[np.float16]]]:
    """Put the pictures of both together; the old ones are to be answered as the model does.

    Its answers alone, and not the labels as well: so it is to stay what it was, and not to
    become another network that is as good.
    """
    sheaves, targets = [], []
    classes = len(model.card.classes)
    for before, verified in zip(old, new, strict=True):
        sheaves.append(
            Sheaf(
                np.concatenate([before.images, verified.images]),
                np.concatenate([before.labels, verified.labels]),
            )
        )
        taught = train.answers(before, classes, [model.classify], taught_share=1.0)
        targets.append(np.concatenate([taught, train.answers(verified, classes, [])]))
    return sheaves, targets


def _validation(
    known: Sequence[GlyphSet], lessons: Lessons, *, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gather what the temperature is fitted on: writers and documents set apart for it."""
    images, labels = train.validation(known, len(DIGITS) + 1, seed=seed)
    ours = lessons.data.part("validation")
    return (
        np.concatenate([images, lessons.images_of("validation")]),
        np.concatenate([labels, ours.labels]),
    )


def _fit(
    network: Any,
    batches: train.Batches,
    glyphs: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    epochs: int,
    watch: Watch,
) -> dict[str, list[float]]:
    """Train on, and give the network the averaged weights of the end, and a share of its old.

    References
    ----------
    Wortsman et al., arXiv:2109.01903: between the old weights and the new ones lie some that
    forget less than the new ones do, and learned nearly as much.
    """
    old = network.get_weights()
    with watch("Learning", epochs, unit="epoch") as advance:
        history = train.fit(
            network,
            batches,
            glyphs,
            labels,
            epochs=epochs,
            top_rate=TOP_RATE,
            decay=DECAY,
            after=train.show_accuracy(advance, "validation"),
        )
    new = network.get_weights()
    network.set_weights(
        [KEPT_SHARE * a + (1 - KEPT_SHARE) * b for a, b in zip(old, new, strict=True)]
    )
    return history


def _both(
    in_use: Model, candidate: Model, lessons: Lessons, settings: Settings, *, watch: Watch
) -> list[tuple[Scored, Scored]]:
    """Have both models answer the gold set, MNIST's test digits and drawn non-digits."""
    gold = replace(lessons.data.part("heldout"), name="gold")
    parts = [(gold, lessons.images_of("heldout"))]
    for name in ("mnist", "drawn-junk"):
        part = dataset.load(name, settings.data).part("test")
        parts.append((part, evaluate.as_read(part.glyphs)))
    found = []
    with watch("Comparing", len(parts), unit="set") as advance:
        for part, images in parts:
            rows = [one.classify(images) for one in (in_use, candidate)]
            found.append((Scored(part, rows[0]), Scored(part, rows[1])))
            advance(part.name)
    return found


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{out}: {error.strerror or error}; name a folder with --out"
        ) from error


def _write(
    out: Path,
    candidate: Model,
    verdict: Gate,
    pairs: Sequence[tuple[Scored, Scored]],
    lessons: Lessons,
    known: Sequence[str],
    settings: Settings,
    *,
    watch: Watch,
) -> None:
    """Write what was measured: plots, report and card, and what wants a second look."""
    corrections.write_suspicious(lessons.suspicious(), out / SUSPICIOUS)
    plots.draw_error_reject(
        [
            Scored(replace(one.data, name=f"gold, {name}"), one.probabilities).digits()
            for one, name in zip(pairs[0], ("in use", "candidate"), strict=True)
        ],
        out / "gold_reject.png",
    )
    names = (*known, *train.measurable(known, settings))
    evaluate.evaluate(out, names, settings, out, whole_files=False, watch=watch)
    file = out / CARD
    card = json.loads(file.read_text(encoding="utf-8"))
    card["gate"] = verdict.entries(candidate.card.fingerprint)
    file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    report = out / evaluate.REPORT
    lines = report_lines(verdict, pairs, lessons, card, settings)
    title, rest = report.read_text(encoding="utf-8").split("\n", 1)
    report.write_text(
        "\n".join([title, "", *lines, "", "## The candidate alone", "", rest.lstrip("\n")]),
        encoding="utf-8",
    )


def report_lines(
    verdict: Gate,
    pairs: Sequence[tuple[Scored, Scored]],
    lessons: Lessons,
    card: dict[str, Any],
    settings: Settings,
) -> list[str]:
    """Write the part of the report that compares: the verdict first, then what it rests on."""
    may = "**It may be promoted**" if verdict.passed else "**It must not be promoted**"
    lines = [
        "Written by `digitocr retrain`. "
        + may
        + (": nowhere worse than the model in use." if verdict.passed else "."),
        *(f"\n- {line}" for line in verdict.failures),
        "",
        f"{lessons.count('train')} verified digits of {lessons.documents('train')} documents "
        f"were learned from. {lessons.count('heldout')} of {lessons.documents('heldout')} "
        "other documents are held out for good (gold); the temperature was fitted on "
        f"{lessons.count('validation')} more. {lessons.count('suspicious')} labels, which the "
        "model in use surely contradicts and only one person gave, are set aside in "
        f"`{SUSPICIOUS}`.",
    ]
    missing = card["training"]["not_there"]
    if missing:
        lines += ["", f"Not here, so not learned from again: {', '.join(missing)}."]
    lines += [
        "",
        "| failures | of | in use | candidate | only it | only the one in use | by luck |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {one.name} | {one.count} | {one.in_use} | {one.candidate} | {one.worse} | "
            f"{one.better} | {one.chance:.3f}{'' if one.passed else ' (fails)'} |"
            for one in verdict.trials
        ),
        "",
        "| digits, wrong of those kept | model | "
        + " | ".join(f"{rate:.1%} rejected" for rate in REJECT_RATES)
        + " |",
        "| --- | --- |" + " --- |" * len(REJECT_RATES),
    ]
    for pair in pairs:
        if not (pair[0].data.labels < dataset.OTHER).any():
            continue
        for one, name in zip(pair, ("in use", "candidate"), strict=True):
            points = figures(one, accept=settings.accept_digit)["error_reject"]
            cells = [
                f"{p['substitution_rate']:.2%} ({p['wrong']} of {p['kept']})" for p in points
            ]
            lines.append(f"| {one.data.name} | {name} | " + " | ".join(cells) + " |")
    return lines
