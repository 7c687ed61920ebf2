"""How far the print of a scanned page, and of each of its fields, lies off the template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from digitocr.imaging import isolation, registration
from digitocr.templates import FormTemplate
from digitocr.types import MM_PER_INCH, Document, Gray, PageReading, RegisteredPage


@dataclass(frozen=True, slots=True)
class Residual:
    """How far a scanned page lies off its template, and its worst field, in millimetres."""

    page_mm: float
    field: str
    field_mm: float
    lost: bool  # the print around that field was not found


def residual_of(image: Gray, reading: PageReading, form: FormTemplate) -> Residual:
    """Measure how far a page that was read lies off, and which of its fields most.

    Raises
    ------
    ValueError
        If the page was not read.
    """
    if reading.homography is None or reading.template_page is None:
        raise ValueError(f"reading: page {reading.page} has status {reading.status}, not read")
    template = form.page(reading.template_page)
    residual_mm = reading.residual_mm or 0.0
    marks = registration.measured(image, registration.prepare(template), reading.homography)
    page = RegisteredPage(
        document=Document(reading.document, 1),
        number=reading.page,
        template=template,
        image=image,
        homography=reading.homography,
        residual=residual_mm / MM_PER_INCH * template.dpi,
        marks=np.empty((0, 5)) if marks is None else marks,
    )
    fields = form.fields_of(reading.template_page)
    sheet = isolation.spread(page, tuple(field.box for field in fields))
    looked = [(field.name, isolation.isolate(sheet, field)) for field in fields]
    if not looked:
        return Residual(residual_mm, "", 0.0, lost=False)
    name, worst = max(looked, key=lambda one: (one[1].misplaced, one[1].shift_mm))
    return Residual(residual_mm, name, worst.shift_mm, worst.misplaced)
