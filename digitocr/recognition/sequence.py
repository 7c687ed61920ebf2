"""A model folder → a function over whole number crops: the second, independent reader.

It sees the gray crop and never the segmentation's ink: it knows neither cuts nor glyphs, is
another network trained on other pictures, and so fails in other places. Its answer for a crop
is a row of log-probabilities a frame, four pixels of a strip 32 high: ten digits, and `blank`
for "no new digit here". All the ways in which the frames may spell a text are summed (CTC).

`normalize_strip` brings a crop to that strip, in training as in reading. A network of fixed
height wants digits of about one size, and in bare crops they are anything from a tenth to all
of the height. Three ways were thought of: the whole crop, scaled (digits in much paper come out
6 pixels high: unreadable); a network that looks at several scales (several times the cost); and
cropping to the line of writing, which is done here. What tells writing from rules, margins and
patterns is how often darkness changes *along* a row: a printed rule changes twice, a pattern
changes in every row alike. Of 350 composed numbers 95 in 100 then have digits 13 to 28 pixels
high. The network sees rules, sides of boxes and neighbors all the same, and has learned them.

References
----------
Graves, Fernández, Gomez and Schmidhuber, ICML 2006, on CTC; Hannun, Maas, Jurafsky and Ng,
arXiv:1408.2873, on the search over prefixes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from digitocr.errors import ModelError
from digitocr.recognition.classifier import CARD, DIGITS, NETWORK, without_chatter
from digitocr.types import Box, Gray

KIND = "sequence"
VERSION = "strip-32-v1"
HEIGHT = 32
STRIDE = 4  # pixels of the strip a frame
BUCKETS = (96, 160, 224, 320, 512)  # widths of strips that there are interpreters for
BLANK = len(DIGITS)
COLUMNS = BLANK + 1
# Of int8 strips 160 wide 4 at once take 0.16 ms each, 1 alone 0.20, 16 take 0.24: the cache.
MICRO_BATCHES = (4, 1)

Strip = NDArray[np.uint8]  # (HEIGHT, W); 0 is paper, 255 is full ink
Frames = NDArray[np.float32]  # (T, 11); log-probabilities of 0-9 and blank
ReadStrips = Callable[[Sequence[Strip]], list[Frames]]
ReadCrops = Callable[[Sequence[Gray]], list[Frames]]


# ---------------------------------------------------------------- crop → strip


def normalize_strip(gray: Gray, *, least_contrast: int = 20) -> Strip:
    """Bring a crop's line of writing to a strip of fixed height.

    Parameters
    ----------
    gray : (H, W) uint8
        Dark ink on lighter paper, of any size. Not changed.
    least_contrast : int, gray levels
        Ink this much darker than its paper is full ink, or paper's grain would become ink.

    Returns
    -------
    (HEIGHT, W) uint8, W from 16 to the widest of `BUCKETS`; 0 paper to 255 ink.

    Raises
    ------
    ValueError
        If `gray` is not a two-dimensional uint8 array, or is empty.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise ValueError(f"gray must be (H, W) uint8, not {gray.shape} {gray.dtype}")
    small, shrink = _shrunken(gray)
    paper = _paper(small)
    top, bottom, left, right = _writing(small, paper, least_contrast)
    width = round((right - left) * HEIGHT / (bottom - top))
    width = min(max(width, HEIGHT // 2), BUCKETS[-1])
    rows = slice(int(top / shrink), max(int(top / shrink) + 1, round(bottom / shrink)))
    places = slice(int(left / shrink), max(int(left / shrink) + 1, round(right / shrink)))
    line = _resized(gray[rows, places], width, HEIGHT)
    behind = _resized(paper[top:bottom, left:right], width, HEIGHT)
    written: NDArray[np.uint8] = cv2.subtract(behind, line)
    full = _full_ink(written, least_contrast)
    strip: Strip = cv2.convertScaleAbs(written, alpha=255 / full)
    return strip


def line_of_writing(gray: Gray, *, least_contrast: int = 20) -> Box:
    """Find the part of a crop that `normalize_strip` scales to a strip."""
    small, shrink = _shrunken(gray)
    top, bottom, left, right = _writing(small, _paper(small), least_contrast)
    left, top, right, bottom = (round(at / shrink) for at in (left, top, right, bottom))
    return Box(left, top, max(right, left + 1), max(bottom, top + 1))


def _shrunken(
    gray: Gray, *, height: int = 64, area: int = 64 * 192
) -> tuple[Gray, float]:
    """Shrink a crop to what is enough to find writing in: tall ones less than wide ones."""
    h, w = gray.shape
    shrink = min(1.0, max(height / h, float(np.sqrt(area / (h * w)))))
    return _resized(gray, round(w * shrink), round(h * shrink)), shrink


def _writing(
    small: Gray,
    paper: Gray,
    least_contrast: int,
    *,
    margin: float = 0.14,
    side: float = 0.35,
) -> tuple[int, int, int, int]:
    """Find top, bottom, left, right of the line of writing, with some paper around it.

    `margin` is left above and below, `side` at either end, as shares of its height.
    """
    dark: NDArray[np.uint8] = cv2.subtract(paper, small)
    h, w = dark.shape
    tall = h > 0.8 * w
    if tall:
        # A cell of a register: the scanner's black margin, and lines along its sides.
        margins = (paper < 0.45 * np.quantile(paper, 0.9)).astype(np.uint8)
        margins = cv2.dilate(margins, np.ones((5, 5), np.uint8)) > 0
        dark[margins] = 0
        level = _full_ink(dark, least_contrast, share=0.997)
        dark[_lines(dark > level // 3, np.flatnonzero(margins.mean(axis=0) < 0.5))] = 0
    level = _full_ink(dark, least_contrast, share=0.997 if tall else 0.985)
    top, bottom = _writing_rows(
        dark,
        level,
        least_contrast,
        least_height=0.03 if tall else 0.15,
        cut_off=0.2 if tall else 1.0,
    )
    if tall and bottom - top < h // 2:
        inner = dark[top:bottom]
        level = _full_ink(inner, least_contrast, share=0.99)
        first, last = _writing_rows(
            inner, level, least_contrast, least_height=0.4, cut_off=1.0
        )
        top, bottom = top + first, top + last
    room = max(1, round((2 * margin if tall else margin) * (bottom - top)))
    top, bottom = max(0, top - room), min(h, bottom + room)
    columns = np.flatnonzero((dark[top:bottom] > level // 2).any(axis=0))
    left, right = 0, w
    if len(columns):
        room = round(side * (bottom - top))
        left, right = max(0, int(columns[0]) - room), min(right, int(columns[-1]) + 1 + room)
    return top, bottom, left, right


def _lines(
    inked: NDArray[np.bool_], inner: NDArray[np.intp], *, outer: float = 0.3
) -> NDArray[np.bool_]:
    """Find the sides and rules of a cell: what runs through half of the crop.

    Sides stand in the `outer` shares of the `inner` columns, those that are not black; what is
    long in the middle may be a 1.
    """
    h, w = inked.shape
    if not len(inner):
        return np.zeros((h, w), np.bool_)
    _, labels, stats, centers = cv2.connectedComponentsWithStats(inked.astype(np.uint8))
    widths, heights = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]
    at = (centers[:, 0] - inner[0]) / max(1, inner[-1] - inner[0])
    sides = (heights > 0.45 * h) & (np.abs(at - 0.5) > 0.5 - outer)
    long = sides | ((widths > 0.6 * w) & (heights < 0.08 * h))
    long[0] = False
    found = cv2.dilate(long[labels].astype(np.uint8), np.ones((3, 3), np.uint8))
    lines: NDArray[np.bool_] = found > 0
    return lines


def _resized(image: Gray, width: int, height: int) -> Gray:
    width, height = max(1, width), max(1, height)
    if image.shape == (height, width):
        return image
    method = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_LINEAR
    resized: Gray = cv2.resize(image, (width, height), interpolation=method)
    return resized


def _paper(gray: Gray) -> Gray:
    """Fill in what is thinner than an eighth of the height: the paper behind the strokes.

    A black margin is broader and stays: nothing is written on it.
    """
    h, w = gray.shape
    half = _resized(gray, w // 2, h // 2) if min(h, w) >= 32 else gray
    reach = max(5, half.shape[0] // 4) | 1
    filled = cv2.morphologyEx(half, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    smooth = cv2.blur(filled, (reach, reach), borderType=cv2.BORDER_REPLICATE)
    return _resized(smooth, w, h)


def _full_ink(dark: NDArray[np.uint8], least: int, *, share: float = 0.985) -> int:
    """Find the darkness that only the darkest pixels exceed."""
    counts = np.cumsum(np.bincount(dark.ravel(), minlength=256))
    return max(least, int(np.searchsorted(counts, share * counts[-1])))


def _writing_rows(
    dark: NDArray[np.uint8],
    level: int,
    least_contrast: int,
    *,
    faint: float = 0.3,
    share: float = 0.2,
    least_height: float,
    cut_off: float,
) -> tuple[int, int]:
    """Find the rows of the line of writing: top and bottom, excluded.

    Of the runs of rows where darkness changes often the one with the most changes counts, the
    taller and the more in the middle the better: a dotted rule changes often, but is low. One
    at the crop's edge counts `cut_off` times as much.
    """
    h = len(dark)
    if level <= least_contrast:
        return 0, h
    floor = int(faint * level)
    clipped: NDArray[np.uint8] = np.minimum(dark, level)
    clipped[clipped < floor] = 0
    changes = cv2.absdiff(clipped[:, 1:], clipped[:, :-1]) if dark.shape[1] > 1 else clipped
    profile = changes.sum(axis=1, dtype=np.float64)
    reach = max(1, h // 12) | 1
    padded = np.pad(profile, reach // 2, mode="edge")
    profile = np.convolve(padded, np.full(reach, 1 / reach), "valid")
    profile = np.maximum(profile - 0.8 * np.quantile(profile, 0.1), 0.0)
    busy = np.zeros(h + 2, np.int8)
    busy[1:-1] = profile > share * profile.max()
    runs = np.flatnonzero(np.diff(busy)).reshape(-1, 2)
    if not len(runs):
        return 0, h

    def worth(run: NDArray[np.int64]) -> float:
        start, stop = run
        central = 1.0 - 0.8 * abs((start + stop) / 2 / h - 0.5)
        whole = cut_off if (start == 0) != (stop == h) else 1.0
        return float(profile[start:stop].sum() * (stop - start) ** 2 * central * whole)

    top, bottom = (int(row) for row in max(runs, key=worth))
    missing = max(0, round(least_height * h) - (bottom - top))
    return max(0, top - missing // 2), min(h, bottom + missing - missing // 2)


# ---------------------------------------------------------------- the model


@dataclass(frozen=True, slots=True)
class SequenceCard:
    """What a reader must know of a sequence model; `fingerprint` is the SHA-256 of its weights.

    `temperature` divides the logits before the softmax of a frame.
    """

    name: str
    temperature: float
    normalization: str
    trained_on: tuple[str, ...]
    metrics: Mapping[str, Any]
    fingerprint: str


@dataclass(frozen=True, slots=True, eq=False)
class SequenceModel:
    """A loaded model: its card, and the reader of crops. Workers load it by `path`."""

    path: Path
    card: SequenceCard
    read: ReadCrops

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return load_sequence, (self.path,)


def load_sequence(path: Path) -> SequenceModel:
    """Load the sequence model in a folder; it takes one call at a time.

    Raises
    ------
    ModelError
        If a file is missing or cannot be read, or the card does not fit the network.
    """
    path = Path(path)
    network = path / NETWORK
    try:
        weights = network.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{network}: {error.strerror or error}; a model folder holds {NETWORK} and {CARD}"
        ) from error
    card = read_sequence_card(path, fingerprint=hashlib.sha256(weights).hexdigest())
    try:
        runner = _interpreter(weights, 1, BUCKETS[0])
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{network}: not a network LiteRT can run; train it again") from error
    found = tuple(int(n) for n in runner.get_output_details()[0]["shape"])
    if found != (1, BUCKETS[0] // STRIDE, COLUMNS):
        raise ModelError(
            f"{network}: gives {found} for a strip {BUCKETS[0]} wide, and not a row of "
            f"{COLUMNS} each {STRIDE} pixels, as {CARD} says; train it again"
        )
    read = strips_from_bytes(weights, temperature=card.temperature)
    return SequenceModel(
        path, card, lambda crops: read([normalize_strip(crop) for crop in crops])
    )


def read_sequence_card(path: Path, *, fingerprint: str = "") -> SequenceCard:
    """Read and check the card of a sequence model.

    Raises
    ------
    ModelError
        Naming the file and the key that is missing or wrong.
    """
    file = Path(path) / CARD
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else None
        raise ModelError(
            f"{file}: {cause or error}; a model folder needs its card: train it again"
        ) from error
    if not isinstance(entries, dict):
        raise ModelError(f"{file}: is not a JSON object; train the model again")
    for key, wanted in _WANTED.items():
        if entries.get(key) != wanted:
            raise ModelError(
                f"{file}: {key} = {entries.get(key)!r}, but this digitocr reads with "
                f"{wanted!r}; train the model again"
            )
    for key, kind in _KINDS.items():
        if not isinstance(entries.get(key), kind) or isinstance(entries[key], bool):
            raise ModelError(f"{file}: {key} = {entries.get(key)!r} is of the wrong kind")
    if not 0 < entries["temperature"] < float("inf"):
        raise ModelError(f"{file}: temperature = {entries['temperature']} must be above 0")
    return SequenceCard(
        name=entries["name"],
        temperature=float(entries["temperature"]),
        normalization=entries["normalization"],
        trained_on=tuple(str(source) for source in entries["trained_on"]),
        metrics=entries["metrics"],
        fingerprint=fingerprint,
    )


def described() -> dict[str, Any]:
    """Give what the card of a model for this code must say."""
    return dict(_WANTED)


_WANTED: Mapping[str, Any] = {
    "kind": KIND,
    "classes": [*DIGITS, "blank"],
    "height": HEIGHT,
    "stride": STRIDE,
    "buckets": list(BUCKETS),
    "polarity": "0.0 paper, 1.0 ink",
    "normalization": VERSION,
}


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "temperature": (int, float),
    "trained_on": list,
    "metrics": dict,
}


def bucket_of(width: int) -> int:
    """Find the narrowest bucket that holds a strip."""
    return next((one for one in BUCKETS if one >= width), BUCKETS[-1])


def frames_of(width: int) -> int:
    """Say how many frames a strip has; what is beyond is its bucket's padding."""
    return -(-width // STRIDE)


def strips_from_bytes(weights: bytes, *, temperature: float = 1.0) -> ReadStrips:
    """Make a reader of strips of a network that has no folder yet."""
    runners: dict[tuple[int, int], Any] = {}

    def read(strips: Sequence[Strip]) -> list[Frames]:
        """Give each strip its frames, without those of the padding."""
        found: list[Frames] = [np.zeros((0, COLUMNS), np.float32)] * len(strips)
        for bucket, places in _by_bucket(strips).items():
            start = 0
            for size in MICRO_BATCHES:
                while len(places) - start >= size:
                    some = places[start : start + size]
                    start += size
                    if (size, bucket) not in runners:
                        runners[size, bucket] = _interpreter(weights, size, bucket)
                    logits = _run(runners[size, bucket], [strips[i] for i in some], bucket)
                    rows = _log_softmax(logits / np.float32(temperature))
                    for place, one in zip(some, rows, strict=True):
                        found[place] = one[: frames_of(strips[place].shape[1])]
        return found

    return read


def _by_bucket(strips: Sequence[Strip]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for place, strip in enumerate(strips):
        if strip.shape[0] != HEIGHT or not 0 < strip.shape[1] <= BUCKETS[-1]:
            raise ValueError(f"strips must be ({HEIGHT}, 1-{BUCKETS[-1]}), not {strip.shape}")
        places.setdefault(bucket_of(strip.shape[1]), []).append(place)
    return places


def _interpreter(weights: bytes, batch: int, width: int) -> Any:
    with without_chatter():
        interpreter = Interpreter(model_content=weights, num_threads=1)
        source = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(source, (batch, HEIGHT, width, 1))
        interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Any, strips: Sequence[Strip], bucket: int) -> NDArray[np.float32]:
    images = np.zeros((len(strips), HEIGHT, bucket, 1), np.float32)
    for image, strip in zip(images, strips, strict=True):
        image[:, : strip.shape[1], 0] = strip
    images *= np.float32(1 / 255)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    logits: NDArray[np.float32] = interpreter.get_tensor(
        interpreter.get_output_details()[0]["index"]
    )
    return logits


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    rows: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return rows


# ---------------------------------------------------------------- frames ↔ texts


@dataclass(frozen=True, slots=True)
class Spelled:
    """A text, and the probability that the frames spell it."""

    text: str
    probability: float


def best_texts(
    frames: Frames,
    *,
    min_length: int = 0,
    max_length: int | None = None,
    keep: int = 6,
    beam: int = 24,
    least: float = 1e-4,
) -> tuple[Spelled, ...]:
    """Find the likeliest texts of a crop by a search over prefixes, frame by frame.

    Parameters
    ----------
    frames : (T, 11)
        Log-probabilities of 0-9 and blank.
    min_length, max_length
        Digits that a text may have; the empty text may always be.
    keep, beam
        Texts given back, and prefixes kept alive at every frame: exact while there are fewer.
    least
        Symbols less probable in a frame are passed over there: nearly all are, and with them
        nine tenths of the time. With 0 none is.

    Returns
    -------
    Best first; probabilities sum to at most 1. What is missing is that of other lengths, and
    of what fell out of the beam.
    """
    # By prefix: probability that the frames so far spell it and end in a blank, or in its
    # last digit. At 128 frames the best is far above the smallest float.
    alive: dict[str, tuple[float, float]] = {"": (1.0, 0.0)}
    for row in np.exp(frames.astype(np.float64)).tolist():
        blank = row[BLANK]
        extended: dict[str, tuple[float, float]] = {}
        symbols = [(DIGITS[i], row[i]) for i in range(BLANK) if row[i] > least]
        for prefix, (in_blank, in_digit) in alive.items():
            total = in_blank + in_digit
            last = prefix[-1:]
            old_blank, old_digit = extended.get(prefix, (0.0, 0.0))
            repeated = row[ord(last) - 48] if last else 0.0
            extended[prefix] = old_blank + total * blank, old_digit + in_digit * repeated
            if max_length is not None and len(prefix) >= max_length:
                continue
            for digit, probability in symbols:
                longer = prefix + digit
                before = in_blank if digit == last else total
                old_blank, old_digit = extended.get(longer, (0.0, 0.0))
                extended[longer] = old_blank, old_digit + before * probability
        if len(extended) > beam:
            ranked = sorted(extended.items(), key=lambda entry: -(entry[1][0] + entry[1][1]))
            extended = dict(ranked[:beam])
        alive = extended
    fitting = [
        Spelled(text, in_blank + in_digit)
        for text, (in_blank, in_digit) in alive.items()
        if (not text or len(text) >= min_length) and in_blank + in_digit > 0.0
    ]
    return tuple(sorted(fitting, key=lambda one: (-one.probability, one.text))[:keep])


def text_probabilities(frames: Frames, texts: Sequence[str]) -> NDArray[np.float64]:
    """Say how probable each of several texts is: the sum over all ways to spell it.

    Parameters
    ----------
    frames : (T, 11)
        Log-probabilities of 0-9 and blank.
    texts
        Digits alone; "" is that there is no number.

    Returns
    -------
    (len(texts),) from 0 to 1. Of all different texts they sum to 1.

    Raises
    ------
    ValueError
        If a text holds something else than digits.
    """
    if not all(set(text) <= set(DIGITS) for text in texts):
        raise ValueError(f"texts must hold digits alone, not {list(texts)!r}")
    if not texts:
        return np.zeros(0)
    longest = max(len(text) for text in texts)
    # States of a text: blank, digit, blank, digit … blank; padded ones are never asked.
    states = np.full((len(texts), 2 * longest + 1), BLANK, np.int64)
    may_skip = np.zeros(states.shape, np.float64)  # from the digit before, over the blank
    for row, text in enumerate(texts):
        states[row, 1 : 2 * len(text) : 2] = [int(digit) for digit in text]
        for place, (one, other) in enumerate(pairwise(text)):
            may_skip[row, 2 * place + 3] = one != other
    reached = np.zeros((len(texts), states.shape[1] + 2), np.float64)
    reached[:, 2] = 1.0  # before the first frame, as if in the first blank
    for row in np.exp(frames.astype(np.float64)):
        here, before, skipped = reached[:, 2:], reached[:, 1:-1], reached[:, :-2]
        reached[:, 2:] = (here + before + may_skip * skipped) * row[states]
    ends = np.array([2 * len(text) for text in texts]) + 2
    every = np.arange(len(texts))
    found: NDArray[np.float64] = reached[every, ends] + np.where(
        ends > 2, reached[every, ends - 1], 0.0
    )
    return found
