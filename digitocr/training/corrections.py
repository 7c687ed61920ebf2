"""Corrections → a set to learn from: parted by document, doubtful labels set aside.

Each crop takes the one way to the classifier (`ink_intensity`, `normalize`). Which part a
document is in follows from its hash: a document that is held out is held out for good, in
every later training as well, and no glyph of it is ever learned from.

A label is suspicious where the model in use is sure of something else. It may be the model's
fault, and then it is worth the most; it may be a slip, and then learning it is what must not
happen. So it is neither learned from nor measured with until a second person says the same.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.db.corrections import VerifiedGlyph
from digitocr.imaging.normalization import SIZE, ink_intensity, normalize_all
from digitocr.training.dataset import GlyphSet
from digitocr.types import Classify

NAME = "corrections"
CANVAS = 64  # pixels: what is learned from is spoiled at 11 to 52
VALIDATION_SHARE = 0.08  # of the documents that are not held out
AGREEING = 2  # people whose word stands against a sure model

Intensity = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Corrections ready to be learned from and measured with.

    `data` holds all that had ink, with its parts: train, validation, heldout, and `suspicious`.
    `images` are the same as the classifier sees them; `verified` the rows of the database.
    """

    data: GlyphSet
    images: NDArray[np.float32]
    verified: tuple[VerifiedGlyph, ...]

    def count(self, part: str) -> int:
        return int((self.data.parts == part).sum())

    def documents(self, part: str) -> int:
        """Count the documents of a part."""
        rows = np.flatnonzero(self.data.parts == part)
        return len({self.verified[row].document for row in rows})

    def images_of(self, part: str) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.images[self.data.parts == part]
        return found

    def suspicious(self) -> tuple[VerifiedGlyph, ...]:
        """List what is set aside for a second look."""
        rows = np.flatnonzero(self.data.parts == "suspicious")
        return tuple(self.verified[row] for row in rows)


def prepare(
    verified: Sequence[VerifiedGlyph], classify: Classify, *, gold: float, sure: float
) -> Lessons:
    """Bring corrections to what the classifier sees, part them, and set doubtful ones aside.

    Parameters
    ----------
    classify
        The model in use.
    gold : float
        Share of the documents that is held out.
    sure : float
        From this confidence on the model is sure.
    """
    inks, images, kept = [], [], []
    seen: set[tuple[int, bytes]] = set()
    for one in verified:
        ink = ink_of(one.crop)
        if ink is None or (one.label, one.crop) in seen:
            continue  # nothing to see, or the same page read twice
        seen.add((one.label, one.crop))
        inks.append(on_canvas(ink))
        images.append(normalize_all([ink])[0])
        kept.append(one)
    labels = np.array([one.label for one in kept], np.int64)
    pictures = np.stack(images) if images else np.zeros((0, SIZE, SIZE), np.float32)
    rows = classify(pictures) if images else np.zeros((0, 1), np.float32)
    doubted = (rows.max(axis=1, initial=0.0) >= sure) & (rows.argmax(axis=1) != labels)
    agreed = np.array([len(one.reviewers) >= AGREEING for one in kept], np.bool_)
    parts = np.array([part_of_document(one.document, gold=gold) for one in kept], "<U10")
    parts[doubted & ~agreed] = "suspicious"
    data = GlyphSet(
        NAME,
        np.stack(inks) if inks else np.zeros((0, CANVAS, CANVAS), np.uint8),
        labels,
        parts,
        f"corrections of {len({one.document for one in kept})} documents of its own database",
    )
    return Lessons(data, pictures, tuple(kept))


def part_of_document(sha256: str, *, gold: float) -> str:
    """Say which part a document is in: the same for ever, for the same share of gold."""
    digest = hashlib.sha256(f"gold {sha256}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    if share < gold:
        return "heldout"
    return "validation" if share > 1.0 - VALIDATION_SHARE * (1.0 - gold) else "train"


def ink_of(crop: bytes) -> Intensity | None:
    """Find the ink of a stored crop; None where there is none."""
    encoded = np.frombuffer(crop, np.uint8)
    gray = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if len(encoded) else None
    if gray is None or not gray.size:
        return None
    ink = ink_intensity(np.asarray(gray, np.uint8))
    return ink if ink.any() else None


def on_canvas(ink: Intensity) -> Intensity:
    """Put ink on the canvas, as large as it is, or shrunken to fit."""
    left, top, width, height = cv2.boundingRect(ink)
    cut = ink[top : top + height, left : left + width]
    scale = CANVAS / max(width, height)
    if scale < 1.0:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        cut = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)
    canvas: Intensity = np.zeros((CANVAS, CANVAS), np.uint8)
    canvas[: cut.shape[0], : cut.shape[1]] = cut
    return canvas


def write_suspicious(listed: Sequence[VerifiedGlyph], file: Path) -> None:
    """Write where the labels stand that want a second look."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ("document", "page", "field", "position", "said", "read", "reviewers", "glyph")
        )
        for one in listed:
            said = "other" if one.label > 9 else str(one.label)
            who = "; ".join(one.reviewers)
            place = (one.document, one.page, one.field, one.position + 1)
            writer.writerow((*place, said, one.read, who, one.id))
