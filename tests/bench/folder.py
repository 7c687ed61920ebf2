"""What a folder costs: pages a second, CPU a page and peak memory of `digitocr process`.

    python tests/bench/folder.py [--pages N] [--growth]

The same filled form at 300 dpi, gray JPEG, N times with another comment, so that each file is
another document. Start-up is in the times. With one worker process, then with two; or, to see
how it grows, N, 10 N and 100 N pages with two.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from digitocr import templates
from digitocr.forms import fill, values

DPI = 300
SAMPLES = Path(__file__).parents[2] / "sample_forms"


def save_copies(folder: Path, count: int) -> None:
    form = templates.load(SAMPLES / "clinic-tally")
    rng = np.random.default_rng(1)
    page = fill.fill(form, values.draw_values(form, rng), rng, dpi=DPI)
    encoded = io.BytesIO()
    Image.fromarray(page).save(encoded, "JPEG", quality=85, dpi=(DPI, DPI))
    start, rest = encoded.getvalue()[:2], encoded.getvalue()[2:]
    for number in range(count):
        comment = b"\xff\xfe\x00\x08%06d" % number  # a segment of JPEG, of eight bytes
        (folder / f"{number:06d}.jpg").write_bytes(start + comment + rest)


def measure(scans: Path, workers: int, count: int) -> None:
    database = f"sqlite:///{scans.parent / f'{workers}-{count}.db'}"
    command = [sys.executable, "-m", "digitocr.cli", "process", str(scans), "--quiet"]
    command += ["--forms", str(SAMPLES), "--database", database, "--workers", str(workers)]
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    if status:
        sys.exit(f"process left with {os.waitstatus_to_exitcode(status)}")
    cpu = usage.ru_utime + usage.ru_stime
    print(
        f"{count} pages, {workers} worker(s): {seconds:.1f} s, {count / seconds:.1f} pages/s, "
        f"{cpu / count:.2f} s CPU a page, {usage.ru_maxrss / 1024:.0f} MB a process at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=100)
    parser.add_argument("--growth", action="store_true", help="N, 10 N and 100 N pages")
    arguments = parser.parse_args()
    few = arguments.pages
    runs = [(count, 2) for count in (few, 10 * few, 100 * few)]
    if not arguments.growth:
        runs = [(few, 1), (few, 2)]
    for count, workers in runs:
        with tempfile.TemporaryDirectory() as scratch:
            scans = Path(scratch, "scans")
            scans.mkdir()
            save_copies(scans, count)
            measure(scans, workers, count)


if __name__ == "__main__":
    main()
