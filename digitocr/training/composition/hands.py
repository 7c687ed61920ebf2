"""Characters by writer, so that a number can be written in one hand.

A character is the path of a pen (UNIPEN, and hands drawn from skeletons) or a picture (MNIST,
USPS); `characters` draws both at any size. MNIST and UNIPEN name their writers. USPS does not:
its digits are put together by slant and thickness, which is what makes digits look like one
hand's. A drawn hand has one way of writing each digit, and MNIST's Americans have few.

The parts are those of `dataset`: no writer is in two of them, and the digits that the sample
forms are filled with are in none.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.errors import DataError
from digitocr.training import dataset, skeletons

DIGITS = "0123456789"
CLEAR_LETTERS = "".join(c for c in string.ascii_letters if c not in dataset.DIGIT_LIKE)
SHARES = {"mnist": 0.28, "unipen": 0.28, "usps": 0.05, "drawn": 0.39}
MOST_COUNTED = 40  # characters after which a writer is not written with more often
MANY_LABELS = 20  # of one who wrote letters too
LEAST_SIZE = 0.45  # of a digit among its writer's; smaller ones are slips of the pen
DRAWN = {"train": (1, 2400), "validation": (2, 80)}  # by part: seed, and hands
OWN_FORM = (0.02, 0.06)  # by which a drawn hand moves the points of a skeleton, of its height
SEGMENTED = 0.08  # of the drawn hands, which write in seven segments
TYPICAL_PIXELS = 20.0  # longer side of the ink of an MNIST digit

Picture = NDArray[np.uint8]  # (H, W); 0 paper, 255 ink
Line = NDArray[np.float32]  # (N, 2); x, y downwards


@dataclass(frozen=True, slots=True, eq=False)
class PenPath:
    """A character as a pen drew it, one line from pen-down to pen-up.

    The longer side of all lines is 1; `size` is that side over the height of the writer's
    digits.
    """

    lines: tuple[Line, ...]
    size: float


Character = PenPath | Picture


@dataclass(frozen=True, slots=True, eq=False)
class Hand:
    """One writer: every character there is of this hand, by label. Has no name.

    `segmented` hands write in seven segments, and keep digits apart: nobody could read them.
    """

    source: str
    characters: Mapping[str, tuple[Character, ...]]
    slant: float  # sideways per unit of height of the digits; positive leans to the right
    segmented: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Hands:
    """Many writers of one part.

    `writers` write digits; `others` lend the letters and signs that those have not.
    """

    writers: tuple[Hand, ...]
    others: tuple[Hand, ...]
    chances: NDArray[np.float64]  # of each of `writers`; they sum to 1

    def draw(self, rng: np.random.Generator) -> Hand:
        """Choose a writer at random."""
        place = np.searchsorted(np.cumsum(self.chances), rng.random())
        return self.writers[min(int(place), len(self.writers) - 1)]

    def draw_letterer(self, rng: np.random.Generator) -> Hand:
        """Choose a writer of letters at random.

        Raises
        ------
        ValueError
            If no one lends letters.
        """
        if not self.others:
            raise ValueError("others must hold a writer of letters, is empty")
        able = [one for one in self.others if len(one.characters) > MANY_LABELS] or self.others
        return able[int(rng.integers(len(able)))]

    def knows(self, text: str) -> bool:
        """Say whether every character of a text was written by someone."""
        everyone = (*self.others, *self.writers)
        return all(any(label in one.characters for one in everyone) for label in text)

    def find(self, label: str, hand: Hand, rng: np.random.Generator) -> Character:
        """Find a character in a hand; where it has none, in one that is like it.

        Raises
        ------
        ValueError
            If no writer wrote it.
        """
        own = hand.characters.get(label)
        if own:
            return own[int(rng.integers(len(own)))]
        if label in DIGITS:
            able = [one for one in self.writers if label in one.characters]
            same = [one for one in able if one.source == hand.source] or able
            near = sorted(same, key=lambda one: abs(one.slant - hand.slant))[:1]
        else:
            able = [one for one in self.others if label in one.characters]
            near = [able[int(rng.integers(len(able)))]] if able else []
        if not near:
            raise ValueError(f"label must be a character that someone wrote, is {label!r}")
        found = near[0].characters[label]
        return found[int(rng.integers(len(found)))]


def load(folder: str, part: str) -> Hands:
    """Load the writers of one part.

    Parameters
    ----------
    folder : str
        Of the data sets (`DIGITOCR_DATA`).
    part : str
        train, validation, heldout or test. MNIST's test writers are `test`; `heldout` has
        UNIPEN's writers alone, as in `dataset`. Letters and signs of `test` are UNIPEN's
        held-out ones.

    Raises
    ------
    DataError
        If a data set is missing, or the part has no writers.
    """
    pens = tuple(_unipen(folder, "heldout" if part == "test" else part))
    writers = [hand for hand in _mnist(folder, part) if _count(hand)]
    if part != "test":
        writers += [hand for hand in pens if _count(hand)]
    if part == "train":
        writers += _usps(folder)
    if part in DRAWN:
        writers += drawn_hands(*DRAWN[part])
    return gather(writers, pens, part)


def gather(writers: Sequence[Hand], others: Sequence[Hand], part: str) -> Hands:
    """Put writers together, each source with its share.

    Raises
    ------
    DataError
        If there are none.
    """
    if not writers:
        raise DataError(f"numbers: part '{part}' has no writers")
    counts = np.array([min(_count(hand), MOST_COUNTED) for hand in writers], np.float64)
    sources = np.array([hand.source for hand in writers])
    for source in set(sources):
        counts[sources == source] *= SHARES.get(source, 1.0) / counts[sources == source].sum()
    return Hands(tuple(writers), tuple(others), counts / counts.sum())


def _count(hand: Hand) -> int:
    return sum(len(hand.characters.get(digit, ())) for digit in DIGITS)


def _arrays(folder: str, file: str) -> dict[str, NDArray[Any]]:
    for path in (Path(folder) / "digits" / file, Path(folder) / file):
        if path.is_file():
            with np.load(path, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
    raise DataError(f"numbers: {file} is not below {folder or 'DIGITOCR_DATA'}")


def _mnist(folder: str, part: str) -> Iterator[Hand]:
    loaded = dataset.load("mnist", folder)
    arrays = _arrays(folder, "mnist_writers.npz")
    writers = np.concatenate([arrays["train"][:, 2], arrays["test"][:, 2]])
    reserved = {glyph.tobytes() for glyph in loaded.glyphs[loaded.parts == "forms"]}
    chosen = np.flatnonzero(loaded.parts == part)
    keep = [i for i in chosen if loaded.glyphs[i].tobytes() not in reserved]
    for members in _grouped(np.array(keep, np.int64), writers):
        yield _hand_of_pictures("mnist", loaded.glyphs[members], loaded.labels[members])


def _usps(folder: str, *, hands: int = 64) -> list[Hand]:
    loaded = dataset.load("usps", folder)
    slants = np.array([_slant_of_picture(glyph) for glyph in loaded.glyphs])
    inks = loaded.glyphs.mean(axis=(1, 2))
    # Digits differ in slant and ink by their shape: ranked among their own, then alike.
    groups = np.zeros(len(loaded), np.int64)
    side = round(hands**0.5)
    for digit in range(10):
        members = np.flatnonzero(loaded.labels == digit)
        for column, leaning in enumerate(
            np.array_split(members[np.argsort(slants[members])], side)
        ):
            rows = np.array_split(leaning[np.argsort(inks[leaning])], side)
            for row, alike in enumerate(rows):
                groups[alike] = column * side + row
    return [
        _hand_of_pictures("usps", loaded.glyphs[members], loaded.labels[members])
        for members in _grouped(np.arange(len(loaded)), groups)
    ]


def _unipen(folder: str, part: str) -> Iterator[Hand]:
    arrays = _arrays(folder, "unipen_strokes.npz")
    offset, labels = arrays["offset"], arrays["label"]
    clean = np.flatnonzero(~arrays["suspect"])
    for members in _grouped(clean, np.unique(arrays["writer"], return_inverse=True)[1]):
        if dataset.part_of(str(arrays["writer"][members[0]])) != part:
            continue
        found: dict[str, list[Character]] = {}
        slants = []
        for index in members:
            rows = slice(offset[index], offset[index + 1])
            path = pen_path(
                arrays["points"][rows], arrays["stroke"][rows], float(arrays["relsize"][index])
            )
            label = str(labels[index])
            if label in DIGITS and path.size < LEAST_SIZE:
                continue
            found.setdefault(label, []).append(path)
            if label in DIGITS:
                slants.append(_slant_of_path(path))
        slant = float(np.mean(slants)) if slants else 0.0
        yield Hand("unipen", {key: tuple(paths) for key, paths in found.items()}, slant)


def drawn_hands(seed: int, count: int, *, each: int = 6) -> list[Hand]:
    """Draw writers who have one way of writing every digit, from the skeletons of schools.

    Some write in seven segments.
    """
    rng = np.random.default_rng((seed, count))
    hands = []
    for _ in range(count):
        slant, wide = float(rng.normal(0.15, 0.23)), float(rng.uniform(0.4, 0.85))
        found: dict[str, tuple[Character, ...]] = {}
        taught = skeletons.SEVEN_SEGMENTS
        segmented, own = bool(rng.random() < SEGMENTED), float(rng.uniform(*OWN_FORM))
        if not segmented:
            ways = zip(skeletons.SKELETONS, skeletons.choose_ways(rng), strict=True)
            taught = tuple(known[way] for known, way in ways)
        for digit, strokes in zip(DIGITS, taught, strict=True):
            # A hand's own form of the way that it was taught.
            way = tuple(
                (tuple(map(tuple, points)), curved)
                for points, curved in skeletons.draw_strokes(
                    strokes, rng, wide=1.0, high=1.0, spread=own
                )
            )
            narrow = float(rng.uniform(0.35, 1.0)) if digit == "1" else 1.0
            found[digit] = tuple(
                _drawn_path(way, rng, wide=wide * narrow, slant=slant) for _ in range(each)
            )
        hands.append(Hand("drawn", found, slant, segmented))
    return hands


def _drawn_path(
    way: skeletons.Way,
    rng: np.random.Generator,
    *,
    wide: float,
    slant: float,
) -> PenPath:
    """Write a digit once, leaning as its hand does."""
    lines = []
    wide *= float(np.exp(rng.normal(0.0, 0.1)))
    for points, _ in skeletons.draw_strokes(way, rng, wide=wide, high=1.0, spread=0.022):
        lines.append(points - (slant, 0.0) * points[:, 1:])
    low = np.concatenate(lines).min(axis=0)
    scale = float(np.ptp(np.concatenate(lines), axis=0).max())
    size = float(np.exp(rng.normal(0.0, 0.06)))
    return PenPath(tuple(((one - low) / scale).astype(np.float32) for one in lines), size)


def pen_path(points: NDArray[Any], stroke: NDArray[Any], size: float) -> PenPath:
    """Make a path of pen positions (x, y upwards) and the number of the stroke of each."""
    low = points.min(axis=0)
    places = (points - low).astype(np.float32) / max(1, int(np.ptp(points, axis=0).max()))
    places[:, 1] = places[:, 1].max() - places[:, 1]
    breaks = np.flatnonzero(np.diff(stroke)) + 1
    return PenPath(tuple(np.split(places, breaks)), size)


def _grouped(
    members: NDArray[np.int64], groups: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    ordered = members[np.argsort(groups[members], kind="stable")]
    if len(ordered):
        yield from np.split(ordered, np.flatnonzero(np.diff(groups[ordered])) + 1)


def _hand_of_pictures(source: str, glyphs: Picture, labels: NDArray[np.int64]) -> Hand:
    found: dict[str, tuple[Character, ...]] = {}
    for digit in range(10):
        pictures = tuple(glyphs[labels == digit])
        if pictures:
            found[str(digit)] = pictures
    slants = [_slant_of_picture(glyph) for glyph in glyphs[:40]]
    return Hand(source, found, float(np.mean(slants)))


def _slant_of_picture(glyph: Picture) -> float:
    y, x = np.nonzero(glyph > 96)
    return _slant(x, y)


def _slant_of_path(path: PenPath) -> float:
    points = np.concatenate(path.lines)
    return _slant(points[:, 0], points[:, 1])


def _slant(x: NDArray[Any], y: NDArray[Any]) -> float:
    """Regress x on y, as deslanting by moments does; y points downwards."""
    if len(y) < 2:
        return 0.0
    dx, dy = x - x.mean(), y - y.mean()
    return float(-(dx * dy).sum() / max(float((dy * dy).sum()), 1e-6))
