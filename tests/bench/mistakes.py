"""Draw the worst mistakes of `digitocr read` on a folder of crops whose truth is known.

    python tests/bench/mistakes.py FOLDER PICTURE [--most N]

FOLDER holds PNG files and truth.csv (file,text). PICTURE shows what was read wrong, the surest
mistake first, each above `truth > read confidence`, with * where it was accepted. The crops of
a data set are not to be committed.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, COLUMNS = 260, 90, 5


def read(files: list[Path]) -> list[dict]:
    command = [sys.executable, "-m", "digitocr.cli", "--quiet", "read", "--format", "jsonl"]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True)
    if done.returncode not in (0, 3):
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def tile(file: Path, caption: str) -> np.ndarray:
    gray = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    scale = min(1.0, (WIDTH - 6) / gray.shape[1], (HEIGHT - 4) / gray.shape[0])
    small = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = np.full((HEIGHT + 18, WIDTH), 200, np.uint8)
    found[: small.shape[0], : small.shape[1]] = small
    cv2.putText(found, caption, (2, HEIGHT + 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 0, 1, 16)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--most", type=int, default=40)
    arguments = parser.parse_args()
    with (arguments.folder / "truth.csv").open(encoding="utf-8") as rows:
        truth = {arguments.folder / row["file"]: row["text"] for row in csv.DictReader(rows)}
    wrong = []
    for file, row in zip(truth, read(list(truth)), strict=True):
        if row.get("text") != truth[file]:
            mark = "*" if row.get("accepted") else ""
            said = f"{truth[file]} > {row.get('text')} {row.get('confidence', 0):.3f}{mark}"
            wrong.append((row.get("confidence", 0.0), file, said))
    wrong.sort(key=lambda one: -one[0])
    tiles = [tile(file, said) for _, file, said in wrong[: arguments.most]]
    if tiles:
        tiles += [np.full_like(tiles[0], 200)] * (-len(tiles) % COLUMNS)
        rows_of = [np.hstack(tiles[at : at + COLUMNS]) for at in range(0, len(tiles), COLUMNS)]
        cv2.imwrite(str(arguments.picture), np.vstack(rows_of))
    print(f"{len(wrong)} of {len(truth)} read wrong; {len(tiles)} tiles in {arguments.picture}")


if __name__ == "__main__":
    main()
