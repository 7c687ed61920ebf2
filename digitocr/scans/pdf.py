"""PDF → gray pictures: the scan inside a page as it is, or the page drawn.

A page that is one embedded scan is taken at the scan's own resolution: 20 ms instead of 150,
and nothing is resampled. Any other page (several images, masks, visible text or lines,
annotations such as pen ink, a turned or partial image) is drawn at 300 dpi. Invisible text,
which OCR puts behind a scan, does not count.

PDFium is not thread-safe: every call to it is made under one lock. Processes share nothing.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import math
import re
import threading
from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
import pdf2image
import pypdfium2
from numpy.typing import NDArray
from pdf2image.exceptions import (
    PDFInfoNotInstalledError,
    PDFPageCountError,
    PDFPopplerTimeoutError,
    PDFSyntaxError,
)
from pypdfium2 import raw

from digitocr.errors import ScanError
from digitocr.scans.pictures import Picture, decode_jpeg, no_bound_of_pillow, refuse_large
from digitocr.types import Gray

DRAWN_DPI = 300.0
POINTS_AN_INCH = 72.0
# How far, as a share of its side, a scan may fall short of its page or reach over it.
EDGE = 0.02
POPPLER_TIMEOUT_S = 120
# Darker is ink; more of it than this is no dirt on the back of a sheet.
INK, LEAST_INK = 128, 0.002

# A stream's dictionary always stands in the open, so these are found without a parser.
MASK = re.compile(rb"/(?:SMask|Mask|ImageMask)\b(?!\s*/None|\s+false)")
DECODE = re.compile(rb"/Decode\b")
IMAGE = re.compile(rb"/Subtype\s*/Image\b")
LINEARIZED = re.compile(rb"/Linearized\b[^>]*?/L\s+(\d+)")
PLAIN_COLORS = (
    raw.FPDF_COLORSPACE_DEVICEGRAY,
    raw.FPDF_COLORSPACE_DEVICERGB,
    raw.FPDF_COLORSPACE_CALGRAY,
    raw.FPDF_COLORSPACE_CALRGB,
    raw.FPDF_COLORSPACE_ICCBASED,
)
DAMAGED = "is damaged; save or scan it again"
# PDFium passes over what it cannot understand, and a scan would then pass for a blank page. An
# empty page among scans, as some scanners leave of a blank back, has no picture in the file.
LOST = "shows nothing of the pictures in the file; save or scan it again"

_pdfium = threading.RLock()
logging.getLogger("pypdfium2").setLevel(logging.CRITICAL)

Renderer = Literal["pdfium", "poppler"]


def is_pdf(data: bytes) -> bool:
    """Tell a PDF by its mark, which may have up to a kilobyte before it."""
    return b"%PDF-" in data[:1024]


def open_pdf(
    data: bytes, renderer: Renderer, most_pixels: int, *, color: bool = False
) -> tuple[int, Callable[[int], Picture], Callable[[], None]]:
    """Open a PDF: its number of pages, what decodes one of them, and what closes it."""
    _refuse_cut(data)
    masked, remapped = bool(MASK.search(data)), bool(DECODE.search(data))
    images = sum(1 for _ in IMAGE.finditer(data))
    try:
        with _pdfium:
            document = pypdfium2.PdfDocument(data)
            page_count = len(document)
            if document.get_formtype() != raw.FORMTYPE_NONE:
                document.init_forms()  # what is typed into its fields is drawn too
    except pypdfium2.PdfiumError as error:
        # PDFium's code may be that of the file before: one without pages sets none.
        locked = error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY)
        if locked and b"/Encrypt" in data:
            raise ScanError("is encrypted; save it without a password") from error
        raise ScanError("is damaged or has no pages; save or scan it again") from error

    @functools.cache
    def all_load() -> bool:
        return _all_load(data)

    def decode(number: int) -> Picture:
        try:
            with _pdfium:
                page = document[number - 1]
                try:
                    _refuse_large_images(page, most_pixels)
                    scan = None if masked else _embedded_scan(page, remapped, color)
                    if scan is not None:
                        return scan
                    dpi = _dpi_within(page.get_size(), most_pixels)
                    shows = raw.FPDFPage_CountObjects(page) or _annotated(page)
                    if not shows and (images >= page_count or not all_load()):
                        raise ScanError(LOST)
                    if renderer == "pdfium":
                        drawn = _drawn(page, dpi, color)
                        if _is_paper(drawn.image) and _has_inked_picture(page):
                            raise ScanError(LOST)
                        return Picture(drawn.image, (dpi, dpi), drawn.color)
                finally:
                    page.close()
        except (pypdfium2.PdfiumError, UnicodeDecodeError) as error:  # names of its filters
            raise ScanError(DAMAGED) from error
        return Picture(_drawn_by_poppler(data, number, dpi, most_pixels), (dpi, dpi))

    def close() -> None:
        with _pdfium:
            document.close()

    return page_count, decode, close


def _refuse_cut(data: bytes) -> None:
    """Raise ScanError for a PDF without its end: PDFium would mend it and lose pages."""
    linearized = LINEARIZED.search(data[:2048])
    whole = b"%%EOF" in data.rstrip(b"\0\r\n\t ")[-1024:]
    if not whole or (linearized and len(data) < int(linearized[1])):
        raise ScanError("is cut short; copy the file again, or save it anew")


def _refuse_large_images(page: Any, most_pixels: int) -> None:
    for image in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]):
        width, height = image.get_px_size()
        refuse_large(width, height, most_pixels)


def _all_load(data: bytes) -> bool:
    """Tell whether all pages are found: where one is gone, another may have lost its scan.

    Of a document of its own, which is out of step after a page that is not found.
    """
    document = pypdfium2.PdfDocument(data)
    try:
        for number in range(len(document)):
            document[number].close()
    except pypdfium2.PdfiumError:
        return False
    finally:
        document.close()
    return True


def _is_paper(image: Gray) -> bool:
    return bool(image.min() > INK)


def _has_inked_picture(page: Any) -> bool:
    """Tell whether a picture of a page has writing, which the page must then show."""
    return any(
        float((_bitmap(image, False).image <= INK).mean()) > LEAST_INK
        for image in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE])
    )


def _embedded_scan(page: Any, remapped: bool, color: bool) -> Picture | None:
    """Take the one image a page consists of, or give None where it must be drawn."""
    image = _only_object(page)
    if image is None:
        return None
    width_in, height_in = (side / POINTS_AN_INCH for side in image.get_matrix().get()[0:4:3])
    scan = _scanned_jpeg(image, color) if not remapped else None
    if scan is None:
        scan = _bitmap(image, color)
    turns = page.get_rotation() // 90  # clockwise, as the page is to be shown
    h, w = scan.image.shape
    dpi = (w / width_in, h / height_in)
    if turns % 2:
        dpi = (dpi[1], dpi[0])
    colors = scan.color
    if colors is not None:
        colors = np.ascontiguousarray(np.rot90(colors, -turns))
    return Picture(np.ascontiguousarray(np.rot90(scan.image, -turns)), dpi, colors)


def _only_object(page: Any) -> Any:
    """Find the one image that is all there is on a page, upright and from edge to edge."""
    only = None
    for thing in page.get_objects(max_depth=1):
        if thing.type == raw.FPDF_PAGEOBJ_TEXT and _is_invisible(thing):
            continue
        if only is not None or thing.type != raw.FPDF_PAGEOBJ_IMAGE:
            return None
        only = thing
    if only is None or raw.FPDFPageObj_HasTransparency(only) or _annotated(page):
        return None
    a, b, c, d, left, bottom = only.get_matrix().get()
    if b or c or a <= 0 or d <= 0:
        return None
    box = page.get_cropbox()
    placed = (left, bottom, left + a, bottom + d)
    return (
        only
        if _reaches(placed, box) and _reaches(box, placed) and not _clipped(only, box)
        else None
    )


def _is_invisible(text: Any) -> bool:
    mode = raw.FPDFTextObj_GetTextRenderMode(text)
    return bool(mode == raw.FPDF_TEXTRENDERMODE_INVISIBLE)


def _annotated(page: Any) -> bool:
    """Tell whether anything but links lies over a page."""
    for number in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, number)
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        raw.FPDFPage_CloseAnnot(annotation)
        if kind != raw.FPDF_ANNOT_LINK:
            return True
    return False


def _clipped(image: Any, box: tuple[float, ...]) -> bool:
    """Tell whether part of an image is cut away by anything but the edge of the page."""
    clip = raw.FPDFPageObj_GetClipPath(image)
    x, y = ctypes.c_float(), ctypes.c_float()
    for path in range(max(0, raw.FPDFClipPath_CountPaths(clip))):
        points = []
        for number in range(raw.FPDFClipPath_CountPathSegments(clip, path)):
            segment = raw.FPDFClipPath_GetPathSegment(clip, path, number)
            raw.FPDFPathSegment_GetPoint(segment, x, y)
            points.append((x.value, y.value))
        if len(set(points)) != 4:  # no rectangle
            return True
        across, down = zip(*points, strict=True)
        if not _reaches((min(across), min(down), max(across), max(down)), box):
            return True
    return False


def _reaches(outer: tuple[float, ...], inner: tuple[float, ...]) -> bool:
    """Tell whether one box holds another, but for a sliver at the edge."""
    slack_x, slack_y = EDGE * (inner[2] - inner[0]), EDGE * (inner[3] - inner[1])
    return (
        outer[0] <= inner[0] + slack_x
        and outer[1] <= inner[1] + slack_y
        and outer[2] >= inner[2] - slack_x
        and outer[3] >= inner[3] - slack_y
    )


def _scanned_jpeg(image: Any, color: bool) -> Picture | None:
    """Decode a JPEG strictly, as any other; None if the image is none or has odd colors."""
    if image.get_filters() != ["DCTDecode"]:
        return None
    if image.get_metadata().colorspace not in PLAIN_COLORS:
        return None
    return decode_jpeg(bytes(image.get_data()), color=color)


def _bitmap(image: Any, color: bool) -> Picture:
    bitmap = image.get_bitmap()
    bitmap.warn_on_close = False  # its pixels are copied, and freed here, under the lock
    try:
        return _copied(bitmap.to_numpy(), color)
    finally:
        bitmap.close()


def _copied(pixels: NDArray[np.uint8], color: bool) -> Picture:
    """Copy PDFium's pixels, which are freed with their bitmap; three channels are BGR."""
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        colors = np.array(pixels[:, :, :3], np.uint8)
        gray = np.asarray(cv2.cvtColor(colors, cv2.COLOR_BGR2GRAY), np.uint8)
        return Picture(gray, None, colors if color else None)
    return Picture(np.array(pixels.reshape(pixels.shape[:2]), np.uint8), None)


def _dpi_within(size: tuple[float, float], most_pixels: int) -> float:
    """Choose the resolution to draw at, lower where a huge page asks for it."""
    inches = (size[0] / POINTS_AN_INCH) * (size[1] / POINTS_AN_INCH)
    if not 0 < inches < math.inf:  # or no number at all
        raise ScanError("has no size; save it anew")
    return min(DRAWN_DPI, float(np.sqrt(most_pixels / inches)))


def _drawn(page: Any, dpi: float, color: bool) -> Picture:
    bitmap = page.render(scale=dpi / POINTS_AN_INCH, grayscale=not color)
    try:
        return _copied(bitmap.to_numpy(), color)
    finally:
        bitmap.close()


def _drawn_by_poppler(data: bytes, number: int, dpi: float, most_pixels: int) -> Gray:
    try:
        with no_bound_of_pillow(most_pixels):
            (image,) = pdf2image.convert_from_bytes(
                data,  # not from its path: the file may be another by now
                dpi=int(dpi),
                first_page=number,
                last_page=number,
                grayscale=True,
                use_cropbox=True,
                timeout=POPPLER_TIMEOUT_S,
            )
    except PDFInfoNotInstalledError as error:
        raise ScanError(
            "needs poppler to be drawn; install poppler-utils, or set pdf_renderer = pdfium"
        ) from error
    except PDFPopplerTimeoutError as error:
        raise ScanError(
            f"takes poppler more than {POPPLER_TIMEOUT_S} s; set pdf_renderer = pdfium"
        ) from error
    except (PDFPageCountError, PDFSyntaxError, OSError, ValueError) as error:
        raise ScanError(DAMAGED) from error
    return np.array(image.convert("L"), np.uint8)
