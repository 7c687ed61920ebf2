"""Pictures for the pages: one for all digits of a claim, and pages laid onto their form.

The picture of a claim holds its digits in squares of `TILE` pixels, `COLUMNS` in a row, in the
order of the claim's cells. JPEG works on blocks of 8 × 8 pixels, of which a square holds whole
ones: nothing of one digit bleeds into the next.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from digitocr import scans
from digitocr.db import review, schema
from digitocr.errors import DigitocrError
from digitocr.settings import Settings
from digitocr.types import Box, FieldStatus, Gray

TILE = 56
COLUMNS = 20
MARGIN = 2
JPEG_QUALITY = 88
KEPT_PAGES = 12
KEPT_SCANS = 3  # whole scans, for zooming into
MOST_SCALE = 4
PAPER = 255
T = TypeVar("T")


def tile(crop: bytes | None) -> Gray:
    """Make the square of one digit: its crop, as large as fits, in the middle."""
    square = np.full((TILE, TILE), PAPER, np.uint8)
    gray = _decoded(crop)
    if gray is None:
        cv2.line(square, (8, 8), (TILE - 9, TILE - 9), 170, 1)
        return square
    h, w = gray.shape
    room = TILE - 2 * MARGIN
    scale = min(room / h, room / w, 2.0)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small = cv2.resize(
        gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    top, left = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = small
    return square


def sprite(crops: Sequence[bytes | None]) -> bytes:
    """Make the one picture (JPEG) of all digits of a claim."""
    rows = max(1, -(-len(crops) // COLUMNS))
    sheet = np.full((rows * TILE, COLUMNS * TILE), PAPER, np.uint8)
    for place, crop in enumerate(crops):
        top, left = place // COLUMNS * TILE, place % COLUMNS * TILE
        sheet[top : top + TILE, left : left + TILE] = tile(crop)
    _, encoded = cv2.imencode(".jpg", sheet, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    return encoded.tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class PagePicture:
    """A page in template pixels, or why there is none."""

    image: Gray | None
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """A page as scanned, and how it comes to lie on its form."""

    image: Gray
    homography: NDArray[np.float64]
    width: int
    height: int


class PagePictures:
    """Pages laid onto their form, the last few kept."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine, self.settings = engine, settings
        self._pages: OrderedDict[int, PagePicture] = OrderedDict()
        self._scans: OrderedDict[int, _Scan | str] = OrderedDict()
        self._lock = threading.Lock()

    def picture(self, page_id: int) -> PagePicture:
        """Give a page as it lies on its form; a scan is believed only by its hash."""
        return self._kept(self._pages, KEPT_PAGES, page_id, self.region)

    def region(self, page_id: int, box: Box | None = None, scale: int = 1) -> PagePicture:
        """Give a part of a page, so many times as large as its form: what the scan holds.

        Parameters
        ----------
        box
            In template pixels; None: the whole page.
        """
        scan = self._kept(self._scans, KEPT_SCANS, page_id, self._open)
        if isinstance(scan, str):
            return PagePicture(None, scan)
        part = box or Box(0, 0, scan.width, scan.height)
        to_part = np.array([[scale, 0, -scale * part.left], [0, scale, -scale * part.top],
                            [0, 0, 1]], np.float64)  # fmt: skip
        lying = cv2.warpPerspective(
            scan.image,
            to_part @ scan.homography,
            (scale * part.width, scale * part.height),
            flags=cv2.INTER_AREA if scale == 1 else cv2.INTER_CUBIC,
            borderValue=PAPER,
        )
        return PagePicture(np.asarray(lying, np.uint8))

    def _kept(
        self, kept: OrderedDict[int, T], most: int, page_id: int, make: Callable[[int], T]
    ) -> T:
        with self._lock:
            if page_id in kept:
                kept.move_to_end(page_id)
                return kept[page_id]
        made = make(page_id)
        with self._lock:
            kept[page_id] = made
            while len(kept) > most:
                kept.popitem(last=False)
        return made

    def _open(self, page_id: int) -> _Scan | str:
        """Open the scan of a page, or say why that cannot be."""
        with schema.reading(self.engine) as session:
            page = review.page(session, page_id)
            stored = review.page_image(session, page_id)
        if page is None or page.homography is None:
            return "This page is not in the database any more."
        if any(field.status is FieldStatus.PURGED for field in page.fields):
            return "What was read on this page was purged, and its scan is not shown."
        if stored is not None:
            scanned = _decoded(stored)
        else:
            try:
                scanned = self._scan(page)
            except _NoScanError as error:
                return str(error)
        if scanned is None:
            return "The picture of the page cannot be opened."
        homography = np.asarray(page.homography, np.float64)
        return _Scan(scanned, homography, page.width, page.height)

    def _scan(self, page: review.PageView) -> Gray:
        path = Path(page.source)
        if not path.is_file():
            raise _NoScanError(
                f"The scan {page.source} is not where it was read from; start "
                "`digitocr review` in the folder where `process` ran, or process with "
                "--keep-pages."
            )
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != page.document:
            raise _NoScanError(
                f"The file {page.source} has changed since it was read, so it is not shown."
            )
        try:
            with scans.open_scan(
                path,
                renderer=self.settings.pdf_renderer,
                max_megapixels=self.settings.max_megapixels,
            ) as scan:
                return scan.page(page.number).image
        except DigitocrError as error:
            raise _NoScanError(f"The scan cannot be opened: {error}") from error


class _NoScanError(Exception):
    pass


def webp(image: Gray, *, quality: int = 70) -> bytes:
    """Encode a picture for the browser."""
    _, encoded = cv2.imencode(".webp", image, (cv2.IMWRITE_WEBP_QUALITY, quality))
    return encoded.tobytes()


def png(image: Gray) -> bytes:
    """Encode a small picture without loss."""
    _, encoded = cv2.imencode(".png", image, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    return encoded.tobytes()


def _decoded(data: bytes | None) -> Gray | None:
    if not data:
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if image is None else np.asarray(image, np.uint8)
