"""What both readers say of numbers whose truth is known: composed crops, filled pages.

The numbers are of the validation writers: neither network learned from their digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from digitocr import numbers, pipeline, resources, synth, templates
from digitocr.errors import RegistrationError
from digitocr.forms.fill import fill
from digitocr.forms.values import draw_values
from digitocr.imaging import registration
from digitocr.imaging.crops import find_crop_writing
from digitocr.imaging.normalization import normalize
from digitocr.imaging.segmentation import components
from digitocr.imaging.strips import find_small_line
from digitocr.pipeline import Reader
from digitocr.recognition import checks, combining
from digitocr.recognition.classifier import Model, are_digits, best_digits, load_model
from digitocr.recognition.combining import Combination, Evidence, Opinions
from digitocr.recognition.ctc import Frames
from digitocr.recognition.recognizer import load_recognizer
from digitocr.recognition.sequence import SequenceModel, load_sequence
from digitocr.settings import Settings
from digitocr.training import pictures
from digitocr.training.composition import numbers as composition
from digitocr.training.composition.hands import Hands
from digitocr.training.lines import NONE_SHARE
from digitocr.training.pictures import Watch, unwatched
from digitocr.types import Document, FieldKind, Gray, Page

_CHUNK = 100


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """A number, and what was said of it; `contours` is the classifier alone, of bare crops.

    `line` is the part of the picture in which the sequence network read, for a third opinion.
    """

    truth: str
    kind: str
    touching: bool
    opinions: Opinions
    evidence: Evidence
    line: Gray
    contours: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Readers:
    """The writers of the numbers, and the folders of the two models."""

    hands: Hands
    model: Path
    sequence: Path


def observe(
    readers: Readers, *, seed: int, count: int, watch: Watch = unwatched
) -> list[Observation]:
    """Compose crops of the validation writers and have both readers say what they hold."""
    jobs = [(seed, start, min(_CHUNK, count - start)) for start in range(0, count, _CHUNK)]
    seen: list[Observation] = []
    with watch("Reading composed crops", len(jobs), unit=f"{_CHUNK}-crop part") as advance:
        for chunk in pictures.draw_all(_observe_chunk, readers, jobs):
            seen += chunk
            advance("")
    return seen


def observe_pages(
    readers: Readers, *, seed: int, count: int, watch: Watch = unwatched
) -> list[Observation]:
    """Fill and scan pages of the sample forms and have both readers say what fields hold.

    Only of fields with printed cells.
    """
    jobs = [(seed, page) for page in range(count)]
    seen: list[Observation] = []
    with watch("Reading filled pages", len(jobs), unit="page") as advance:
        for fields in pictures.draw_all(_observe_page, readers, jobs):
            seen += fields
            advance("")
    return seen


def ask_third(
    seen: Sequence[Observation],
    combination: Combination,
    *,
    sure: float,
    denying: bool,
    watch: Watch = unwatched,
) -> list[Observation | None]:
    """Have the recognizer read what both readers together are not sure of.

    With `denying` also what they are sure of, if that holds a digit for either.

    Returns
    -------
    The same numbers, with the opinions of both together and of the recognizer in the places
    of lattice and sequence network; None where nobody asks.
    """
    found: list[Observation | None] = [None] * len(seen)
    both = [combining.judge(one.opinions, one.evidence, combination) for one in seen]
    asked = [
        place
        for place, (one, best) in enumerate(zip(seen, (said[0] for said in both), strict=True))
        if best.probability < sure
        or (denying and not combining.is_bare(one.opinions, best.text))
    ]
    jobs = [asked[at : at + _CHUNK] for at in range(0, len(asked), _CHUNK)]
    lines = [[seen[place].line for place in job] for job in jobs]
    with watch("Asking the recognizer", len(jobs), unit=f"{_CHUNK}-crop part") as advance:
        for job, frames in zip(jobs, pictures.draw_all(_recognize, None, lines), strict=True):
            for place, one in zip(job, frames, strict=True):
                before = seen[place]
                found[place] = replace(
                    before,
                    opinions=combining.opinions(both[place], (one,)),
                    evidence=combining.with_both(before.evidence, before.opinions),
                )
            advance("")
    return found


def _recognize(_: None, lines: list[Gray]) -> list[Frames]:
    cv2.setNumThreads(1)
    recognizer = load_recognizer()
    assert recognizer is not None
    return [recognizer.read(line) for line in lines]


_loaded: dict[tuple[Path, Path], tuple[Model, SequenceModel]] = {}


def _observe_chunk(readers: Readers, job: tuple[int, int, int]) -> list[Observation]:
    seed, start, count = job
    key = readers.model, readers.sequence
    if key not in _loaded:
        cv2.setNumThreads(1)
        _loaded[key] = load_model(readers.model), load_sequence(readers.sequence, third=False)
    rng = np.random.default_rng((seed, 7, start))
    return [_observe(readers.hands, *_loaded[key], rng) for _ in range(count)]


def _observe(
    writers: Hands, model: Model, sequence: SequenceModel, rng: np.random.Generator
) -> Observation:
    roughness = float(rng.uniform(0.2, 1.0))
    draw = composition.compose_none if rng.random() < NONE_SHARE else composition.compose
    made = partial(draw, roughness=roughness)(writers, rng)
    found = numbers.read_lattice(made.image, model, within=find_small_line(made.image))
    whole = numbers.read_whole([made.image], sequence)[0]
    return Observation(
        made.text,
        made.kind,
        made.touching,
        combining.opinions(found.decoded, whole.looks),
        numbers.evidence(made.image, found),
        numbers.line_of(made.image, whole.line).copy(),
        read_contours(made.image, model),
    )


@cache
def _page_reader(model: Path, sequence: Path) -> Reader:
    forms = templates.load_all(resources.folder("sample_forms"))
    reader = pipeline.prepare(forms, load_model(model), Settings())
    return replace(reader, sequence=load_sequence(sequence, third=False))  # not fitted yet


def _observe_page(readers: Readers, job: tuple[int, int]) -> list[Observation]:
    cv2.setNumThreads(1)
    reader = _page_reader(readers.model, readers.sequence)
    rng = np.random.default_rng((8, *job))
    form = reader.forms[int(rng.integers(len(reader.forms)))]
    values = draw_values(form, rng)
    read = [one for one in form.pages if not one.ignore]
    template = read[int(rng.integers(len(read)))]
    drawn = fill(form, values, rng, page=template.number)
    strength = float(rng.uniform(0.2, 1.0))
    page = Page(Document("", 1), 1, synth.scan_like(drawn, rng, strength=strength), None)
    try:
        registered = registration.register(
            page, reader.references, max_residual_mm=reader.max_residual_mm
        )
    except RegistrationError:
        return []  # a page that is refused gives no numbers
    seen = []
    for look in pipeline.look_at(registered, form, reader):
        field = look.field
        if field.kind is FieldKind.OPEN or look.whole is None:
            continue
        of = combining.opinions(
            look.decoded,
            look.whole.looks,
            min_length=field.min_length,
            max_length=field.max_length,
        )
        value = values.get(field.name, "")
        # Of a text in digits it is known what value it gives; nothing else is.
        truth = next((one for one in of.texts if checks.value_of(field, one) == value), "?")
        line = numbers.line_of(look.crop, look.whole.line).copy()
        seen.append(Observation(truth, field.kind, False, of, look.evidence, line))
    return seen


def read_contours(image: Gray, model: Model) -> tuple[str, float]:
    """Read a crop as tutorials do: each contour is a digit. Text, and its least probability."""
    crop = find_crop_writing(image)
    pieces = components(crop.field.ink, least_area=20, least_side=max(4, 3 * crop.speck))
    if not pieces:
        return "", 1.0
    glyphs = []
    for piece in pieces:
        box = piece.box
        inside = crop.field.intensity[box.top : box.bottom, box.left : box.right]
        glyphs.append(normalize(np.where(piece.ink, inside, 0).astype(np.uint8)))
    rows = model.classify(np.stack(glyphs))
    digits, sure = best_digits(rows)
    kept = are_digits(rows)
    text = "".join(str(digit) for digit, is_digit in zip(digits, kept, strict=True) if is_digit)
    return text, float(np.prod(sure[kept]))
