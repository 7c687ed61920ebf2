"""Write composed crops to measure `digitocr read` on: numbers, and crops that hold none.

    python tests/bench/composed.py FOLDER [--count N] [--nones N] [--seed S]

FOLDER/composed: MNIST's test digits in one writer's hand, 2 to 10 of them, touching in four of
ten numbers, on fairly clean paper. FOLDER/none: paper, rules, boxes, crosses, words, scribbles
and cut-off writing without a number, of text "". Each folder has PNG files and a truth.csv
(file,text). The data sets are found by DIGITOCR_DATA; the pictures are not to be committed.
Not called numbers.py: numpy would take a file of that name beside a script for Python's own.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import cv2

from digitocr import settings
from digitocr.training.composition import numbers
from digitocr.training.composition.numbers import Composed


def write_set(folder: Path, crops: Sequence[Composed]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "text"))
        for index, crop in enumerate(crops):
            name = f"{index:05}.png"
            cv2.imwrite(str(folder / name), crop.image)
            rows.writerow((name, crop.text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--nones", type=int, default=numbers.NONES)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    composed, nones = numbers.testing_set(
        settings.load().data, arguments.count, arguments.seed, nones=arguments.nones
    )
    folders = arguments.folder / "composed", arguments.folder / "none"
    for folder, crops in zip(folders, (composed, nones), strict=True):
        write_set(folder, crops)
    touching = sum(crop.touching for crop in composed)
    print(
        f"{len(composed)} numbers, digits touch in {touching}, and {len(nones)} crops of none"
    )
    print("score them with")
    print(
        f"python ../shared/bench/score_strings.py --digitocr digitocr {folders[0]} {folders[1]}"
    )


if __name__ == "__main__":
    main()
