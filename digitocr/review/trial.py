"""Try it: a digit that is drawn, or a picture of a number, read at once.

Nothing is kept, unless somebody says of a digit what it is and keeps it to learn from.
"""

from __future__ import annotations

import base64
import io
import threading
import time
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from PIL import Image, ImageOps, UnidentifiedImageError
from starlette.concurrency import run_in_threadpool

from digitocr.db import corrections, schema
from digitocr.review import desk as desks
from digitocr.review import pictures
from digitocr.review.desk import AtDesk, Desk, Reviewer
from digitocr.review.words import in_words
from digitocr.types import Gray, Reading

router = APIRouter()
MOST_BYTES = 10_000_000
MOST_PIXELS = 40_000_000
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
KEPT_SIZE = 128  # pixels of the longer side of a digit that is kept
LONGEST = 1600  # pixels of the longer side that are read
_once = threading.Lock()
_loaded: dict[str, Any] = {}


class PictureError(ValueError):
    """What was sent is no picture that is taken; the words are for the person."""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What both readers say: of one digit all ten bars, and of a number its reading."""

    bars: tuple[tuple[str, float], ...]
    seen: str  # the 28 × 28 that the classifier saw, PNG, base64
    reading: Reading
    is_digit: bool
    ms: float


@router.get("/try")
def trial(request: Request) -> HTMLResponse:
    """Show the pad."""
    return desks.page(request, "try.html")


@router.post("/try/digit")
async def digit(request: Request, desk: AtDesk) -> Response:
    """Read what was drawn or sent as one digit, and as a number."""
    return await _answer(request, desk)


@router.post("/try/keep")
async def keep(
    request: Request,
    desk: AtDesk,
    reviewer: Reviewer,
    label: Annotated[int, Query(ge=0, le=10)],
) -> Response:
    """Keep a picture of one digit to learn from: of what it is, 10 for not a digit."""
    data = await request.body()
    try:
        gray = await run_in_threadpool(decode, data)
    except PictureError as error:
        return desks.refuse(str(error))
    kept = await run_in_threadpool(_keep, gray, label, reviewer, desk)
    return JSONResponse({"kept": kept})


def _keep(gray: Gray, label: int, reviewer: str, desk: Desk) -> int:
    """Keep a picture, small; give how many are kept by now."""
    read = max(_read(gray, desk).bars, key=lambda bar: bar[1])[0]
    scale = min(1.0, KEPT_SIZE / max(gray.shape))
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    small = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
    with schema.writing(desk.engine) as session:
        corrections.keep_sample(
            session, pictures.png(small), label, read, by=reviewer, now=desk.now()
        )
        return corrections.samples_kept(session)


@router.get("/try/seen.png")
def seen(data: str = "") -> Response:
    """Give back the picture a page was told of: pages load no pictures out of themselves."""
    try:
        raw = base64.urlsafe_b64decode(data)
    except ValueError:
        return Response(status_code=404)
    if len(raw) != 28 * 28:
        return Response(status_code=404)
    _, encoded = cv2.imencode(".png", np.frombuffer(raw, np.uint8).reshape(28, 28))
    return Response(encoded.tobytes(), media_type="image/png")


async def _answer(request: Request, desk: Desk) -> Response:
    data = await request.body()
    try:
        gray = await run_in_threadpool(decode, data)
    except PictureError as error:
        return desks.refuse(str(error))
    tried = await run_in_threadpool(_read, gray, desk)
    return desks.page(
        request,
        "tried.html",
        tried=tried,
        reasons=[in_words(reason) for reason in tried.reading.reasons],
    )


def decode(data: bytes) -> Gray:
    """Open a picture that somebody sent, and nothing else, as gray on white.

    Raises
    ------
    PictureError
        If it is none, of a kind that is not taken, or too large.
    """
    if not data:
        raise PictureError("That is empty: choose a picture.")
    if len(data) > MOST_BYTES:
        raise PictureError("That is larger than 10 MB: choose a smaller picture.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise PictureError(
                    f"That has {width} × {height} pixels, which is too large: crop it first."
                )
            image.draft("L", (LONGEST, LONGEST))
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("RGBA", "LA", "PA", "P"):
                upright = upright.convert("RGBA")
                white = Image.new("RGBA", upright.size, "white")
                white.alpha_composite(upright)
                upright = white
            gray = upright.convert("L")
            gray.thumbnail((LONGEST, LONGEST))
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError("That has too many pixels, which is too large: crop it.") from error
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
    ) as error:
        raise PictureError(
            "That is no picture that can be read: PNG, JPEG, TIFF, BMP or WebP."
        ) from error
    return np.asarray(gray, np.uint8).copy()


def _read(gray: Gray, desk: Desk) -> Tried:
    # The readers bring LiteRT, for which starting need not wait.
    from digitocr.db import promotions
    from digitocr.imaging.normalization import ink_intensity, normalize
    from digitocr.numbers import load_readers, read_number
    from digitocr.recognition.acceptance import Acceptance
    from digitocr.recognition.classifier import DIGITS, classify_glyphs

    with schema.reading(desk.engine) as session:
        settings = promotions.with_promoted(session, desk.settings)
    with _once:
        if settings.model not in _loaded:  # another was promoted since, or none is loaded yet
            _loaded.clear()
            _loaded[settings.model] = load_readers(settings)
        model, sequence = _loaded[settings.model]
        started = time.perf_counter()
        glyph = normalize(ink_intensity(gray))
        row = classify_glyphs([glyph], model)[0]
        acceptance = Acceptance(desk.settings.accept_digit, desk.settings.accept_field)
        reading = read_number(gray, model, acceptance, sequence=sequence)
        ms = 1000 * (time.perf_counter() - started)
    pixels = np.clip(np.rint(glyph * 255), 0, 255).astype(np.uint8)
    other = float(row[len(DIGITS)]) if len(row) > len(DIGITS) else 0.0
    return Tried(
        bars=tuple((name, float(row[i])) for i, name in enumerate(model.card.classes)),
        seen=base64.urlsafe_b64encode(pixels.tobytes()).decode(),
        reading=reading,
        is_digit=other <= 0.8,
        ms=ms,
    )
