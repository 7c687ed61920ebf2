"""What `digitocr` accepts of numbers that were spoiled in ways nothing is trained on.

    python tests/bench/spoiled.py FOLDER [--count N] [--pages N]

FOLDER has crops and their truth.csv (file,text), from `tests/bench/composed.py`. Each crop is
turned, mirrored, inverted, halved or paled, crossed or struck out, or a disk is laid on one of
its digits; a row a way: what is accepted with the text of the crop as it was, accepted with
another, accepted as a blank, and left to a person. Then the sample forms are filled, and the
numbers of two digits and more in their fields struck out, level and slanting.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from digitocr import numbers, pipeline, resources, synth, templates
from digitocr.forms.fill import fill
from digitocr.forms.values import draw_values
from digitocr.recognition.acceptance import Acceptance
from digitocr.recognition.classifier import Model
from digitocr.recognition.sequence import SequenceModel
from digitocr.settings import Settings
from digitocr.templates import NOT_WRITTEN
from digitocr.types import Box, Document, Gray, Page

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


def struck_pages(
    pages: int, slant: float | None, readers: tuple[Model, SequenceModel | None]
) -> Counter[str]:
    """Count what is accepted of fields that were struck out; with no slant, as they are.

    `slant`: of the line, at most so much of the height of the digits to either side.
    """
    found = Counter[str]()
    forms = templates.load_all(resources.folder("sample_forms"))
    reader = pipeline.prepare(forms, readers[0], Settings())
    reader = replace(reader, sequence=readers[1])
    rng = np.random.default_rng(5)
    for number in range(pages):
        form = forms[number % len(forms)]
        values = draw_values(form, rng)
        blank, drawn = fill(form, {}, rng, void_share=0.0), fill(form, values, rng).copy()
        struck = set()
        for field in form.fields_of(1):
            box = field.box
            inside = slice(box.top, box.bottom), slice(box.left, box.right)
            written = blank[inside].astype(int) - drawn[inside] > 60
            rows, columns = np.flatnonzero(written.any(1)), np.flatnonzero(written.any(0))
            if field.kind in NOT_WRITTEN or len(values.get(field.name, "")) < 2:
                continue
            struck.add(field.name)
            if slant is None:
                continue
            high = int(np.ptp(rows))
            middle = box.top + rows[0] + high * rng.uniform(0.4, 0.6)
            tilt, room = high * rng.uniform(-slant, slant), 0.05 * high
            ends = (columns[0] - room, middle - tilt), (columns[-1] + room, middle + tilt)
            a, b = ((round(box.left + x), round(y)) for x, y in ends)
            cv2.line(drawn, a, b, 30, max(2, high // 14), cv2.LINE_AA)
        page = Page(Document("", 1), 1, synth.scan_like(drawn, rng, strength=0.4), None)
        for one in pipeline.read_page(page, reader).readings:
            if one.field.name in struck:
                same = one.text == values[one.field.name]
                accepted = ("as it was" if same else "another") if one.text else "blank"
                found[accepted if one.accepted else "person"] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--pages", type=int, default=24)
    arguments = parser.parse_args()
    with (arguments.folder / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[: arguments.count]
    cv2.setNumThreads(1)
    settings = Settings()
    model, sequence = readers = numbers.load_readers(settings)
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
    print(f"{'fields of forms':24}", *(f"{outcome:>10}" for outcome in OUTCOMES))
    for way, slant in (("as they are", None), ("struck out", 0.0), ("slanting", 0.15)):
        found = struck_pages(arguments.pages, slant, readers)
        print(f"{way:24}", *(f"{found[outcome]:10}" for outcome in OUTCOMES))


if __name__ == "__main__":
    main()
