"""The strips that a reader of whole numbers learns from, with what they say.

Without TensorFlow, which the processes that compose would each take seconds to import.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise

import cv2
import numpy as np

from digitocr.imaging.strips import WrittenLine, find_lines
from digitocr.recognition import sequence
from digitocr.training import pictures
from digitocr.training.composition import numbers
from digitocr.training.composition.hands import Hands
from digitocr.training.composition.numbers import Composed
from digitocr.training.pictures import Watch, unwatched
from digitocr.types import STRIP_HEIGHT, Strip

NONE_SHARE = 0.2  # of crops without a number
ROUGHNESS = {pictures.HEAVY: 1.0, pictures.LIGHT: 0.6}
MOST_LINES = 4  # of a tall crop, as when it is read
_CHUNK = 500


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A strip and what it says; `kind` and `touching` as in `numbers.Composed`."""

    strip: Strip
    text: str
    kind: str
    touching: bool


def compose_lines(
    writers: Hands,
    sheaves: Sequence[tuple[pictures.Spoiling, int]],
    *,
    seed: int,
    watch: Watch = unwatched,
) -> Iterator[list[Line]]:
    """Compose sheaves of so many crops each; the same for the same seed.

    While one is learned from, others compose the next. `watch` shows how far the first is.
    """
    jobs = [
        [
            ((seed, sheaf, start), min(_CHUNK, size - start), ROUGHNESS[spoiling])
            for start in range(0, size, _CHUNK)
        ]
        for sheaf, (spoiling, size) in enumerate(sheaves)
    ]
    chunks = pictures.draw_all(_compose_chunk, writers, list(chain(*jobs)))
    for sheaf, parts in enumerate(jobs):
        lines: list[Line] = []
        shown = unwatched if sheaf else watch
        with shown("Composing", len(parts), unit=f"{_CHUNK}-crop part") as advance:
            for chunk in islice(chunks, len(parts)):
                lines += chunk
                advance("")
        yield lines


_Job = tuple[tuple[int, int, int], int, float]


def _compose_chunk(writers: Hands, job: _Job) -> list[Line]:
    seed, count, roughness = job
    rng = np.random.default_rng(seed)
    lines: list[Line] = []
    while len(lines) < count:
        if rng.random() < NONE_SHARE:
            made = numbers.compose_none(writers, rng, roughness=roughness)
        else:
            made = numbers.compose(writers, rng, roughness=roughness)
        line = _line_that_holds(made)
        if line is None:
            continue
        if frames_wanted(made.text) <= sequence.frames_of(line.strip.shape[1]):
            lines.append(Line(line.strip, made.text, made.kind, made.touching))
    return lines


def _line_that_holds(made: Composed, *, room: float = 0.2) -> WrittenLine | None:
    """Find the line of a crop that its number is in: all of it, but for `room` of a digit.

    None where it is found in no line: a strip without it is not to teach its text.
    """
    found = find_lines(made.image, most=MOST_LINES)
    if not made.boxes or len(found) == 1:
        return found[0]
    for line in found:
        if all(
            line.box.left <= box.left + room * box.height
            and line.box.right >= box.right - room * box.height
            and line.box.top <= box.top + room * box.height
            and line.box.bottom >= box.bottom - room * box.height
            for box in made.boxes
        ):
            return line
    return None


def jitter(strip: Strip, rng: np.random.Generator) -> Strip:
    """Scale, shift and shear a strip a little, and change its ink, so that no use is the same.

    Parameters
    ----------
    strip : (HEIGHT, W) uint8
        Not changed.
    """
    scale = float(rng.uniform(0.86, 1.1))
    shear = float(rng.normal(0.0, 0.08))
    middle = (STRIP_HEIGHT - 1) / 2
    down = middle * (1 - scale) + float(rng.uniform(-2.0, 2.0))
    matrix = np.array([[1.0, shear, -shear * middle], [0.0, scale, down]])
    moved = cv2.warpAffine(strip, matrix, strip.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    levels = np.linspace(0.0, 1.0, 256) ** float(np.exp(rng.normal(0.0, 0.2)))
    levels *= float(rng.uniform(0.7, 1.15))
    inked: Strip = cv2.LUT(moved, np.clip(255 * levels, 0, 255).astype(np.uint8))
    return inked


def frames_wanted(text: str) -> int:
    """Count the frames that a text needs: one a digit, and a blank between two alike."""
    return len(text) + sum(one == other for one, other in pairwise(text))
