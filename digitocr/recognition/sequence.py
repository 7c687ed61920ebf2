"""A model folder → a function over whole number crops: the second, independent reader.

It sees the gray crop and never the segmentation's ink: it knows neither cuts nor glyphs, is
another network trained on other pictures, and so fails in other places. Its answer for a
strip (`imaging.strips`) is a row of log-probabilities a frame, four pixels: ten digits, and
`blank` for "no new digit here". `ctc` makes texts of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.errors import ModelError
from digitocr.recognition.combining import Combinations
from digitocr.recognition.ctc import (
    COLUMNS,
    DIGITS,
    Frames,
    Looks,
    own_probabilities,
    path_text,
)
from digitocr.recognition.folders import (
    CARD,
    NETWORK,
    read_entries,
    read_network,
    start_interpreter,
)
from digitocr.recognition.recognizer import Recognizer, load_recognizer
from digitocr.types import STRIP_HEIGHT as HEIGHT
from digitocr.types import STRIP_NORMALIZATION as VERSION
from digitocr.types import STRIP_WIDTHS as BUCKETS
from digitocr.types import ModelCard, Strip

KIND = "sequence"
STRIDE = 4  # pixels of the strip a frame
# Of int8 strips 160 wide 4 at once take 0.16 ms each, 1 alone 0.20, 16 take 0.24: the cache.
MICRO_BATCHES = (4, 1)
AT_ONCE = 256  # strips whose texts are summed together
SURE = 0.99  # probability of a text from which on a strip is not looked at again
# Width, sideways a row, pixels across and down. Chosen on composed numbers of validation
# writers; wider, because a frame is a little wide for narrow digits.
VIEWS = ((1.1, -0.1, 0.0, 0.0), (1.1, 0.1, 0.0, 0.0), (1.0, 0.0, 2.0, 1.0))

ReadStrips = Callable[[Sequence[Strip]], list[Frames]]
LookAt = Callable[[Sequence[Strip]], list[Looks]]


@dataclass(frozen=True, slots=True)
class SequenceCard:
    """What a reader must know of a sequence model; `fingerprint` is the SHA-256 of its weights.

    `temperature` divides the logits before the softmax of a frame. `combinations` say how
    it is weighed beside a classifier; None until that was fitted.
    """

    name: str
    temperature: float
    normalization: str
    trained_on: tuple[str, ...]
    metrics: Mapping[str, Any]
    fingerprint: str
    combinations: Combinations | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SequenceModel:
    """A loaded model: its card, and who looks at strips. Workers load it by `path`.

    `recognizer` gives the third opinion; None where there is none, or none that the card
    has weights for.
    """

    path: Path
    card: SequenceCard
    look: LookAt
    recognizer: Recognizer | None = None

    @property
    def combinations(self) -> Combinations:
        """How it is weighed beside a classifier.

        Raises
        ------
        ModelError
            If that was never fitted.
        """
        if self.card.combinations is None:
            raise ModelError(
                f"{self.path}: its card does not say how it is weighed beside a classifier; "
                f"fit that with `digitocr models combine {self.path}`"
            )
        return self.card.combinations

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return partial(load_sequence, third=self.recognizer is not None), (self.path,)


def joint_card(card: ModelCard, sequence: SequenceModel | None) -> ModelCard:
    """Give the card of a classifier and a sequence network that read together."""
    if sequence is None:
        return card
    both = f"{card.fingerprint} {sequence.card.fingerprint}"
    name = f"{card.name}+{sequence.card.name}"
    if sequence.recognizer is not None:
        both += f" {sequence.recognizer.fingerprint}"
        name += f"+{sequence.recognizer.name}"
    return replace(
        card,
        name=name,
        trained_on=tuple(dict.fromkeys((*card.trained_on, *sequence.card.trained_on))),
        metrics={card.name: dict(card.metrics), sequence.card.name: sequence.card.metrics},
        fingerprint=hashlib.sha256(both.encode()).hexdigest(),
    )


def load_sequence(path: Path, *, third: bool = True) -> SequenceModel:
    """Load the sequence model in a folder; it takes one call at a time.

    Parameters
    ----------
    third
        Whether to load the recognizer of the third opinion, too, where it is installed.

    Raises
    ------
    ModelError
        If a file is missing or cannot be read, or the card does not fit the network.
    """
    path = Path(path)
    weights = read_network(path)
    card = read_sequence_card(path, fingerprint=hashlib.sha256(weights).hexdigest())
    try:
        runner = _interpreter(weights, 1, BUCKETS[0])
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path / NETWORK}: not a network LiteRT can run; train it again"
        ) from error
    found = tuple(int(n) for n in runner.get_output_details()[0]["shape"])
    if found != (1, BUCKETS[0] // STRIDE, COLUMNS):
        raise ModelError(
            f"{path / NETWORK}: gives {found} for a strip {BUCKETS[0]} wide, and not a row of "
            f"{COLUMNS} each {STRIDE} pixels, as {CARD} says; train it again"
        )
    look = with_views(strips_from_bytes(weights, temperature=card.temperature))
    return SequenceModel(path, card, look, _recognizer(card) if third else None)


def _recognizer(card: SequenceCard) -> Recognizer | None:
    """Load the recognizer that the card has weights for."""
    if card.combinations is None or card.combinations.third is None:
        return None
    found = load_recognizer()
    fits = found is not None and found.fingerprint == card.combinations.third
    return found if fits else None


def is_sequence(path: Path) -> bool:
    """Say whether a model folder holds a sequence model, as far as its card can be read."""
    try:
        entries = json.loads((Path(path) / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(entries, dict) and entries.get("kind") == KIND


def read_sequence_card(path: Path, *, fingerprint: str = "") -> SequenceCard:
    """Read and check the card of a sequence model.

    Raises
    ------
    ModelError
        Naming the file and the key that is missing or wrong.
    """
    file = Path(path) / CARD
    entries = read_entries(Path(path))
    for key, wanted in _WANTED.items():
        if entries.get(key) != wanted:
            raise ModelError(
                f"{file}: {key} = {entries.get(key)!r}, but this digitocr reads with "
                f"{wanted!r}; train the model again"
            )
    return SequenceCard(
        name=entries["name"],
        temperature=float(entries["temperature"]),
        normalization=entries["normalization"],
        trained_on=tuple(str(source) for source in entries["trained_on"]),
        metrics=entries["metrics"],
        fingerprint=fingerprint,
        combinations=Combinations.of_card(entries["combination"], str(file))
        if "combination" in entries
        else None,
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


def with_views(read: ReadStrips) -> LookAt:
    """Have a reader look again, from several sides, at strips whose text it is not sure of."""

    def look(strips: Sequence[Strip]) -> list[Looks]:
        """Give what is seen of each strip: once, or as it is and from every side."""
        first = read(strips)
        unsure = _unsure(first)
        views = [_views(strips[place]) for place in unsure]
        seen = iter(read([view for of_strip in views for view in of_strip]))
        found: list[Looks] = [(frames,) for frames in first]
        for place, of_strip in zip(unsure, views, strict=True):
            found[place] += tuple(next(seen) for _ in of_strip)
        return found

    return look


def _views(strip: Strip) -> tuple[Strip, ...]:
    """Lean a strip to both sides and widen it, and move it by half a frame."""
    middle = (HEIGHT - 1) / 2
    return tuple(
        cv2.warpAffine(
            strip,
            np.array([[wide, lean, across - lean * middle], [0.0, 1.0, down]]),
            (min(BUCKETS[-1], round(wide * strip.shape[1])), HEIGHT),
            borderMode=cv2.BORDER_REPLICATE,
        )
        for wide, lean, across, down in VIEWS
    )


def _unsure(every: Sequence[Frames]) -> list[int]:
    """Find the strips where no text, that of the likeliest path, has nearly all probability."""
    found: list[int] = []
    for start in range(0, len(every), AT_ONCE):
        some = every[start : start + AT_ONCE]
        texts = [path_text(frames.argmax(axis=1)) for frames in some]
        unsure = own_probabilities(some, texts) <= SURE
        found += (start + np.flatnonzero(unsure)).tolist()
    return found


def _by_bucket(strips: Sequence[Strip]) -> dict[int, list[int]]:
    places: dict[int, list[int]] = {}
    for place, strip in enumerate(strips):
        if strip.shape[0] != HEIGHT or not 0 < strip.shape[1] <= BUCKETS[-1]:
            raise ValueError(f"strips must be ({HEIGHT}, 1-{BUCKETS[-1]}), not {strip.shape}")
        places.setdefault(bucket_of(strip.shape[1]), []).append(place)
    return places


def _interpreter(weights: bytes, batch: int, width: int) -> Any:
    return start_interpreter(weights, batch, (HEIGHT, width, 1))


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
