"""`digitocr form check`: what will go wrong with a form, and how it lies on filled scans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from digitocr import settings as settings_module
from digitocr.errors import EXIT_PARTIAL, ScanError, TemplateError, UsageError

if TYPE_CHECKING:
    from digitocr.templates import FormTemplate
    from digitocr.types import Page


def form_check(
    form: Annotated[Path, typer.Argument(metavar="FORM", help="Folder of the form.")],
    overlay: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the fields.", metavar="DIR")
    ] = None,
    scans: Annotated[
        list[Path] | None,
        typer.Option(help="Filled scans to read and draw over too; needs --overlay."),
    ] = None,
) -> None:
    """Say what will go wrong with a form template, before it does. Exit code 3: something.

    The form is also laid onto the others of its folder: what fits both could be mistaken.
    With --overlay, pictures show where the fields are; with --scans too, where they came to
    lie on filled pages, and what was read there; a table says how far each page and its worst
    field lie off.
    """
    from digitocr import console, pipeline
    from digitocr.forms import check
    from digitocr.templates import FormTemplate

    template = FormTemplate.load(form)
    pipeline.check_forms((template,))
    if scans and overlay is None:
        raise UsageError("--scans draws pictures: name a folder for them with --overlay")
    failed = False
    if overlay is not None:
        for page in range(1, len(template.pages) + 1):
            file = overlay / f"{template.name}-{page}.png"
            _write_picture(file, check.overlay(template, page))
            print(file)
        failed = _draw_scans(scans or [], template, overlay)
    warnings = [*check.check(template), *check.check_among(template, _others(form, template))]
    for warning in warnings:
        print(warning)
    if warnings or failed:
        raise typer.Exit(EXIT_PARTIAL)
    fields = console.counted(len(template.fields), "field")
    print(f"{template}: {fields} on {console.counted(len(template.pages), 'page')}: fine")


def _others(form: Path, template: FormTemplate) -> list[FormTemplate]:
    """Load the other forms of the folder that a form is in; one that is wrong is named."""
    from digitocr import console, templates

    folder = (form if form.is_dir() else form.parent).resolve()
    others = []
    for file in sorted(folder.parent.glob(f"*/{templates.FILE_NAME}")):
        if file.parent == folder:
            continue
        try:
            others.append(templates.load(file))
        except TemplateError as error:
            console.say(f"left out: {error}")
    return others


def _draw_scans(paths: list[Path], template: FormTemplate, folder: Path) -> bool:
    """Read scans, draw what was read over them, and print how far they lie off.

    Returns
    -------
    Whether any page failed.
    """
    from digitocr import console, numbers, pipeline, scans
    from digitocr.forms.overlay import readings_over
    from digitocr.forms.residuals import residual_of
    from digitocr.types import PageStatus

    if not paths:
        return False
    settings = settings_module.load()
    model, sequence = numbers.load_readers(settings)
    reader = pipeline.prepare((template,), model, settings, sequence)
    failed = False
    rows = []
    for file in scans.find(paths):
        for page in pages_of(file.path, settings.max_megapixels):
            if isinstance(page, ScanError):
                failed = True
                console.say(str(page))
                continue
            reading = pipeline.read_page(page, reader)
            if reading.status is not PageStatus.READ:
                failed |= reading.status is PageStatus.FAILED
                console.say(
                    f"{file.source} page {page.number}: {reading.status} {reading.cause}"
                )
                continue
            picture = folder / f"{file.path.stem}-{page.number}.png"
            _write_picture(picture, readings_over(page.image, reading, template))
            off = residual_of(page.image, reading, template)
            worst = "print not found" if off.lost else f"{off.field_mm:.2f}"
            rows.append((str(picture), f"{off.page_mm:.2f}", off.field, worst))
    if rows:
        console.rows_table(("picture", "page mm off", "worst field", "field mm off"), rows)
    return failed


def pages_of(file: Path, max_megapixels: int) -> Iterator[Page | ScanError]:
    """Decode page after page; what cannot be decoded comes as the error that says so."""
    from digitocr import scans

    try:
        with scans.open_scan(file, max_megapixels=max_megapixels) as scan:
            for number in range(1, scan.document.page_count + 1):
                try:
                    yield scan.page(number)
                except ScanError as error:
                    yield error
    except ScanError as error:
        yield error


def _write_picture(file: Path, picture: Any) -> None:
    import cv2

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}; name a folder with --overlay") from error
