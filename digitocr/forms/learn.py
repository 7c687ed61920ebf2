"""A stack of filled scans of one form → its empty picture and the fields it may have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from digitocr.errors import RegistrationError
from digitocr.forms import cleaning, hints, stack
from digitocr.forms import proposals as proposing
from digitocr.forms.anchors import find_anchors
from digitocr.forms.hints import Readings, Sum
from digitocr.forms.median import lay
from digitocr.forms.proposals import Proposal
from digitocr.forms.settling import LaidPage, Settled, settle
from digitocr.forms.stack import LEAST_PAGES, Group, Scanned, Unfit, gather
from digitocr.templates import FormTemplate
from digitocr.types import Gray, Page, PageReading, PageTemplate

MOST_FORM_PAGES = 8
LEAST_TOGETHER = 2  # documents in which two prints come together, if they are pages of one form
MOST_JUDGED = 16  # pages that are read to see what is written where
UPRIGHT = 0.6  # share of what is written that is surely read: less, and pages may be turned

Judge = Callable[[FormTemplate, Sequence[Page]], Sequence[PageReading]]  # reads the pages


@dataclass(frozen=True, slots=True, eq=False)
class LearnedPage:
    """One page of the form: its template with the empty picture, and fields it may have."""

    template: PageTemplate
    dpi_known: bool
    proposals: tuple[Proposal, ...]
    scans: tuple[LaidPage, ...]
    sums: tuple[Sum, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A form learned from scans, and the scans that are not of it."""

    name: str
    pages: tuple[LearnedPage, ...]
    unfit: tuple[Unfit, ...]

    @property
    def form(self) -> FormTemplate:
        """The form as reading takes it."""
        return FormTemplate(
            name=self.name,
            version=1,
            title=self.name,
            pages=tuple(page.template for page in self.pages),
            fields=tuple(one.field for page in self.pages for one in page.proposals),
            rules=(),
            fingerprint="",
            source="",
        )


def learn(
    scans: Sequence[Scanned],
    name: str,
    *,
    max_residual_mm: float,
    blank: Scanned | None = None,
    judge: Judge | None = None,
    done: Callable[[str], None] = lambda source: None,
) -> Learned:
    """Learn a form from filled scans of it.

    Parameters
    ----------
    blank
        The empty form, where there is one; it is taken as the picture of page 1.
    judge
        Reads pages with the learned form. Without it, names and signatures are proposed as
        well, nothing is said of dates and sums, and a stack that is upside down stays so.
    done
        Called with the name of each scan that is laid.

    Raises
    ------
    RegistrationError
        If fewer than five scans show the same print, or one where the blank is given.
    """
    learned = _learn(scans, name, max_residual_mm, blank, done)
    if judge is None:
        return learned
    judged, share = _judged(learned, judge)
    if share >= UPRIGHT or blank is not None:
        return judged
    best = judged, share
    for quarters in (2, 1, 3):
        turned = [stack.turned(one, quarters) for one in scans]
        learned = _learn(turned, name, max_residual_mm, None, lambda source: None)
        best = max(best, _judged(learned, judge), key=lambda one: one[1])
        if best[1] >= UPRIGHT:
            break
    return best[0]


def _learn(
    scans: Sequence[Scanned],
    name: str,
    max_residual_mm: float,
    blank: Scanned | None,
    done: Callable[[str], None],
) -> Learned:
    """Learn a form as its scans lie."""
    pages: list[LearnedPage] = []
    unfit: dict[str, Unfit] = {}
    left = list(scans)
    while len(pages) < MOST_FORM_PAGES:
        group = gather(left, None if pages else blank)
        settled = None
        if group is not None:
            printed = None
            if blank is not None and not pages:
                printed = _printed(group, blank)
            settled = settle(group, max_residual_mm=max_residual_mm, printed=printed, done=done)
        if settled is None or (pages and not _belongs(settled, pages)):
            break
        used = {id(page.scanned) for page in settled.pages}
        left = [one for one in left if id(one) not in used]
        unfit |= {one.source: one for one in settled.unfit}
        pages.append(_learned(settled, len(pages) + 1, known=printed is not None))
    if not pages:
        raise RegistrationError(_too_few(len(scans), blank))
    rest = tuple(unfit.get(one.source) or Unfit(one.source, _unlike(one)) for one in left)
    ordered = _in_order(pages)
    return Learned(name, tuple(ordered), rest)


def _printed(group: Group, blank: Scanned) -> Gray:
    """Lay the empty form itself into the frame."""
    frame = group.frame
    return lay(blank.page.image, group.from_center, frame.width, frame.height, frame.dpi)


def _learned(settled: Settled, number: int, *, known: bool) -> LearnedPage:
    evidence = proposing.evidence_of(settled)
    found = proposing.propose(evidence, number)
    picture = settled.blank
    if not known:
        images = [page.image for page in settled.pages]
        picture, found = cleaning.cleaned(picture, images, found, evidence)
    frame = settled.frame
    template = PageTemplate(
        number, frame.width, frame.height, frame.dpi, picture, find_anchors(picture)
    )
    return LearnedPage(template, frame.dpi_known, found, settled.pages)


def _belongs(settled: Settled, pages: Sequence[LearnedPage]) -> bool:
    """Say whether a print comes in the same documents as the pages that are known."""
    known = {one.scanned.page.document.sha256 for page in pages for one in page.scans}
    here = {one.scanned.page.document.sha256 for one in settled.pages}
    return len(known & here) >= LEAST_TOGETHER


def _in_order(pages: Sequence[LearnedPage]) -> list[LearnedPage]:
    """Give the pages the numbers that they have in most documents."""
    places = [float(np.median([s.scanned.page.number for s in page.scans])) for page in pages]
    order = sorted(range(len(pages)), key=lambda i: (places[i], i))
    ordered = []
    for number, index in enumerate(order, 1):
        page = pages[index]
        ordered.append(
            replace(
                page,
                template=replace(page.template, number=number),
                proposals=proposing.named(page.proposals, number),
            )
        )
    return ordered


def _judged(learned: Learned, judge: Judge) -> tuple[Learned, float]:
    """Say what fields hold by what is read in them, and what share of it is numbers."""
    scans = [scan.scanned.page for page in learned.pages for scan in _spread(page.scans)]
    readings = Readings.of(judge(learned.form, scans))
    pages = []
    for page in learned.pages:
        kept = [one for p in page.proposals if (one := hints.with_numbers(p, readings))]
        typed = [hints.with_type(one, readings) for one in kept]
        ordered = proposing.named(typed, page.template.number)
        # Names count rows and places: without those that hold no numbers, they are others.
        names = {one.field.box: one.field.name for one in page.proposals}
        now = Readings(
            {one.field.name: readings.fields.get(names[one.field.box], ()) for one in ordered}
        )
        sums = hints.find_sums([one.field for one in ordered], now)
        pages.append(replace(page, proposals=ordered, sums=sums))
    return replace(learned, pages=tuple(pages)), readings.share


def _spread(scans: Sequence[LaidPage]) -> list[LaidPage]:
    """Take some of the pages, over the whole stack."""
    most = min(len(scans), MOST_JUDGED)
    return [scans[round(place)] for place in np.linspace(0, len(scans) - 1, most)]


def _too_few(count: int, blank: Scanned | None) -> str:
    if blank is not None:
        return (
            f"none of {count} scans fits {blank.source}; name scans of that form, or leave "
            "--blank out"
        )
    return (
        f"of {count} scans fewer than {LEAST_PAGES} show the same print; name at least "
        f"{LEAST_PAGES} filled scans of one form, or its empty form with --blank"
    )


def _unlike(one: Scanned) -> str:
    if one.features is None:
        return "is blank, or has too little print to be found by"
    return "its print is not that of the others: another form, or the back of one"
