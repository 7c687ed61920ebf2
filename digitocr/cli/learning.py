"""`digitocr form learn`: a stack of filled scans → a form folder to look at and to name."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from digitocr import settings as settings_module
from digitocr.cli.checking import pages_of
from digitocr.cli.options import ModelFolder, Shown
from digitocr.errors import EXIT_PARTIAL, ScanError, UsageError

if TYPE_CHECKING:
    from digitocr.forms.learn import Judge, Learned
    from digitocr.forms.stack import Scanned
    from digitocr.settings import Settings
    from digitocr.templates import FormTemplate
    from digitocr.types import Page, PageReading

MOST_PAGES = 48  # a median does not gain by more
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")


def form_learn(
    scans: Annotated[
        list[Path],
        typer.Argument(metavar="SCAN…", help="Filled scans of one form, or folders."),
    ],
    name: Annotated[str, typer.Option(help="What the form is called, and its folder.")],
    blank: Annotated[
        Path | None, typer.Option(help="Scan or picture of the empty form.", metavar="FILE")
    ] = None,
    forms: Annotated[
        str | None,
        typer.Option(help="Folder of forms to put it in. Default: forms.", metavar="DIR"),
    ] = None,
    model: ModelFolder = None,
) -> None:
    """Make a form template from filled scans: five or more of one form, twenty are good.

    Exit code 3: done, but some scans did not fit; each is named with its cause.
    """
    from digitocr import console
    from digitocr.forms import learn, writing_toml

    settings = settings_module.load(forms=forms, model=model)
    folder = Path(settings.forms or "forms") / name
    _refuse(name, folder)
    started = time.monotonic()
    given, failed = _load(scans, settings)
    printed = None if blank is None else _load_blank(blank, settings)
    if not given:
        raise UsageError("none of the scans can be read; name filled scans of one form")
    with console.progress("Learning", len(given), quiet=Shown.quiet, unit="page") as advance:
        learned = learn.learn(
            given,
            name,
            max_residual_mm=settings.max_residual_mm,
            blank=printed,
            judge=judge_with(settings),
            done=advance,
        )
    pictures = _write(folder, learned, writing_toml.text_of(learned))
    _show(learned, folder, pictures, time.monotonic() - started)
    for one in learned.unfit:
        console.say(f"left out: {console.one_line(one.source)}: {one.cause}")
    if failed or learned.unfit:
        raise typer.Exit(EXIT_PARTIAL)


def _refuse(name: str, folder: Path) -> None:
    """Refuse a name that can be none, and a form that is there."""
    if NAME.fullmatch(name) is None:
        raise UsageError(
            f"--name {name}: is no name for a form; take letters, digits, _ and - "
            "(80 at most, a letter or digit first)"
        )
    if folder.exists():
        raise UsageError(
            f"{folder}: is there already, and is not overwritten; take another --name, or "
            "remove the folder first"
        )


def _load(paths: list[Path], settings: Settings) -> tuple[list[Scanned], bool]:
    """Decode the scans, page after page; name those that cannot be."""
    from digitocr import console, scans
    from digitocr.forms import stack

    files = scans.find(paths)
    pages: list[Scanned] = []
    failed = False
    with console.progress("Looking at scans", len(files), quiet=Shown.quiet) as advance:
        for file in files:
            if len(pages) >= MOST_PAGES:
                advance(file.source)
                continue
            for page in pages_of(file.path, settings.max_megapixels):
                if isinstance(page, ScanError):
                    failed = True
                    console.say(str(page))
                    continue
                source = file.source
                if page.document.page_count > 1:
                    source += f" page {page.number}"
                pages.append(stack.scanned(source, page))
            advance(file.source)
    if len(pages) >= MOST_PAGES and not Shown.quiet:
        console.say(f"learns from the first {console.counted(len(pages), 'page')}")
    return pages, failed


def _load_blank(path: Path, settings: Settings) -> Scanned:
    from digitocr.forms import stack

    page = next(iter(pages_of(path, settings.max_megapixels)))
    if isinstance(page, ScanError):
        raise page
    found = stack.scanned(str(path), page)
    if found.features is None:
        raise UsageError(f"{path}: has too little print to find it on scans; leave --blank out")
    return found


def judge_with(settings: Settings) -> Judge:
    """Read pages with the models at hand."""

    def judge(form: FormTemplate, pages: Sequence[Page]) -> list[PageReading]:
        from digitocr import numbers, pipeline

        if not form.fields:
            return []
        model, sequence = numbers.load_readers(settings)
        reader = pipeline.prepare((form,), model, settings, sequence)
        return [pipeline.read_page(page, reader) for page in pages]

    return judge


def _write(folder: Path, learned: Learned, text: str) -> list[Path]:
    """Write the folder of the form; give the pictures to look at."""
    import cv2

    from digitocr import templates
    from digitocr.forms import check, writing_toml

    try:
        folder.mkdir(parents=True)
        for page in learned.pages:
            file = folder / writing_toml.picture_name(page.template.number)
            file.write_bytes(cv2.imencode(".png", page.template.reference)[1].tobytes())
        (folder / templates.FILE_NAME).write_text(text, encoding="utf-8")
        form = templates.load(folder)
        pictures = []
        for page in learned.pages:
            number = page.template.number
            file = folder / ("fields.png" if number == 1 else f"fields-{number}.png")
            file.write_bytes(cv2.imencode(".png", check.overlay(form, number))[1].tobytes())
            pictures.append(file)
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}; name a folder that can be written with --forms"
        ) from error
    return pictures


def _show(learned: Learned, folder: Path, pictures: list[Path], seconds: float) -> None:
    """Print what was found, how sure it is, and what to do next."""
    from digitocr import console

    rows = [
        (
            one.field.name,
            str(one.field.kind),
            str(one.field.cells or "–"),
            f"{round(one.written * len(page.scans))} of {len(page.scans)}",
            str(one.sureness),
            one.why,
        )
        for page in learned.pages
        for one in page.proposals
    ]
    columns = ("field", "kind", "positions", "written on", "how sure", "seen")
    console.rows_table(columns, rows, title=f"Form {learned.name}")
    if Shown.quiet:
        return
    scans = sum(len(page.scans) for page in learned.pages)
    pages = console.counted(len(learned.pages), "page")
    console.say(
        f"{folder}: {console.counted(len(rows), 'field')} on {pages}, learned from "
        f"{console.counted(scans, 'scan')} in {seconds:.0f} s. Next:"
    )
    console.say(f"  look at {', '.join(str(file) for file in pictures)}")
    console.say(f"  edit {folder / 'template.toml'}: names, types, what is no field")
    console.say(f"  digitocr form check {folder} --overlay look --scans SCANS")
    console.say(f"  digitocr process SCANS --forms {folder.parent}")
