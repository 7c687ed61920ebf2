"""What bad scans do to reading: forms filled, spoiled in known ways, and read.

    python tests/bench/stress.py [--pages N] [--dense] [--out DIR] [--workers N] [--seed S]

Every condition is tried at three strengths on four forms: one with a page code, ArUco anchors
and drop-out boxes, drawn for this, and the three sample forms. Where every point of a page went
is known, so it is measured whether fields were read from their own places: a field whose
middle is off by more than half a position, on a page and in a field that nothing was said
against, was read from the wrong place, and there must be none. With --dense the pages are of
another form, full of numbers: forty of six digits. Writes a table and a plot.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields, replace
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from digitocr import numbers, pipeline, synth, templates
from digitocr.forms import draw, fill, values
from digitocr.forms.damage import Condition, spoil
from digitocr.imaging import isolation, registration
from digitocr.imaging.landmarks import apply
from digitocr.settings import Settings
from digitocr.synth import Damage
from digitocr.templates import FormTemplate
from digitocr.types import (
    MM_PER_INCH,
    Document,
    Field,
    FieldKind,
    Gray,
    Page,
    PageReading,
    PageStatus,
    Reason,
    RegisteredPage,
)

SAMPLES = Path(__file__).parents[2] / "sample_forms"
STRENGTHS = (1 / 3, 2 / 3, 1.0)
PAGES = 500
FORM = """
name = "stress"
version = 1
title = "Household survey"
[[fields]]
name = "household"
title = "Household number"
type = "code"
cells = 7
min_length = 7
required = true
checks = [{rule = "luhn"}]
[[fields]]
name = "day"
title = "Date of visit"
type = "date"
[[fields]]
name = "adults"
cells = 3
[[fields]]
name = "children"
cells = 3
[[fields]]
name = "people"
cells = 4
min_length = 1
required = true
[[fields]]
name = "income"
title = "Income in a month"
type = "decimal"
decimals = 2
cells = 8
[[fields]]
name = "owner"
title = "Owns the house"
kind = "mark"
[[fields]]
name = "water"
title = "Water from"
kind = "mark"
[[fields]]
name = "meter"
kind = "comb"
cells = 6
[[fields]]
name = "rooms"
kind = "open"
max_length = 2
[[fields]]
name = "label"
kind = "barcode"
min_length = 6
max_length = 10
[[rules]]
rule = "sum"
of = ["adults", "children"]
equals = "people"
[print.choices]
water = ["tap", "well", "river", "bought"]
[print.headings]
household = "Who and when"
adults = "People"
owner = "House"
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the fields of one page, or of many."""

    pages: int = 0
    failed: int = 0
    fields: int = 0
    right: int = 0
    accepted: int = 0
    wrong: int = 0  # accepted, and not what was written
    misregistered: int = 0
    misplaced: int = 0  # read from the wrong place, and nothing said

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Case:
    """One page of the set."""

    number: int
    condition: Condition
    strength: float
    form: str


def cases(pages: int, forms: Sequence[str]) -> list[Case]:
    """List the pages: all conditions and strengths in turn, on form after form."""
    kinds = [(c, s) for c in Condition for s in STRENGTHS]
    return [
        Case(i, *kinds[i % len(kinds)], forms[(i % len(kinds) + i // len(kinds)) % len(forms)])
        for i in range(pages)
    ]


@lru_cache(maxsize=1)
def forms_and_reader(folder: Path) -> tuple[dict[str, FormTemplate], pipeline.Reader]:
    cv2.setNumThreads(1)
    forms = templates.load_all(folder)
    model, sequence = numbers.load_readers(Settings())
    reader = pipeline.prepare(forms, model, Settings(), sequence)
    return {form.name: form for form in forms}, reader


def make_forms(folder: Path) -> None:
    """Draw the form of this set into a folder, beside the sample forms."""
    (folder / "stress").mkdir(parents=True)
    (folder / "stress" / "template.toml").write_text(FORM, encoding="utf-8")
    draw.draw(folder / "stress")
    for form in SAMPLES.iterdir():
        if (form / "template.toml").is_file():
            ignored = shutil.ignore_patterns("scans")
            shutil.copytree(form, folder / form.name, ignore=ignored)


def draw_dense(folder: Path) -> FormTemplate:
    """Draw an A4 form of 40 fields of 6 digits."""
    described = 'name = "dense"\nversion = 1\ntitle = "Forty numbers"\n'
    for number in range(40):
        left, top = 60 + 288 * (number % 4), 240 + 140 * (number // 4)
        box = [left, top, left + 248, top + 50]
        described += f'[[fields]]\nname = "n{number}"\ncells = 6\nbox = {box}\n'
    folder.mkdir()
    (folder / templates.FILE_NAME).write_text(described, encoding="utf-8")
    return draw.draw(folder)


def filled(form: FormTemplate, rng: np.random.Generator) -> tuple[dict[str, str], Gray]:
    """Fill in the first page of a form, with the grain that every scan has."""
    texts = values.draw_values(form, rng)
    image = fill.fill(form, texts, rng, serial=f"{int(rng.integers(10**6)):06}")
    image = synth.degrade(image, Damage.BLUR, 0.25, rng)
    return texts, synth.degrade(image, Damage.NOISE, 0.2, rng)


def page_of(image: Gray) -> Page:
    return Page(Document("0" * 64, 1), 1, image, None)


def run_case(case: Case, *, folder: Path, seed: int, keep: Path | None = None) -> Outcome:
    """Fill, spoil and read one page."""
    forms, reader = forms_and_reader(folder)
    form = forms[case.form]
    rng = np.random.default_rng([seed, case.number])
    texts, image = filled(form, rng)
    spoiled = spoil(image, case.condition, case.strength, rng, dpi=form.page(1).dpi)
    reading = pipeline.read_page(page_of(spoiled.image), reader)
    wanted = {f.name: texts[f.name] for f in form.fields_of(1)}
    if reading.status is not PageStatus.READ or reading.template != form.name:
        outcome = Outcome(pages=1, failed=1, fields=len(wanted))
        if reading.status is PageStatus.READ:  # as another form: every accepted field is wrong
            outcome = replace(outcome, wrong=sum(r.accepted for r in reading.readings))
    else:
        centers = np.array([_middle(f) for f in form.fields_of(1)])
        off = _off(reading, form, spoiled.image, spoiled.place(centers))
        outcome = _score(reading, wanted, off)
    if keep is not None and (outcome.wrong or outcome.misplaced or outcome.failed):
        name = f"{case.condition}-{case.strength:.2f}-{case.form}-{case.number}.png"
        cv2.imwrite(str(keep / name), spoiled.image)
        (keep / f"{name}.txt").write_text(_said(reading, wanted), encoding="utf-8")
    return outcome


def _score(reading: PageReading, wanted: dict[str, str], off: dict[str, float]) -> Outcome:
    found = {one.field.name: one for one in reading.readings}
    right = {name for name, text in wanted.items() if found[name].text == text}
    accepted = {name for name, one in found.items() if one.accepted}
    lost = {name for name, one in found.items() if Reason.MISREGISTERED in one.reasons}
    misplaced = {name for name, share in off.items() if share > 0.5 and name not in lost}
    return Outcome(
        pages=1,
        fields=len(wanted),
        right=len(right),
        accepted=len(accepted),
        wrong=len(accepted - right),
        misregistered=len(lost),
        misplaced=len(misplaced),
    )


def _middle(field: Field) -> tuple[float, float]:
    box = field.box
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


def _position(field: Field) -> float:
    """Say how large one position of a field is, in template pixels."""
    if field.kind in (FieldKind.OPEN, FieldKind.BARCODE):
        return field.box.height
    return min(field.box.height, field.box.width / (field.cells or 1))


def _off(
    reading: PageReading, form: FormTemplate, image: Gray, middles: np.ndarray
) -> dict[str, float]:
    """Say of every field how far from its place it was read, in positions."""
    assert reading.homography is not None and reading.residual_mm is not None
    template = form.page(1)
    marks = registration.measured(image, registration.prepare(template), reading.homography)
    registered = RegisteredPage(
        document=Document(reading.document, 1),
        number=1,
        template=template,
        image=image,
        homography=reading.homography,
        residual=reading.residual_mm / MM_PER_INCH * template.dpi,
        marks=np.empty((0, 5)) if marks is None else marks,
    )
    listed = form.fields_of(1)
    sheet = isolation.spread(registered, tuple(field.box for field in listed))
    laid = apply(reading.homography, middles)
    shares = {}
    for field, point in zip(listed, laid, strict=True):
        shift = isolation.isolate(sheet, field).shift
        away = point - np.array(_middle(field)) - np.array(shift)
        shares[field.name] = float(np.hypot(*away)) / _position(field)
    return shares


def _said(reading: PageReading, wanted: dict[str, str]) -> str:
    lines = [f"{reading.status} {reading.template} {reading.residual_mm} {reading.cause}"]
    for one in reading.readings:
        truth = wanted.get(one.field.name)
        sign = "=" if one.text == truth else "≠"
        reasons = " ".join(one.reasons) or "accepted"
        lines.append(f"{one.field.name}: {one.text!r} {sign} {truth!r} {reasons}")
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- what is no page to read


def odd_pages(folder: Path, seed: int) -> dict[str, Gray]:
    """Make what comes in a pile of scans and is no page to read numbers from."""
    forms, _ = forms_and_reader(folder)
    rng = np.random.default_rng([seed, 999])
    _, page = filled(forms["stress"], rng)
    _, other = filled(forms["clinic-tally"], rng)
    h, w = page.shape
    paper = np.full((h, w), 245, np.uint8)
    back = np.minimum(paper, 255 - (255 - page[:, ::-1]) // 12).astype(np.uint8)
    letter = paper.copy()
    for y in range(200, h - 200, 42):
        words = "".join(chr(c) for c in rng.integers(97, 123, 60))
        cv2.putText(letter, words, (120, y), cv2.FONT_HERSHEY_COMPLEX, 0.8, 40, 1)
    return {
        "blank page": synth.degrade(paper, Damage.NOISE, 0.3, rng),
        "back side": back,
        "letter": letter,
        "upper half": page[: h // 2],
        "lower half": page[h // 2 :],
        "upper half of a tally": other[: h // 2],
        "left half of a tally": other[:, : w // 2],
        "two pages": np.hstack([page, page]),
        "two pages, of two forms": np.hstack([page, other]),
        "two tallies": np.hstack([other, other]),
        "two tallies, one above the other": np.vstack([other, other]),
    }


def read_odd(folder: Path, seed: int) -> dict[str, PageReading]:
    """Read what is no page to read numbers from."""
    _, reader = forms_and_reader(folder)
    pages = odd_pages(folder, seed)
    return {name: pipeline.read_page(page_of(image), reader) for name, image in pages.items()}


def accepted_of(reading: PageReading) -> int:
    """Count the accepted numbers of a page: of one that is none, there should be none."""
    return sum(one.accepted for one in reading.readings)


# ---------------------------------------------------------------- the report


def run_all(
    listed: Iterable[Case], *, folder: Path, seed: int, workers: int, keep: Path | None = None
) -> dict[tuple[Condition, float], Outcome]:
    """Read all pages of a set; what became of them, by condition and strength."""
    listed = list(listed)
    work = partial(run_case, folder=folder, seed=seed, keep=keep)
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            outcomes = list(_counted(pool.map(work, listed, chunksize=4), len(listed)))
    else:
        outcomes = list(_counted(map(work, listed), len(listed)))
    found: dict[tuple[Condition, float], Outcome] = defaultdict(Outcome)
    for case, outcome in zip(listed, outcomes, strict=True):
        found[case.condition, case.strength] += outcome
    return dict(found)


def _counted(outcomes: Iterable[Outcome], total: int) -> Iterable[Outcome]:
    for number, outcome in enumerate(outcomes, 1):
        if number % 50 == 0:
            print(f"{number} of {total} pages", file=sys.stderr, flush=True)
        yield outcome


def table(found: dict[tuple[Condition, float], Outcome]) -> str:
    """Write a table, in Markdown, a row a condition and strength."""
    heads = [field.name for field in fields(Outcome)]
    lines = [
        "| condition | strength | " + " | ".join(heads) + " |",
        "| --- | --- | " + " | ".join("---:" for _ in heads) + " |",
    ]
    total = Outcome()
    for (condition, strength), one in sorted(found.items()):
        total += one
        lines.append(f"| {condition} | {strength:.2f} | {_cells(one)} |")
    lines.append(f"| **all** | | {_cells(total)} |")
    return "\n".join(lines) + "\n"


def _cells(one: Outcome) -> str:
    def part(count: int) -> str:
        return f"{count} ({count / one.fields:.0%})" if one.fields else str(count)

    shown = [one.pages, one.failed, one.fields, part(one.right), part(one.accepted)]
    return " | ".join(map(str, [*shown, one.wrong, one.misregistered, one.misplaced]))


def plot(found: dict[tuple[Condition, float], Outcome], file: Path) -> None:
    """Plot right, accepted and silently wrong, a panel a condition."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    conditions = sorted({condition for condition, _ in found})
    columns = 5
    rows = -(-len(conditions) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(12, 2.3 * rows), sharex=True, sharey=True, squeeze=False
    )
    for axis, condition in zip(axes.flat, conditions, strict=False):
        ours = sorted((s, one) for (c, s), one in found.items() if c == condition)
        at = [strength for strength, _ in ours]
        axis.plot(at, [100 * o.right / o.fields for _, o in ours], "o-", label="right")
        axis.plot(at, [100 * o.accepted / o.fields for _, o in ours], "s--", label="accepted")
        axis.plot(
            at, [100 * o.wrong / o.fields for _, o in ours], "rx-", label="silently wrong"
        )
        axis.set_title(str(condition), fontsize=9)
        axis.grid(alpha=0.3)
    for axis in list(axes.flat)[len(conditions) :]:
        axis.set_axis_off()
    axes[0][0].legend(fontsize=7, loc="lower left")
    figure.supxlabel("strength", fontsize=9)
    figure.supylabel("percent of fields", fontsize=9)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--dense", action="store_true", help="a form of 40 × 6 digits")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="folder for the table, the plot, bad pages")
    asked = parser.parse_args()
    began = time.monotonic()
    keep = None
    if asked.out is not None:
        keep = asked.out / "pages"
        keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "forms"
        make_forms(folder)
        names = sorted(path.name for path in folder.iterdir())
        if asked.dense:
            names = [draw_dense(folder / "dense").name]
        listed = cases(asked.pages, names)
        found = run_all(
            listed, folder=folder, seed=asked.seed, workers=asked.workers, keep=keep
        )
        odd = read_odd(folder, asked.seed)
    print(table(found))
    for name, reading in odd.items():
        said = f"{reading.status} {reading.cause}".strip()
        print(f"{name}: {said}; {accepted_of(reading)} accepted")
    print(f"{asked.pages} pages, seed {asked.seed}, {time.monotonic() - began:.0f} s")
    if asked.out is not None:
        (asked.out / "stress.md").write_text(table(found), encoding="utf-8")
        plot(found, asked.out / "stress.png")
    if any(one.misplaced for one in found.values()):
        sys.exit("fields were read from the wrong place, and nothing was said")


if __name__ == "__main__":
    main()
