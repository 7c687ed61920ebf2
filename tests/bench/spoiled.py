"""What `digitocr` accepts of numbers that were spoiled in ways nothing is trained on.

    python tests/bench/spoiled.py FOLDER [--count N]

FOLDER has crops and their truth.csv (file,text), from `tests/bench/composed.py`. Each crop is
turned, mirrored, inverted, halved or paled, crossed or struck out, or a disk is laid on one of
its digits; a row a way: what is accepted with the text of the crop as it was, accepted with
another, accepted as a blank, and left to a person.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from digitocr import numbers
from digitocr.recognition.acceptance import Acceptance
from digitocr.settings import Settings
from digitocr.types import Box, Gray

OUTCOMES = ("as it was", "another", "blank", "person")
Spoil = Callable[[Gray, Box, np.random.Generator], Gray]


def drawn(*ends: tuple[float, float, float, float]) -> Spoil:
    """Draw lines over the number, between shares of the width and height of its line."""

    def spoil(gray: Gray, line: Box, rng: np.random.Generator) -> Gray:
        spoiled, shade = gray.copy(), int(np.quantile(gray, 0.01))
        for left, top, right, bottom in ends:
            start = line.left + left * line.width, line.top + top * line.height
            stop = line.left + right * line.width, line.top + bottom * line.height
            a, b = ((round(x), round(y)) for x, y in (start, stop))
            cv2.line(spoiled, a, b, shade, max(2, line.height // 16), cv2.LINE_AA)
        return spoiled

    return spoil


def blotted(gray: Gray, line: Box, rng: np.random.Generator) -> Gray:
    """Lay a disk on a digit, two thirds as high as the line."""
    left, right = line.left + line.height // 2, line.right - line.height // 2
    middle = int(rng.integers(left, max(left + 1, right))), (line.top + line.bottom) // 2
    shade = int(np.quantile(gray, 0.01))
    return cv2.circle(gray.copy(), middle, line.height // 3, shade, -1)


WAYS: dict[str, Spoil] = {
    "as it is": lambda gray, line, rng: gray,
    "inverted": lambda gray, line, rng: 255 - gray,
    "turned by 90": lambda gray, line, rng: np.rot90(gray).copy(),
    "turned by 180": lambda gray, line, rng: np.rot90(gray, 2).copy(),
    "mirrored": lambda gray, line, rng: gray[:, ::-1].copy(),
    "upper half": lambda gray, line, rng: gray[: max(1, len(gray) // 2)].copy(),
    "an eighth as dark": lambda gray, line, rng: np.uint8(255) - (255 - gray) // np.uint8(8),
    "struck out": drawn((0.05, 0.5, 0.95, 0.5)),
    "slashed": drawn((0.0, 1.0, 1.0, 0.0)),
    "crossed out": drawn((0.0, 0.0, 1.0, 1.0), (0.0, 1.0, 1.0, 0.0)),
    "a blot on a digit": blotted,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    with (arguments.folder / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[: arguments.count]
    cv2.setNumThreads(1)
    settings = Settings()
    model, sequence = numbers.load_readers(settings)
    acceptance = Acceptance(settings.accept_digit, settings.accept_field)
    rng = np.random.default_rng(1)
    print(f"{len(rows)} crops{'':16}", *(f"{outcome:>10}" for outcome in OUTCOMES))
    for way, spoil in WAYS.items():
        found = Counter[str]()
        for row in rows:
            gray = cv2.imread(str(arguments.folder / row["file"]), cv2.IMREAD_GRAYSCALE)
            (whole,) = numbers.read_whole([gray], sequence)
            spoiled = spoil(gray, whole.line, rng)
            reading = numbers.read_number(spoiled, model, acceptance, sequence=sequence)
            accepted = "as it was" if reading.text == row["text"] else "another"
            accepted = accepted if reading.text else "blank"
            found[accepted if reading.accepted else "person"] += 1
        print(f"{way:24}", *(f"{found[outcome]:10}" for outcome in OUTCOMES))


if __name__ == "__main__":
    main()
