"""What a page costs, by kind of file and by stage: CPU milliseconds, and ratios to decoding.

    python tests/bench/pages.py [--rounds N]

A filled form of 17 fields at 300 dpi is saved in every kind, read again and again, and the
middle of the times is printed. The ratios hold on any machine; the milliseconds on this one.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from digitocr import pipeline, resources, scans, templates
from digitocr.forms import fill, values
from digitocr.imaging import registration
from digitocr.recognition.classifier import load_model
from digitocr.settings import Settings
from digitocr.types import Page

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


if __name__ == "__main__":
    main()
