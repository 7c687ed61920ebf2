"""What the lattice cuts out of composed numbers, with what each glyph is.

A classifier that learned from whole digits alone reads 997 of a thousand of them, and of those
that are cut out of numbers 944: they have lost a stroke to the digit beside them or to a line,
or kept a piece of it. And of the glyphs that a lattice proposes most are no digits: two in one,
halves, a digit with a piece of its neighbor. `composition` knows whose every pixel is.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.imaging.crops import CropWriting, find_crop_writing
from digitocr.imaging.normalization import SIZE
from digitocr.imaging.segmentation import segment_open
from digitocr.imaging.strips import find_small_line
from digitocr.training import pictures
from digitocr.training.composition import hands, numbers
from digitocr.training.composition.hands import Hands
from digitocr.training.composition.numbers import Composed
from digitocr.training.dataset import OTHER, GlyphSet
from digitocr.training.pictures import Watch, unwatched
from digitocr.types import Glyph

NAME = "cut"
COUNTS: Mapping[str, int] = {"train": 16_000, "validation": 2_000}  # numbers that are cut
ROUGHNESS = (0.2, 1.0)  # of their paper and its scan
UNKNOWN = -1  # neither a digit nor surely none
# Shares of the ink. A glyph is a digit that has `MOST` of it, and has little else; it is none
# that has less than `HALF` of every digit or is for more than half of something else, or has
# more than half of two.
MOST, PURE, HALF = 0.8, 0.85, 0.55
LEAST_LEFT = 0.5  # of a digit that was found at all
WRITTEN = 0.3  # of the ink, that is of digits: what is of none may be a neighbor's digit
NARROW = 0.4  # of the height: a narrower piece may be a 1
_CHUNK = 50


def load(
    folder: str, *, seed: int = 1, counts: Mapping[str, int] = COUNTS, watch: Watch = unwatched
) -> GlyphSet:
    """Compose numbers of the writers of each part and cut them.

    Parameters
    ----------
    folder
        Of the data sets (`DIGITOCR_DATA`).
    counts
        Numbers a part.

    Raises
    ------
    DataError
        If the writers cannot be had.
    """
    glyphs, labels, parts = [], [], []
    for number, (part, count) in enumerate(counts.items()):
        jobs = [(seed, number, at, min(_CHUNK, count - at)) for at in range(0, count, _CHUNK)]
        with watch(f"Cutting numbers to {part}", len(jobs), unit=f"{_CHUNK}-number part") as go:
            for images, known in pictures.draw_all(_cut_chunk, hands.load(folder, part), jobs):
                glyphs.append(images)
                labels.append(known)
                parts.append(np.full(len(known), part))
                go("")
    return GlyphSet(
        NAME,
        np.concatenate(glyphs),
        np.concatenate(labels),
        np.concatenate(parts),
        "what the lattice cuts out of numbers composed of MNIST, UNIPEN, USPS and drawn hands",
    )


def _cut_chunk(
    writers: Hands, job: tuple[int, int, int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    *seed, count = job
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        made = numbers.compose(writers, rng, roughness=float(rng.uniform(*ROUGHNESS)))
        found += [(glyph.image, label) for glyph, label in cut(made) if label != UNKNOWN]
    images = np.stack([np.zeros((SIZE, SIZE), np.float32), *(image for image, _ in found)])
    known = np.array([label for _, label in found], np.int64)
    return np.round(images[1:] * 255.0).astype(np.uint8), known


def cut(made: Composed) -> list[tuple[Glyph, int]]:
    """Cut a number as `read` does; give each glyph with its digit, `OTHER`, or `UNKNOWN`."""
    crop = find_crop_writing(made.image, find_small_line(made.image))
    lattice = segment_open(crop.field, speck=crop.speck)
    owners = _in_field(made.owners, crop)
    written = np.bincount(owners.ravel(), minlength=len(made.text) + 1)[1:]
    found = np.bincount(owners[crop.field.ink], minlength=len(made.text) + 1)[1:]
    return [
        (glyph, _label(glyph, owners, written, found, made.text)) for glyph in lattice.glyphs
    ]


def _in_field(owners: NDArray[np.uint8], crop: CropWriting) -> NDArray[np.uint8]:
    """Bring the owners of a crop's pixels to the frame of its field."""
    h, w = crop.field.ink.shape
    left, top = crop.origin
    right, bottom = left + round(w / crop.scale), top + round(h / crop.scale)
    part = owners[top:bottom, left:right]
    sized = cv2.resize(part, (w, h), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.dilate(sized, np.ones((3, 3), np.uint8)), np.uint8)


def _label(
    glyph: Glyph,
    owners: NDArray[np.uint8],
    written: NDArray[np.intp],
    found: NDArray[np.intp],
    text: str,
) -> int:
    if glyph.ink is None:
        return UNKNOWN
    box = glyph.box
    own = owners[box.top : box.bottom, box.left : box.right][glyph.ink]
    held = np.bincount(own, minlength=len(text) + 1)[1:]
    shares = held / np.maximum(found, 1)
    pure = held / max(1, len(own))
    best = int(held.argmax())
    if (shares > HALF).sum() > 1:
        return OTHER
    if shares[best] >= MOST and pure[best] >= PURE:
        return int(text[best]) if found[best] >= LEAST_LEFT * written[best] else UNKNOWN
    halves = np.minimum(shares, pure).max() < HALF and pure.sum() > WRITTEN
    return OTHER if halves and box.width >= NARROW * box.height else UNKNOWN
