"""Check form templates, and fill forms with numbers that are known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from digitocr import settings as settings_module
from digitocr.cli.options import Shown
from digitocr.errors import EXIT_PARTIAL, ScanError, UsageError

if TYPE_CHECKING:
    from digitocr.templates import FormTemplate
    from digitocr.types import Page

app = typer.Typer(help="Check and fill form templates.", no_args_is_help=True)


@app.command("check")
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

    With --overlay, pictures show where the fields are; with --scans too, where they came to
    lie on filled pages, and what was read there.
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
    warnings = check.check(template)
    for warning in warnings:
        print(warning)
    if warnings or failed:
        raise typer.Exit(EXIT_PARTIAL)
    fields = console.counted(len(template.fields), "field")
    print(f"{template}: {fields} on {console.counted(len(template.pages), 'page')}: fine")


def _draw_scans(paths: list[Path], template: FormTemplate, folder: Path) -> bool:
    """Read scans and draw what was read over them; say whether any page failed."""
    from digitocr import console, numbers, pipeline, scans
    from digitocr.forms.overlay import readings_over
    from digitocr.types import PageStatus

    settings = settings_module.load()
    model, sequence = numbers.load_readers(settings)
    reader = pipeline.prepare((template,), model, settings, sequence)
    failed = False
    for file in scans.find(paths) if paths else ():
        for page in _pages(file.path, settings.max_megapixels):
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
            residual = f"{reading.residual_mm:.2f} mm off"
            print(f"{picture}  {residual}")
    return failed


def _pages(file: Path, max_megapixels: int) -> Iterator[Page | ScanError]:
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


@app.command("fill")
def form_fill(
    form: Annotated[Path, typer.Argument(metavar="FORM", help="Folder of the form.")],
    out: Annotated[Path, typer.Option(help="Folder for the pages and truth.csv.")],
    count: Annotated[int, typer.Option(help="Forms to fill.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same pages.")] = 1,
    clean: Annotated[bool, typer.Option("--clean", help="As drawn, not as scanned.")] = False,
) -> None:
    """Fill a form with handwritten digits: scanned-looking pages whose truth is known."""
    from digitocr import console
    from digitocr.forms import fill
    from digitocr.templates import FormTemplate

    rows = fill.fill_pages(FormTemplate.load(form), count, out, seed, clean=clean)
    if not Shown.quiet:
        forms = console.counted(count, "form")
        console.say(f"{forms} filled in {out}, {len(rows)} fields in {out / 'truth.csv'}")
