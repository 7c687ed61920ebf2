"""What a page costs, by kind of file, stage and rung of registration: CPU milliseconds.

    python tests/bench/pages.py [--rounds N]

A filled form of 17 fields at 300 dpi is saved in every kind, read again and again, and the
middle of the times is printed. Then what `process` does with a page, which asks the sequence
network too: of that form, and of one of 40 fields of 6 digits. Then the first form is found
by its page code, by anchors, and by its print alone. The ratios hold on any machine; the
milliseconds on this one.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from stress import draw_dense

from digitocr import pipeline, resources, scans, templates
from digitocr.forms import fill, values
from digitocr.imaging import codes, isolation, registration
from digitocr.imaging.landmarks import view_of
from digitocr.imaging.prints import print_of
from digitocr.numbers import load_readers
from digitocr.recognition.classifier import load_model
from digitocr.settings import Settings
from digitocr.types import Document, Page, RegisteredPage

DPI = 300
SAMPLES = Path(__file__).parents[2] / "sample_forms"


def middle_ms(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return 1000 * statistics.median(times)


def save_all(folder: Path) -> list[Path]:
    form = templates.load(SAMPLES / "clinic-tally")
    rng = np.random.default_rng(1)
    image = Image.fromarray(fill.fill(form, values.draw_values(form, rng), rng, dpi=DPI))
    dpi = (DPI, DPI)
    image.save(folder / "page.jpg", quality=85, dpi=dpi)
    image.save(folder / "page.png", dpi=dpi)
    image.convert("1").save(folder / "page.tif", compression="group4", dpi=dpi)
    image.save(folder / "page.webp", quality=85)
    image.save(folder / "page.pdf", resolution=DPI, quality=85)
    return sorted(folder.iterdir())


def as_processed(rounds: int) -> dict[str, tuple[float, float]]:
    """Measure decoding a page and reading it with both readers, in milliseconds."""
    settings = Settings(recognizer="none")
    model, sequence = load_readers(settings)
    found = {}
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as scratch:
        tally, dense = templates.load(SAMPLES / "clinic-tally"), draw_dense(Path(scratch, "f"))
        texts = {one.name: "".join(rng.choice(list("0123456789"), 6)) for one in dense.fields}
        for form, said in ((tally, values.draw_values(tally, rng)), (dense, texts)):
            file = Path(scratch, "page.jpg")
            image = Image.fromarray(fill.fill(form, said, rng, dpi=DPI))
            image.save(file, quality=85, dpi=(DPI, DPI))
            reader = replace(pipeline.prepare([form], model, settings), sequence=sequence)

            def decode(file: Path = file) -> Page:
                with scans.open_scan(file) as scan:
                    return scan.page(1)

            page = decode()
            read = pipeline.read_page(page, reader)
            if len(read.readings) != len(form.fields):
                sys.exit(f"{form.name}: was not read: {read.status} {read.cause}")
            reading = middle_ms(lambda p=page, r=reader: pipeline.read_page(p, r), rounds)
            found[f"{len(form.fields)} fields"] = middle_ms(decode, rounds), reading
    return found


def rungs(rounds: int) -> dict[str, float]:
    """Measure what each way of finding a page costs, in milliseconds a page."""
    tally, school = (templates.load(SAMPLES / n) for n in ("clinic-tally", "school-register"))
    rng = np.random.default_rng(1)
    image, aruco = (
        fill.fill(form, values.draw_values(form, rng), rng, dpi=DPI) for form in (tally, school)
    )
    template = tally.page(1)
    bare = replace(template, anchors=())
    plain, covered = image.copy(), image.copy()
    for number, anchor in enumerate(template.anchors):
        x, y, half = (round(v * DPI / template.dpi) for v in (*anchor.center, anchor.size))
        part = slice(y - half, y + half), slice(x - half, x + half)
        plain[part] = 255
        if number == 0:
            covered[part] = 255
    boxes = tuple(field.box for field in tally.fields)
    prepared, by_print = registration.prepare(template), registration.prepare(bare)
    coded = registration.prepare(school.page(1))

    def page(picture: np.ndarray) -> Page:
        return Page(Document("0" * 64, 1), 1, picture, float(DPI))

    def laid(picture: np.ndarray, reference: registration.Reference) -> RegisteredPage:
        return registration.register(page(picture), [reference], max_residual_mm=0.8)

    found = laid(image, prepared)
    view = view_of(image)
    prints = {box: known for box in boxes if (known := print_of(template, box)) is not None}
    sheet = isolation.spread(found, boxes, prints)
    bent = isolation.spread(replace(found, residual=template.dpi / 100), boxes, prints)
    ways: dict[str, Callable[[], object]] = {
        "page code sought": lambda: codes.find_page_codes(image),
        "ArUco anchors": lambda: laid(aruco, coded),
        "squares": lambda: laid(image, prepared),
        "squares, one of them covered": lambda: laid(covered, prepared),
        "print alone (features)": lambda: laid(plain, by_print),
        "of these: blocks of print": lambda: registration.refine(
            view, prepared, found.homography
        ),
        "17 fields, each by its own print": lambda: [
            isolation.isolate(sheet, field) for field in tally.fields
        ],
        "17 fields of a page that is bent": lambda: [
            isolation.isolate(bent, field) for field in tally.fields
        ],
    }
    return {name: middle_ms(way, rounds) for name, way in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    forms = templates.load_all(SAMPLES)
    model = load_model(resources.default_model())
    reader = pipeline.prepare(forms, model, Settings())
    print(f"{platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}")
    print(f"{len(forms)} forms known; 17 fields on the page; {DPI} dpi; middle of {rounds}")
    print(f"{'file':<12}{'decode':>9}{'register':>10}{'read':>9}{'all':>9}{'all/decode':>12}")
    with tempfile.TemporaryDirectory() as scratch:
        for file in save_all(Path(scratch)):

            def decode(file: Path = file) -> Page:
                with scans.open_scan(file) as scan:
                    return scan.page(1)

            page = decode()
            reading = pipeline.read_page(page, reader)
            if len(reading.readings) != 17:
                sys.exit(f"{file.name}: was not read: {reading.status} {reading.cause}")
            decoding = middle_ms(decode, rounds)
            registering = middle_ms(
                lambda page=page: registration.register(
                    page, reader.references, max_residual_mm=reader.max_residual_mm
                ),
                rounds,
            )
            whole = middle_ms(lambda page=page: pipeline.read_page(page, reader), rounds)
            total = decoding + whole
            print(
                f"{file.name:<12}{decoding:>7.0f} ms{registering:>7.0f} ms"
                f"{whole - registering:>6.0f} ms{total:>6.0f} ms{total / decoding:>12.1f}"
            )
    print("\nwith the sequence network, as `process` reads:")
    for name, (decoding, reading) in as_processed(rounds).items():
        total = decoding + reading
        print(
            f"{name:<12}{decoding:>7.0f} ms{'':>10}{reading:>6.0f} ms{total:>6.0f} ms"
            f"{total / decoding:>12.1f}"
        )
    print("\none form known, the page found by:")
    for name, cost in rungs(rounds).items():
        print(f"{name:<34}{cost:>6.0f} ms")


if __name__ == "__main__":
    main()
