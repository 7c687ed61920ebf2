"""What a page costs by the chain that tutorials teach, beside digitocr: in one process.

    python tests/bench/naive.py [--rounds N] [--json FILE]

The chain: pdf2image, Sauvola's threshold of scikit-image on the whole page, ORB on the whole
page and a homography, contours in every field, and `model.predict` for every glyph. It reads
what it reads; how much of it is right is printed too. Tesseract reads the same fields where
it is installed. CPU seconds, so that another program beside it does not count.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digitocr import pipeline, resources, scans, templates
from digitocr.forms import fill, values
from digitocr.recognition.classifier import load_model
from digitocr.settings import Settings
from digitocr.templates import FormTemplate
from digitocr.types import Box

DPI = 300
SAMPLES = Path(__file__).parents[2] / "sample_forms"
MODEL = SAMPLES.parent / "models" / "cnn-93k" / "model.keras"

Gray = NDArray[np.uint8]
Texts = dict[str, str]


def cpu_seconds(work: Callable[[], Texts], rounds: int) -> tuple[float, Texts]:
    """Do the work so many times, and once before that does not count; children count."""
    texts = work()
    began = os.times()
    for _ in range(rounds):
        work()
    ended = os.times()
    return sum(
        end - start for start, end in zip(began[:4], ended[:4], strict=True)
    ) / rounds, texts


def naive_reader(form: FormTemplate) -> Callable[[Path], Texts]:
    """Prepare what the chain has once: the network, and ORB's features of the blank form."""
    import keras
    from pdf2image import convert_from_path
    from skimage.filters import threshold_sauvola

    network = keras.models.load_model(MODEL, compile=False)
    sheet = form.pages[0]
    orb = cv2.ORB_create(5000)
    known, described = orb.detectAndCompute(sheet.reference, None)

    def read(file: Path) -> Texts:
        page = np.asarray(convert_from_path(file, dpi=DPI, grayscale=True)[0])
        ink = page < threshold_sauvola(page, window_size=51)
        points, descriptors = orb.detectAndCompute(page, None)
        pairs = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(descriptors, described)
        here = np.float32([points[pair.queryIdx].pt for pair in pairs])
        there = np.float32([known[pair.trainIdx].pt for pair in pairs])
        matrix, _ = cv2.findHomography(here, there, cv2.RANSAC, 5.0)
        size = (sheet.width, sheet.height)
        laid = cv2.warpPerspective(ink.astype(np.uint8), matrix, size)
        return {
            field.name: "".join(map(classify, glyphs(laid, field.box))) for field in form.fields
        }

    def classify(glyph: Gray) -> str:
        rows = network.predict(glyph[None, ..., None] / np.float32(255), verbose=0)
        return str(int(rows[0, :10].argmax()))

    return read


def glyphs(ink: Gray, box: Box) -> list[Gray]:
    """Cut a field at its contours, from left to right, as 28 × 28 with a margin of 4."""
    field = ink[box.top : box.bottom, box.left : box.right]
    contours, _ = cv2.findContours(field, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found: list[Gray] = []
    end = 0  # of the last glyph: what begins before it is a loop of that
    for left, top, width, height in sorted(map(cv2.boundingRect, contours)):
        # A printed box is as high as the field, a speck much lower.
        if left < end or not 0.35 < height / field.shape[0] < 0.85:
            continue
        end = left + width
        side = max(width, height)
        square = np.zeros((side, side), np.uint8)
        y, x = (side - height) // 2, (side - width) // 2
        square[y : y + height, x : x + width] = (
            255 * field[top : top + height, left : left + width]
        )
        found.append(np.pad(cv2.resize(square, (20, 20), interpolation=cv2.INTER_AREA), 4))
    return found


def our_reader() -> Callable[[Path], Texts]:
    forms = templates.load_all(SAMPLES)
    prepared = pipeline.prepare(forms, load_model(resources.default_model()), Settings())

    def read(file: Path) -> Texts:
        with scans.open_scan(file) as scan:
            found = pipeline.read_page(scan.page(1), prepared)
        return {reading.field.name: reading.text for reading in found.readings}

    return read


def tesseract_reader(form: FormTemplate) -> Callable[[Path], Texts]:
    """Ask Tesseract for the digits of every field, cut from the page as it was drawn."""

    def read(file: Path) -> Texts:
        with scans.open_scan(file) as scan, tempfile.TemporaryDirectory() as scratch:
            page = scan.page(1).image
            shrink = page.shape[1] / form.pages[0].width
            texts = {}
            for field in form.fields:
                box = [round(shrink * one) for one in (field.box.top, field.box.bottom)]
                sides = [round(shrink * one) for one in (field.box.left, field.box.right)]
                crop = Path(scratch, "field.png")
                cv2.imwrite(str(crop), page[box[0] : box[1], sides[0] : sides[1]])
                command = ["tesseract", crop, "-", "--psm", "7", "-c"]
                done = subprocess.run(
                    [*command, "tessedit_char_whitelist=0123456789"],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                texts[field.name] = "".join(done.stdout.split())
            return texts

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="add a line to this file")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    form = templates.load(SAMPLES / "clinic-tally")
    rng = np.random.default_rng(1)
    truth = values.draw_values(form, rng)
    readers = {"digitocr": our_reader()}
    if shutil.which("pdftoppm"):
        readers["naive chain"] = naive_reader(form)
    else:
        print("naive chain: left out, pdf2image wants poppler-utils")
    if shutil.which("tesseract"):
        readers["Tesseract, given the fields"] = tesseract_reader(form)
    else:
        print("Tesseract: left out, is not installed")
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "page.pdf")
        image = Image.fromarray(fill.fill(form, truth, rng, dpi=DPI))
        image.save(file, resolution=DPI, quality=85)
        for name, read in readers.items():
            seconds, texts = cpu_seconds(lambda read=read: read(file), asked.rounds)
            right = sum(plain(texts.get(one, "")) == plain(truth[one]) for one in truth)
            figures[name] = {"cpu_s": round(seconds, 3), "right": right, "fields": len(truth)}
    ours = figures["digitocr"]["cpu_s"]
    print(f"{'a filled page, PDF':<30}{'CPU s a page':>14}{'× digitocr':>12}{'right':>10}")
    for name, one in figures.items():
        ratio = f"{one['cpu_s'] / ours:.1f}"
        print(f"{name:<30}{one['cpu_s']:>14.2f}{ratio:>12}{one['right']:>7}/{one['fields']}")
    if asked.json:
        row = {"at": datetime.now(UTC).isoformat(), "machine": platform.platform(), **figures}
        with asked.json.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")


def plain(text: str) -> str:
    return "".join(one for one in text if one.isdigit())


if __name__ == "__main__":
    sys.exit(main())
