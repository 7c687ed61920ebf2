"""The pictures a network learns from: sheaves drawn beforehand, each used a few times.

Drawing a spoiled picture costs as much time as learning from it. Drawn anew for every use it
would halve the number of pictures that an hour allows; a picture that comes back after a
million others teaches nearly as much as a new one.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr import processes
from digitocr.errors import DataError
from digitocr.imaging.normalization import SIZE, normalize
from digitocr.training import augment, dataset, nondigits
from digitocr.training.dataset import GlyphSet

Watch = Callable[..., AbstractContextManager[Callable[[str], None]]]

SHEAF = 76_800  # spoiled pictures an epoch
TIMES_USED = 3
# The last third of the training sees pictures closer to those that are read.
LIGHT_SHARE = 0.35
_CHUNK = 2_400
# Of what is trained on, so much is no digit, that the class is learned well.
OTHER_SHARE = 24 / 128
COMPOSED_SHARE = 0.6  # of these, that are made of digits


class Kind(StrEnum):
    """What is done to the characters that are learned from."""

    CLEAN = "clean"  # normalized
    MOVED = "moved"  # normalized, then turned, scaled and shifted
    SCANNED = "scanned"  # spoiled as scans are, and non-digits among them


@dataclass(frozen=True, slots=True, eq=False)
class Sheaf:
    """Pictures for an epoch: (N, 28, 28) uint8, 255 ink, and the N labels."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spoiling:
    """How much is done to digits: the shares that `augment.distort` takes."""

    clean: float
    spoiled: float


HEAVY = Spoiling(clean=0.12, spoiled=0.55)
LIGHT = Spoiling(clean=0.4, spoiled=0.45)


def unwatched(
    what: str, total: int, *, unit: str = ""
) -> AbstractContextManager[Callable[[str], None]]:
    """Show nothing of how far long work is."""
    return nullcontext(lambda note: None)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Digits and non-digits of several data sets to draw from.

    `composed_share` of the non-digits are made of the digits (`nondigits`); all are, where the
    sets hold none.
    """

    digits: tuple[GlyphSet, ...]
    others: tuple[GlyphSet, ...]
    composed_share: float = COMPOSED_SHARE

    @classmethod
    def of(cls, sets: Sequence[GlyphSet], *, composed_share: float = COMPOSED_SHARE) -> Source:
        """Part the characters of data sets.

        Raises
        ------
        DataError
            If there are no digits among them.
        """
        digits = without_empty([one.where(one.labels < dataset.OTHER) for one in sets])
        if not digits:
            raise DataError("the data sets hold no digits to train on; add mnist")
        others = without_empty([one.where(one.labels == dataset.OTHER) for one in sets])
        return cls(digits, others, composed_share)

    def draw(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], int]:
        """Take a digit, or something that is none, as it is in the data."""
        if rng.random() >= OTHER_SHARE:
            return take(self.digits, rng)
        if self.others and rng.random() >= self.composed_share:
            return take(self.others, rng)
        return nondigits.compose(lambda: take(self.digits, rng), rng), dataset.OTHER


def without_empty(sets: Sequence[GlyphSet]) -> tuple[GlyphSet, ...]:
    """Leave data sets out that hold nothing."""
    return tuple(one for one in sets if len(one))


def take(
    sets: Sequence[GlyphSet], rng: np.random.Generator, *, evenness: float = 0.75
) -> tuple[NDArray[np.uint8], int]:
    """Take one glyph; small sets are drawn on more often than by their size.

    By their size, MNIST would be nearly all there is: the closed fours of other hands, and
    those in print, then came out as nines.
    """
    weights = np.cumsum([len(one) ** evenness for one in sets])
    one = sets[int(np.searchsorted(weights, rng.random() * weights[-1]))]
    index = int(rng.integers(len(one)))
    return one.glyphs[index], int(one.labels[index])


def draw_sheaves(
    kind: Kind,
    sets: Sequence[GlyphSet],
    *,
    epochs: int,
    seed: int,
    size: int | None = None,
    plan: Sequence[Spoiling] | None = None,
    composed_share: float = COMPOSED_SHARE,
    watch: Watch = unwatched,
) -> list[Sheaf]:
    """Draw as many sheaves as so many epochs need; the same for the same seed.

    Parameters
    ----------
    sets
        What may be trained on.
    size : int
        Pictures of a sheaf; None means all the digits once, or `SHEAF` spoiled ones.
    plan
        How much each sheaf is spoiled; None means as `spoilings` has it.
    composed_share
        Of the non-digits, that are made of the digits.

    Raises
    ------
    DataError
        If there are no digits.
    """
    source = Source.of(sets, composed_share=composed_share)
    digits = sum(len(one) for one in source.digits)
    size = size or (SHEAF if kind is Kind.SCANNED else digits)
    if kind is not Kind.SCANNED:
        size = min(size, digits)
    plan = plan or spoilings(kind, epochs)
    jobs = [
        (kind, (seed, sheaf, start), start, min(_CHUNK, size - start), spoiling)
        for sheaf, spoiling in enumerate(plan)
        for start in range(0, size, _CHUNK)
    ]
    chunks: list[Sheaf] = []
    with watch("Drawing", len(jobs) * _CHUNK // 1000, unit="thousand picture") as advance:
        shown = 0
        for drawn in draw_all(_draw_chunk, source, jobs):
            chunks.append(drawn)
            while shown < len(chunks) * _CHUNK // 1000:
                shown += 1
                advance("")
    each = len(jobs) // len(plan)
    return [_joined(chunks[at : at + each]) for at in range(0, len(chunks), each)]


def spoilings(kind: Kind, epochs: int, *, times_used: int = TIMES_USED) -> list[Spoiling]:
    """Say how much each sheaf is spoiled; clean pictures need one sheaf for all epochs."""
    if kind is Kind.CLEAN:
        return [HEAVY]
    light = round(LIGHT_SHARE * epochs) if kind is Kind.SCANNED else 0
    return [HEAVY] * -(-(epochs - light) // times_used) + [LIGHT] * -(-light // times_used)


def sheaf_of(kind: Kind, epoch: int, epochs: int, *, times_used: int = TIMES_USED) -> int:
    """Say which sheaf an epoch, counted from 0, learns from."""
    plan = spoilings(kind, epochs, times_used=times_used)
    if kind is Kind.CLEAN:
        return 0
    light = round(LIGHT_SHARE * epochs) if kind is Kind.SCANNED else 0
    heavy = plan.count(HEAVY)
    if epoch < epochs - light:
        return epoch % heavy
    return heavy + (epoch - (epochs - light)) % (len(plan) - heavy)


_Job = tuple[Kind, tuple[int, int, int], int, int, Spoiling]
_Source = TypeVar("_Source")
_Work = TypeVar("_Work")
_Drawn = TypeVar("_Drawn")
_draw: Callable[[Any, Any], Any]  # of a drawing process, as is
_source: Any  # what it draws from


def draw_all(
    draw: Callable[[_Source, _Work], _Drawn], source: _Source, jobs: Sequence[_Work]
) -> Iterator[_Drawn]:
    """Draw in as many processes as there are cores, in the order of the jobs.

    `draw` is a function of a module; the source goes to each process once.
    """
    workers = min(os.cpu_count() or 1, len(jobs) // 4)
    if workers < 2:
        yield from (draw(source, job) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with ProcessPoolExecutor(workers, context, _begin, (draw, source)) as pool:
        yield from pool.map(_draw_in_process, jobs)


def _begin(draw: Callable[[Any, Any], Any], source: Any) -> None:
    global _draw, _source
    processes.go_with_parent()
    _draw, _source = draw, source
    cv2.setNumThreads(1)


def _draw_in_process(job: Any) -> Any:
    return _draw(_source, job)


def _draw_chunk(source: Source, job: _Job) -> Sheaf:
    kind, seed, start, count, spoiling = job
    rng = np.random.default_rng(seed)
    images = np.zeros((count, SIZE, SIZE), np.uint8)
    labels = np.zeros(count, np.int64)
    for row in range(count):
        if kind is Kind.SCANNED:
            glyph, labels[row] = source.draw(rng)
            image = augment.distort(glyph, rng, clean=spoiling.clean, spoiled=spoiling.spoiled)
        else:
            glyph, labels[row] = _at(source.digits, start + row)
            image = normalize(glyph)
            if kind is Kind.MOVED:
                image = augment.move(image, rng)
        images[row] = np.round(image * 255.0)
    return Sheaf(images, labels)


def _at(sets: Sequence[GlyphSet], index: int) -> tuple[NDArray[np.uint8], int]:
    for one in sets:
        if index < len(one):
            return one.glyphs[index], int(one.labels[index])
        index -= len(one)
    raise ValueError(f"index must be below the number of digits, not {index} beyond it")


def _joined(chunks: Sequence[Sheaf]) -> Sheaf:
    return Sheaf(
        np.concatenate([one.images for one in chunks]),
        np.concatenate([one.labels for one in chunks]),
    )
