"""Sheets → PDF, by reportlab, and the PDF → the pictures of the empty form.

Both come from one drawing, so what is read by is what was printed. Reportlab is an optional
part: it is imported when something is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitocr.errors import TemplateError
from digitocr.forms.sheets import (
    POINTS_AN_INCH,
    TINY_PT,
    Bar,
    Measure,
    Sheet,
    Text,
    Tone,
    code_square,
)
from digitocr.imaging.codes import PageCode, draw_code
from digitocr.imaging.landmarks import ARUCO
from digitocr.types import Anchor, Box, Gray

PLAIN, BOLD = "Helvetica", "Helvetica-Bold"
OWN = "form-font"
ENCODING = "cp1252"  # of the fonts that every printer has
# Drop-out colors: a third as dark as ink on a gray scan, and gone on one by their own light.
COLORS = {
    "orange": ((0.96, 0.60, 0.38), (1.00, 0.94, 0.90)),
    "green": ((0.48, 0.78, 0.52), (0.92, 0.97, 0.92)),
    "blue": ((0.53, 0.72, 0.93), (0.92, 0.96, 1.00)),
    "gray": ((0.68, 0.68, 0.68), (0.94, 0.94, 0.94)),
}
TONES = {Tone.BLACK: (0, 0, 0), Tone.INK: (0.1, 0.1, 0.12), Tone.SOFT: (0.38, 0.38, 0.42)}


@dataclass(frozen=True, slots=True)
class Fonts:
    """The names, in reportlab, of the plain and the bold font."""

    plain: str = PLAIN
    bold: str = BOLD

    def measure(self, text: str, size: float, bold: bool) -> float:
        from reportlab.pdfbase.pdfmetrics import stringWidth

        return float(stringWidth(text, self.bold if bold else self.plain, size))


def load_fonts(file: Path | None) -> Fonts:
    """Load the font of a form, a TrueType file, or take Helvetica.

    Raises
    ------
    TemplateError
        If the file is no TrueType font.
    """
    if file is None:
        return Fonts()
    from reportlab.pdfbase.pdfmetrics import registerFont
    from reportlab.pdfbase.ttfonts import TTFError, TTFont

    name = f"{OWN}-{file.resolve()}"
    try:
        registerFont(TTFont(name, str(file)))
    except (TTFError, OSError) as error:
        raise TemplateError(f"[print] font = '{file}': {error}; name a TrueType file") from None
    return Fonts(name, name)


def measure_of(fonts: Fonts) -> Measure:
    """Give the function that the layout measures texts with; it refuses what has no glyph."""

    def measure(text: str, size: float, bold: bool) -> float:
        if fonts.plain == PLAIN:
            _refuse_unknown(text)
        return fonts.measure(text, size, bold)

    return measure


def _refuse_unknown(text: str) -> None:
    for char in text:
        try:
            char.encode(ENCODING)
        except UnicodeEncodeError:
            raise TemplateError(
                f"text '{text}': the built-in font has no '{char}'; name a TrueType file that "
                'has it: [print] font = "file.ttf"'
            ) from None


def write_pdf(
    sheets: Sequence[Sheet],
    codes: Sequence[Sequence[PageCode]],
    *,
    title: str,
    color: str,
    fonts: Fonts,
) -> bytes:
    """Draw sheets at their real size, once for every copy.

    Parameters
    ----------
    codes
        For every copy, the page codes of its sheets.
    """
    from reportlab.pdfgen.canvas import Canvas

    stream = io.BytesIO()
    canvas = Canvas(stream, invariant=1, pageCompression=1)
    canvas.setTitle(title)
    canvas.setCreator("digitocr")
    for copy in codes:
        for sheet, code in zip(sheets, copy, strict=True):
            _Pen(canvas, sheet, color, fonts).draw(code)
            canvas.showPage()
    canvas.save()
    return stream.getvalue()


def rasterize(pdf: bytes, sheets: Sequence[Sheet]) -> list[Gray]:
    """Draw the pages of a PDF as pictures in the pixels of the template."""
    import pypdfium2

    document = pypdfium2.PdfDocument(pdf)
    try:
        pictures = []
        for sheet, page in zip(sheets, document, strict=True):
            drawn = page.render(scale=sheet.dpi / POINTS_AN_INCH, grayscale=True).to_numpy()
            picture: Gray = np.full((sheet.height, sheet.width), 255, np.uint8)
            part = drawn.reshape(drawn.shape[:2])[: sheet.height, : sheet.width]
            picture[: part.shape[0], : part.shape[1]] = part
            pictures.append(picture)
        return pictures
    finally:
        document.close()


class _Pen:
    """Draws one sheet on a page of a canvas."""

    def __init__(self, canvas: Any, sheet: Sheet, color: str, fonts: Fonts) -> None:
        self.canvas, self.sheet, self.fonts = canvas, sheet, fonts
        self.scale = POINTS_AN_INCH / sheet.dpi
        guide, tint = COLORS[color]
        self.tones = TONES | {Tone.GUIDE: guide, Tone.TINT: tint}
        canvas.setPageSize((sheet.width * self.scale, sheet.height * self.scale))

    def draw(self, code: PageCode) -> None:
        # Light first: what is darker lies over it where they meet.
        order = (Tone.TINT, Tone.GUIDE, Tone.SOFT, Tone.INK, Tone.BLACK)
        for bar in sorted(self.sheet.bars, key=lambda bar: order.index(bar.tone)):
            self.bar(bar)
        for text in self.sheet.texts:
            self.text(text)
        for anchor in self.sheet.anchors:
            self.anchor(anchor)
        self.code(code)

    def bar(self, bar: Bar) -> None:
        self.canvas.setFillColorRGB(*self.tones[bar.tone])
        self.fill(bar.left, bar.top, bar.right, bar.bottom)

    def fill(self, left: float, top: float, right: float, bottom: float) -> None:
        scale = self.scale
        x, y = left * scale, (self.sheet.height - bottom) * scale
        self.canvas.rect(x, y, (right - left) * scale, (bottom - top) * scale, stroke=0, fill=1)

    def text(self, text: Text) -> None:
        self.canvas.setFillColorRGB(*self.tones[text.tone])
        self.canvas.setFont(self.fonts.bold if text.bold else self.fonts.plain, text.size)
        x, y = text.x * self.scale, (self.sheet.height - text.baseline) * self.scale
        draw = {
            "left": self.canvas.drawString,
            "right": self.canvas.drawRightString,
            "center": self.canvas.drawCentredString,
        }[text.align]
        draw(x, y, text.text)

    def anchor(self, anchor: Anchor) -> None:
        half = anchor.size / 2
        (x, y), side = anchor.center, anchor.size
        self.modules(aruco_modules(anchor), x - half, y - half, side)

    def code(self, code: PageCode) -> None:
        square = code_square(self.sheet.identifier)
        self.modules(draw_code(str(code), "QRCode"), square.left, square.top, square.width)
        if code.serial:
            self.text(serial_text(self.sheet.identifier, code.serial))

    def modules(self, dark: NDArray[np.bool_], left: float, top: float, side: float) -> None:
        """Fill the dark modules of a square, run by run: bars between them would show."""
        self.canvas.setFillColorRGB(*self.tones[Tone.BLACK])
        module = side / len(dark)
        for row, line in enumerate(dark):
            padded = np.concatenate([[False], line, [False]]).astype(np.int8)
            starts = np.flatnonzero(np.diff(padded) > 0)
            ends = np.flatnonzero(np.diff(padded) < 0)
            for start, end in zip(starts, ends, strict=True):
                y = top + row * module
                self.fill(left + start * module, y, left + end * module, y + module)


def serial_text(identifier: Box, serial: str) -> Text:
    """Place the serial of a copy in plain digits below its page code."""
    middle = (identifier.left + identifier.right) / 2
    baseline = identifier.bottom - 0.25 * (identifier.height - identifier.width)
    return Text(middle, baseline, f"No. {serial}", TINY_PT, Tone.INK, align="center")


def aruco_modules(anchor: Anchor) -> NDArray[np.bool_]:
    """Give the modules of an ArUco anchor, its black border included."""
    import cv2

    name = anchor.dictionary or "4x4_50"
    dictionary = cv2.aruco.getPredefinedDictionary(ARUCO[name])
    side = int(name[0]) + 2
    drawn = cv2.aruco.generateImageMarker(dictionary, anchor.id or 0, side)
    return np.asarray(drawn) < 128
