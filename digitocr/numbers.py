"""A bare crop of one handwritten number → its reading: no form, no printed positions.

Two readers look at it. One finds the ink, cuts it into glyphs in every way that may be right,
and classifies these; the other, where there is one, is a sequence network that sees the gray
crop. `recognition.combining` weighs what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from digitocr import resources
from digitocr.imaging.crops import CropWriting, find_crop_writing
from digitocr.imaging.segmentation import segment_open, with_crosses
from digitocr.imaging.strips import find_lines, find_small_line, is_tall, look_elsewhere
from digitocr.recognition import checks, combining
from digitocr.recognition.acceptance import Acceptance, least_digit, reasons_against
from digitocr.recognition.classifier import Model, classify_glyphs, load_model
from digitocr.recognition.combining import Evidence
from digitocr.recognition.ctc import (
    DIGITS,
    Looks,
    best_seen,
    digit_frames,
    seen_probabilities,
    text_probabilities,
)
from digitocr.recognition.decoding import (
    Decoded,
    Rows,
    decode,
    glyph_readings,
    least_digits,
    may_be_crosses,
)
from digitocr.recognition.sequence import SequenceModel, joint_card, load_sequence
from digitocr.settings import Settings
from digitocr.types import (
    Box,
    Field,
    FieldKind,
    FieldType,
    GlyphReading,
    Gray,
    Hypothesis,
    Lattice,
    Mark,
    Reading,
    Reason,
    VoidMark,
)


def load_readers(settings: Settings) -> tuple[Model, SequenceModel | None]:
    """Load the classifier and the sequence network that the settings name.

    With the network the recognizer of the third opinion, where it is installed and wanted.

    Raises
    ------
    ModelError
        If one cannot be loaded.
    """
    model = load_model(resources.model_folder(settings.model))
    folder = resources.sequence_folder(settings.sequence)
    third = settings.recognizer == "auto"
    return model, load_sequence(folder, third=third) if folder else None


MOST_TEXTS = 12  # of an open lattice, that the sequence network is asked about
MOST_LINES = 4  # of writing in a tall crop that are looked at
LATTICE_SURE = 0.5  # probability from which on it is asked whether it agrees, in cells
LINE_ROOM = 0.25  # of the height of a line: what the recognizer sees around it
LEAST_ELSEWHERE = 0.5  # probability of a number that is found there
HARDLY = 0.1  # probability of what a line says, below which it may be no writing at all
LEAST_LONGER = 0.2  # probability of a longer number, for which a line is doubted
LEAST_OF_HEIGHT = 0.3  # of a tall crop: a lower line is that of a small number in a cell
MOST_OF_CROP = 0.8  # of its area: a line that takes more is all of it
MOST_BLANK = 0.8  # probability that a line says no number: if all say so more surely, the first


@dataclass(frozen=True, slots=True, eq=False)
class LatticeReading:
    """What the lattice says of a crop: its ink, its glyphs with their rows, its texts."""

    crop: CropWriting
    lattice: Lattice
    rows: Rows
    decoded: tuple[Decoded, ...]


def read_number(
    image: Gray,
    model: Model,
    acceptance: Acceptance,
    *,
    sequence: SequenceModel | None = None,
    min_digits: int = 0,
    max_digits: int | None = None,
    type: FieldType = FieldType.INTEGER,
) -> Reading:
    """Read a bare crop that holds one handwritten number: no form, no printed positions.

    Parameters
    ----------
    image : (H, W) uint8
        Dark ink on light paper, of any size. Not changed.
    sequence
        The second reader; without it the lattice stands alone.
    min_digits, max_digits
        Fewer or more digits than these are a reason to look.
    """
    # Whether a cell holds another number, too, the sequence network says.
    within = None if sequence is None else find_small_line(image)
    found = read_lattice(
        image, model, min_digits=min_digits, max_digits=max_digits, type=type, within=within
    )
    decoded = found.decoded
    whole: WholeReading | None = None
    if sequence is not None:
        whole = read_whole([image], sequence)[0]
        decoded = weigh(
            image,
            decoded,
            whole,
            evidence(image, found),
            sequence,
            printed_cells=False,
            sure=acceptance.field,
            min_length=min_digits,
            max_length=max_digits,
        )
    best = decoded[0] if decoded else None
    if best is not None and whole is not None and best.text and not best.path:
        glyphs = glyphs_of_frames(image, whole, best.text)
    else:
        crop = found.crop
        glyphs = glyph_readings(
            image, found.lattice, found.rows, best, crop.in_crop, crop.in_crop
        )
    decimals = [
        _decimals(one, found.lattice) if type is FieldType.DECIMAL else 0 for one in decoded
    ]
    h, w = image.shape
    field = Field(
        name="number",
        page=1,
        box=Box(0, 0, w, h),
        kind=FieldKind.OPEN,
        type=type,
        min_length=min_digits,
        max_length=max_digits,
        void_marks=(VoidMark.X,),
        decimals=decimals[0] if decimals else 0,
    )
    confidence = best.probability if best else 0.0
    left_out = found.crop.doubtful or _may_be_no_number(best, glyphs, found.crop.lined, w)
    if whole is not None:
        # With two readers the confidence knows what was left out beside a number. That a
        # crop is blank it does not, nor which of two numbers is meant.
        unknown = best is None or not best.text or confidence < acceptance.field
        alone = not found.crop.second_line if whole.alone is None else whole.alone
        doubtful = is_doubtful_blank(best, found.decoded)
        hidden = doubtful or found.crop.blotted or found.crop.struck
        left_out = (left_out and unknown) or not alone or hidden
    reasons = reasons_against(
        field,
        best,
        confidence=confidence,
        least_digit=least_digit(best, [g.confidence for g in glyphs]),
        all_void=False,
        faint_ink=left_out,
        clipped=False,
        misplaced=False,
        acceptance=acceptance,
    )
    # 1,250 may be a thousand or one and a quarter; a text that was not cut shows no marks.
    unclear = field.decimals == 3 or (
        type is FieldType.DECIMAL and best is not None and bool(best.text) and not best.path
    )
    return Reading(
        hypotheses=tuple(
            Hypothesis(checks.value_of(replace(field, decimals=n), d.text), d.probability)
            for d, n in zip(decoded, decimals, strict=True)
        ),
        glyphs=glyphs,
        reasons=(*reasons, Reason.GAP) if unclear and Reason.GAP not in reasons else reasons,
        model=joint_card(model.card, sequence).name,
    )


def read_lattice(
    image: Gray,
    model: Model,
    *,
    min_digits: int = 0,
    max_digits: int | None = None,
    type: FieldType = FieldType.INTEGER,
    within: Box | None = None,
) -> LatticeReading:
    """Cut the ink of a crop into glyphs, classify them, and find the likeliest texts.

    `within` is the part that is looked at; where nothing is in it, all of the crop is.
    """
    crop = find_crop_writing(image, within)
    lattice = segment_open(crop.field, speck=crop.speck)
    if within is not None and not lattice.glyphs:
        crop = find_crop_writing(image)
        lattice = segment_open(crop.field, speck=crop.speck)
    rows = classify_glyphs([glyph.image for glyph in lattice.glyphs], model)
    lattice = with_crosses(lattice, may_be_crosses(rows))
    # Where something was left out, that nothing was kept does not make a blank.
    decoded: tuple[Decoded, ...] = (Decoded("", 0.5 if crop.doubtful else 1.0, ()),)
    if lattice.glyphs:
        marks = (Mark.X,) if type is FieldType.CODE else tuple(Mark)
        decoded = decode(
            lattice,
            rows,
            min_length=min_digits,
            max_length=max_digits,
            marks=marks,
            keep=MOST_TEXTS,
        )
    return LatticeReading(crop, lattice, rows, decoded)


def evidence(image: Gray, found: LatticeReading) -> Evidence:
    """Gather what is known of a crop beside its texts."""
    crop = found.crop
    best = found.decoded[0] if found.decoded else None
    glyphs = glyph_readings(image, found.lattice, found.rows, best, crop.in_crop)
    doubtful = crop.doubtful or _may_be_no_number(best, glyphs, crop.lined, image.shape[1])
    return Evidence(doubtful, crop.lined, least_digits(found.decoded, found.rows))


@dataclass(frozen=True, slots=True, eq=False)
class WholeReading:
    """What the sequence network says of a crop, and in which part of it.

    `alone`: nothing else in the crop may be of a number too; None where only one line was
    looked at.
    """

    line: Box
    looks: Looks
    alone: bool | None = None


def read_whole(
    images: Sequence[Gray], sequence: SequenceModel, *, printed: Sequence[bool] | None = None
) -> list[WholeReading]:
    """Ask the sequence network about crops; of several lines, what is most surely a number.

    What else is written in a tall cell, a word or some print, says no number.

    Parameters
    ----------
    printed
        Of each, whether cells are printed in it: what is pale there is print. None: of no one.
    """
    pale = [True] * len(images) if printed is None else [not one for one in printed]
    lines = [
        find_lines(image, most=MOST_LINES, pale=may_be)
        for image, may_be in zip(images, pale, strict=True)
    ]
    looks = iter(sequence.look([line.strip for of_crop in lines for line in of_crop]))
    found = []
    for of_crop in lines:
        said = [WholeReading(line.box, next(looks)) for line in of_crop]
        blank = [_blank(one.looks) for one in said] if len(said) > 1 else [0.0]
        best = int(np.argmin(blank)) if min(blank) < MOST_BLANK else 0
        line = said[best].line
        written = [one.line for i, one in enumerate(said) if blank[i] < MOST_BLANK]
        others = [one for one in written if _is_beside(one, line)]
        found.append(replace(said[best], alone=not others if len(said) > 1 else None))
    found = _look_elsewhere(images, found, sequence, pale)
    return _doubt_shorter(images, found, sequence)


def _look_elsewhere(
    images: Sequence[Gray],
    found: Sequence[WholeReading],
    sequence: SequenceModel,
    pale: Sequence[bool],
) -> list[WholeReading]:
    """Look elsewhere in the crops whose line says no number, or hardly any: it may be a rule.

    What hardly says any may be a number all the same: then what is found is not alone.
    """
    blank = {
        place: _is_blank(one.looks)
        for place, (image, one) in enumerate(zip(images, found, strict=True))
        if one.line.area < MOST_OF_CROP * image.size
        and (_is_blank(one.looks) or best_seen(one.looks)[0].probability < HARDLY)
    }
    lines = [
        look_elsewhere(images[place], found[place].line, pale=pale[place]) for place in blank
    ]
    looks = iter(sequence.look([line.strip for of_crop in lines for line in of_crop]))
    looked = list(found)
    for (place, nothing), of_crop in zip(blank.items(), lines, strict=True):
        for line in of_crop:
            said = WholeReading(line.box, next(looks), None if nothing else False)
            best = best_seen(said.looks)[0]
            if (
                best.text
                and best.probability >= LEAST_ELSEWHERE
                and looked[place] is found[place]
            ):
                looked[place] = said
    return looked


def _doubt_shorter(
    images: Sequence[Gray], found: Sequence[WholeReading], sequence: SequenceModel
) -> list[WholeReading]:
    """Doubt the line of a tall crop where all of the crop says a longer number.

    A digit at the side, a large one, a 1 like the side of a cell, may stand beside the line.
    """
    large = [
        place
        for place, (image, one) in enumerate(zip(images, found, strict=True))
        if is_tall(image)
        and LEAST_OF_HEIGHT * image.shape[0] <= one.line.height
        and one.line.area < MOST_OF_CROP * image.size
        and not _is_blank(one.looks)
    ]
    lines = [look_elsewhere(images[place], found[place].line)[-1] for place in large]
    doubted = list(found)
    for place, looks in zip(large, sequence.look([one.strip for one in lines]), strict=True):
        best = best_seen(looks)[0]
        shorter = len(best_seen(found[place].looks)[0].text) < len(best.text)
        if shorter and best.probability >= LEAST_LONGER:
            doubted[place] = replace(found[place], alone=False)
    return doubted


def _is_blank(looks: Looks) -> bool:
    """Say whether no digit is the likeliest in any frame of the first look."""
    return not (looks[0].argmax(axis=1) < len(DIGITS)).any()


def _blank(looks: Looks) -> float:
    """Say how probable it is that there is no number."""
    return float(seen_probabilities(looks, [""])[0])


def _is_beside(line: Box, other: Box) -> bool:
    """Say whether two lines are different ones, the room around them aside."""
    return line.common(other) < 0.5 * min(line.area, other.area)


def is_doubtful_blank(best: Decoded | None, by_lattice: Sequence[Decoded]) -> bool:
    """Say whether ink that the lattice reads as digits is to be no number.

    The sequence network may be right: a word, a scribble. But a blank is never looked at.
    """
    return best is not None and not best.text and bool(by_lattice) and bool(by_lattice[0].text)


def weigh(
    image: Gray,
    decoded: Sequence[Decoded],
    whole: WholeReading,
    evidence: Evidence,
    sequence: SequenceModel,
    *,
    printed_cells: bool,
    sure: float,
    min_length: int = 0,
    max_length: int | None = None,
) -> tuple[Decoded, ...]:
    """Weigh what both readers say of a number, and a third where both together are not sure.

    Where they are, and no cells are printed, the third may deny it; of what holds no digit for
    either it is not asked.

    Parameters
    ----------
    image : (H, W) uint8
        What the sequence network saw.
    decoded
        What the lattice says.
    printed_cells
        Whether the field has printed cells, which the lattice knows.
    sure
        The confidence from which on both together are sure.
    """
    weights = sequence.combinations
    two, three = weights.crops, weights.third_crops
    if printed_cells:
        two, three = weights.cells, weights.third_cells
    ask = partial(combining.opinions, min_length=min_length, max_length=max_length)
    of = ask(decoded, whole.looks)
    found = combining.combine(of, decoded, evidence, two)
    allowed = _as_cells_allow(found, decoded) if printed_cells else found
    if sequence.recognizer is None or three is None:
        return allowed
    is_sure = allowed[0].probability >= sure
    if is_sure and (printed_cells or combining.is_bare(of, found[0].text)):
        return allowed
    third = ask(found, (sequence.recognizer.read(line_of(image, whole.line)),))
    if is_sure:
        return combining.unless_denied(found, third)
    found = combining.combine(third, found, combining.with_both(evidence, of), three)
    if not printed_cells:
        return combining.unless_denied(found, third)
    # It sees what is printed in the cells, a guide like an 8: it may confirm, and no more.
    return _as_cells_allow(found, decoded) if found[0].text == allowed[0].text else allowed


def _as_cells_allow(
    found: tuple[Decoded, ...], decoded: Sequence[Decoded]
) -> tuple[Decoded, ...]:
    """Believe a text no more than the lattice leaves it, where that is sure of another.

    Where cells are printed the lattice knows the positions and is seldom wrong; forms to fit on
    hold too few mistakes to learn from how much it counts that it disagrees.
    """
    first = decoded[0] if decoded else None
    if first is None or first.text == found[0].text or first.probability < LATTICE_SURE:
        return found
    most = 1.0 - first.probability
    bounded = [
        one if one.text == first.text else replace(one, probability=min(one.probability, most))
        for one in found
    ]
    return tuple(sorted(bounded, key=lambda one: -one.probability))


def line_of(image: Gray, line: Box) -> Gray:
    """Cut out the line of writing as the recognizer wants it, with some room around."""
    room = round(LINE_ROOM * line.height)
    return image[
        max(0, line.top - room) : line.bottom + room,
        max(0, line.left - room) : line.right + room,
    ]


def glyphs_of_frames(
    image: Gray, whole: WholeReading, text: str, place: Callable[[Box], Box] = lambda box: box
) -> tuple[GlyphReading, ...]:
    """Show where the sequence network saw each digit: as far as halfway to its neighbors.

    `place` takes a box of the image to the frame it is stored in.
    """
    line = whole.line
    frames = max(whole.looks, key=lambda look: float(text_probabilities(look, [text])[0]))
    at = digit_frames(frames, text)
    middles = line.left + (at + 0.5) * (line.width / max(1, len(frames)))
    reach = 0.35 * line.height
    edges = [middles[0] - reach, *((middles[1:] + middles[:-1]) / 2), middles[-1] + reach]
    found = []
    for start, end, frame in zip(edges, edges[1:], at, strict=False):
        left = min(max(line.left, round(start)), line.right - 1)
        box = Box(left, line.top, max(left + 1, min(line.right, round(end))), line.bottom)
        digits = np.exp(frames[frame, : len(DIGITS)].astype(np.float64))
        found.append(
            GlyphReading(
                box=place(box),
                hypotheses=tuple(
                    Hypothesis(DIGITS[i], float(digits[i]))
                    for i in np.argsort(-digits, kind="stable")[:4]
                ),
                image=image[box.top : box.bottom, box.left : box.right],
            )
        )
    return tuple(found)


def _may_be_no_number(
    best: Decoded | None, glyphs: Sequence[GlyphReading], lined: bool, width: int
) -> bool:
    """Say whether ones are all that was read, where other things look like ones.

    The sides of a box do, of which the rest was left out, and what a neighbor's stroke shows
    at the side of the crop.
    """
    if best is None or set(best.text) != {"1"}:
        return False
    return lined or any(one.box.left <= 1 or one.box.right >= width - 1 for one in glyphs)


def _decimals(decoded: Decoded, lattice: Lattice) -> int:
    """Count the digits after the last mark that a number was written with."""
    marks = [
        lattice.glyphs[s.glyph].mark is Mark.SEPARATOR and not s.text for s in decoded.path
    ]
    last = max((i for i, is_mark in enumerate(marks) if is_mark), default=len(marks))
    return sum(bool(step.text) for step in decoded.path[last:])
