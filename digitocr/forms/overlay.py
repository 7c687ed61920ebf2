"""Draw what was read over a page, laid level, to see whether it is from the right place."""

from __future__ import annotations

import cv2
import numpy as np

from digitocr.templates import FormTemplate
from digitocr.types import FieldReading, Gray, PageReading

PICTURE_DPI = 120.0
ACCEPTED, REVIEW = (60, 140, 30), (20, 90, 230)  # blue, green, red


def readings_over(image: Gray, reading: PageReading, form: FormTemplate) -> Gray:
    """Draw boxes and readings over a page that was read.

    Parameters
    ----------
    image : (H, W) uint8
        The page as scanned. Not changed.
    reading
        Of status `read`.

    Returns
    -------
    (H, W, 3) uint8
        The page in the frame of its template, about 120 dpi; blue, green, red, as OpenCV
        writes it. Accepted readings are green; those for a person are orange.

    Raises
    ------
    ValueError
        If the page was not read.
    """
    if reading.homography is None or reading.template_page is None:
        raise ValueError(f"reading: page {reading.page} has status {reading.status}, not read")
    template = form.page(reading.template_page)
    scale = min(1.0, PICTURE_DPI / template.dpi)
    size = (round(template.width * scale), round(template.height * scale))
    frame = np.diag([scale, scale, 1.0]) @ reading.homography
    level = cv2.warpPerspective(
        image, frame, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    picture = cv2.cvtColor(level, cv2.COLOR_GRAY2BGR)
    for one in reading.readings:
        _draw(picture, one, scale)
    return np.asarray(picture, np.uint8)


def _draw(picture: Gray, reading: FieldReading, scale: float) -> None:
    box = reading.field.box
    left, top = round(box.left * scale), round(box.top * scale)
    right, bottom = round(box.right * scale), round(box.bottom * scale)
    color = ACCEPTED if reading.accepted else REVIEW
    cv2.rectangle(picture, (left, top), (right, bottom), color, 2)
    for glyph in reading.glyphs:
        corner = (round(glyph.box.left * scale), round(glyph.box.top * scale))
        other = (round(glyph.box.right * scale), round(glyph.box.bottom * scale))
        cv2.rectangle(picture, corner, other, color, 1)
    text = "?" if reading.text is None else reading.text or "blank"
    size = PICTURE_DPI / 200
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 2)
    place = (max(0, right - width), max(height + 2, top - 4))
    cv2.rectangle(
        picture, (place[0] - 2, place[1] - height - 2), (place[0] + width + 2, place[1] + 3),
        (255, 255, 255), -1,
    )  # fmt: skip
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, color, 2)
