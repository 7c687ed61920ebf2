"""Let the model learn from 300 digits of one foreign domain, and judge it by 300 others.

    DIGITOCR_DATA=… python tests/bench/foreign.py FOLDER [--seeds 1 2 3] [--poisoned SHARE]

The domain is `digits/nsysu_dev.npz`, pencil digits from exam boxes. It is only measured with
everywhere else: this is an experiment, and the models in FOLDER are not to be committed. Each
seed splits the 600 anew and trains anew. `--poisoned` gives a share of what is learned from
wrong labels by one hand, which must not pass.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np

from digitocr import resources, settings
from digitocr.db.corrections import VerifiedGlyph
from digitocr.training import corrections, dataset

GOLD = 0.5


def document(seed: int, index: int, part: str) -> str:
    """Name a document that falls into a part."""
    for salt in range(10_000):
        name = f"foreign-{seed}-{index}-{salt}"
        if (corrections.part_of_document(name, gold=GOLD) == "heldout") is (part == "judge"):
            return name
    raise AssertionError("no such name")


def verified(one: dataset.GlyphSet, seed: int, poisoned: float) -> list[VerifiedGlyph]:
    """Make corrections of a data set: half to learn from, half to judge."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(len(one))
    half = len(one) // 2
    spoiled = set(places[: round(poisoned * half)].tolist())
    found = []
    for place, index in enumerate(places.tolist()):
        label = int(one.labels[index])
        who = ("ana", "ben")  # as after a second look
        if index in spoiled:
            label, who = int((label + rng.integers(1, 10)) % 10), ("eve",)
        elif poisoned:
            who = ("ana",)
        png = cv2.imencode(".png", 255 - one.glyphs[index])[1].tobytes()
        part = "learn" if place < half else "judge"
        found.append(
            VerifiedGlyph(
                index, document(seed, index, part), 1, "digit", 0, label, "", png, who
            )
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--poisoned", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    # Here, and not above: the processes that draw import this file, and need no TensorFlow.
    from digitocr.training import retraining

    found = settings.load()
    one = dataset.load("nsysu-dev", found.data)
    before = after = 0
    for seed in arguments.seeds:
        began = time.monotonic()
        out = arguments.folder / f"foreign-{seed}"
        done = retraining.retrain(
            verified(one, seed, arguments.poisoned),
            resources.default_model(),
            out,
            found,
            gold=GOLD,
            epochs=arguments.epochs,
            seed=seed,
        )
        gold, mnist, junk = (done.figures[name] for name in ("gold", "mnist", "drawn-junk"))
        wrong = [round((1 - side["accuracy"]) * side["digits"]) for side in gold]
        before, after = before + wrong[0], after + wrong[1]
        print(
            json.dumps(
                {
                    "seed": seed,
                    "learned": done.learned,
                    "judged": done.held_out,
                    "wrong": wrong,
                    "accepted": [round(side["accepted"], 4) for side in gold],
                    "log_loss": [round(side["log_loss"], 4) for side in gold],
                    "mnist_right": [round(side["accuracy"], 4) for side in mnist],
                    "junk_refused": [round(side["refused"], 4) for side in junk],
                    "suspicious": done.suspicious,
                    "passed": done.gate.passed,
                    "failures": done.gate.failures,
                    "seconds": round(time.monotonic() - began),
                }
            ),
            flush=True,
        )
    print(f"wrong of all judged: {before} before, {after} after")


if __name__ == "__main__":
    main()
