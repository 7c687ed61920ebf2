"""What a folder costs: pages a second, CPU a page and peak memory of `digitocr process`.

    python tests/bench/folder.py [--pages N]

The same filled form at 300 dpi, gray JPEG, N times with another corner, so that each file is
another document. Start-up is in the times. With one worker process, then with two.
"""

import argparse
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
    for number in range(count):
        page[:16, :16], page[:16, 16:32] = divmod(number, 16)[0] * 8, number % 16 * 8
        Image.fromarray(page).save(folder / f"{number:04d}.jpg", quality=85, dpi=(DPI, DPI))


def measure(scans: Path, workers: int, count: int) -> None:
    database = f"sqlite:///{scans.parent / f'{workers}.db'}"
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
        f"{workers} worker(s): {seconds:.1f} s, {count / seconds:.1f} pages/s, "
        f"{cpu / count:.2f} s CPU a page, {usage.ru_maxrss / 1024:.0f} MB a process at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=100)
    count = parser.parse_args().pages
    with tempfile.TemporaryDirectory() as scratch:
        scans = Path(scratch, "scans")
        scans.mkdir()
        save_copies(scans, count)
        for workers in (1, 2):
            measure(scans, workers, count)


if __name__ == "__main__":
    main()
