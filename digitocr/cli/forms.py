"""Draw and print forms, check their templates, and fill them with numbers that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from digitocr.cli import checking, learning
from digitocr.cli.extras import needs
from digitocr.cli.options import Shown
from digitocr.errors import UsageError

SERIAL_DIGITS = 6
MOST_SERIALS = 10_000

app = typer.Typer(help="Learn, draw, print, check and fill forms.", no_args_is_help=True)
app.command("learn")(learning.form_learn)
app.command("check")(checking.form_check)


@app.command("draw")
def form_draw(
    form: Annotated[Path, typer.Argument(metavar="FORM", help="Folder of the form.")],
) -> None:
    """Lay out a form that is described by its fields: anchors, page code, boxes, labels.

    Fields without a box are laid out in rows. The template is completed in place: what is
    filled in ends with the comment `# drawn`, and drawing again lays it out anew; your own
    lines stay as they are. The picture of the empty form is written beside it.
    """
    from digitocr import console
    from digitocr.forms import draw

    with needs("print"):
        template = draw.draw(form)
    folder = form.parent if form.suffix == ".toml" else form
    for page in template.pages:
        print(folder / ("blank.png" if page.number == 1 else f"blank-{page.number}.png"))
    if not Shown.quiet:
        fields = console.counted(len(template.fields), "field")
        pages = console.counted(len(template.pages), "page")
        console.say(
            f"{template}: {fields} on {pages}; look at the picture, then "
            f"`digitocr form print {folder} --out {template.name}.pdf`"
        )


@app.command("print")
def form_print(
    form: Annotated[Path, typer.Argument(metavar="FORM", help="Folder of the form.")],
    out: Annotated[Path, typer.Option(help="PDF to write.", metavar="FILE")],
    copies: Annotated[int, typer.Option(help="Copies, all alike.", min=1, max=10000)] = 1,
    serials: Annotated[
        str | None,
        typer.Option(help="Numbered copies instead: from which to which number, as 1-50."),
    ] = None,
) -> None:
    """Make the PDF of a form that was drawn: real size, sharp at any resolution.

    Print it at 100 %. Numbered copies have their serial in the page code and below it.
    """
    from digitocr import console
    from digitocr.forms import draw

    if serials is not None and copies != 1:
        raise UsageError("--copies makes copies that are alike, --serials numbered ones: one")
    numbers = [""] * copies if serials is None else _serials(serials)
    with needs("print"):
        pdf = draw.load_drawn(form).pdf(numbers)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(pdf)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}; name another --out") from error
    if not Shown.quiet:
        many = "copy" if len(numbers) == 1 else "copies"
        console.say(f"{out}: {len(numbers)} {many}; print at 100 %, not fitted to the page")


def _serials(text: str) -> list[str]:
    """Read FROM-TO; the serials are as long as the longer of the two, six digits at least."""
    low, dash, high = text.partition("-")
    plain = low.isascii() and low.isdigit() and high.isascii() and high.isdigit()
    if not dash or not plain or int(low) > int(high):
        raise UsageError(f"--serials '{text}': say from which to which number, as 1-50")
    count = int(high) - int(low) + 1
    if count > MOST_SERIALS:
        raise UsageError(f"--serials '{text}': at most {MOST_SERIALS} copies in one file")
    width = max(SERIAL_DIGITS, len(low), len(high))
    return [str(number).zfill(width) for number in range(int(low), int(high) + 1)]


@app.command("fill")
def form_fill(
    form: Annotated[Path, typer.Argument(metavar="FORM", help="Folder of the form.")],
    out: Annotated[Path, typer.Option(help="Folder for the pages and truth.csv.")],
    count: Annotated[int, typer.Option(help="Forms to fill.", min=1)] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same pages.")] = 1,
    clean: Annotated[bool, typer.Option("--clean", help="As drawn, not as scanned.")] = False,
    damage: Annotated[
        str | None,
        typer.Option(help="What else happens to every page: skew, photo, stain …"),
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="How badly, 0 to 1. Default: 0.5.", min=0, max=1)
    ] = None,
) -> None:
    """Fill a form with handwritten digits: scanned-looking pages whose truth is known."""
    from digitocr import console
    from digitocr.forms import fill
    from digitocr.forms.damage import Condition
    from digitocr.templates import FormTemplate

    if damage is None and strength is not None:
        raise UsageError("--strength says how bad a --damage is: name one")
    if damage is not None and damage not in [str(one) for one in Condition]:
        raise UsageError(f"--damage '{damage}': there are {', '.join(Condition)}")
    rows = fill.fill_pages(
        FormTemplate.load(form),
        count,
        out,
        seed,
        clean=clean,
        damage=None if damage is None else Condition(damage),
        strength=0.5 if strength is None else strength,
    )
    if not Shown.quiet:
        forms = console.counted(count, "form")
        console.say(f"{forms} filled in {out}, {len(rows)} fields in {out / 'truth.csv'}")
