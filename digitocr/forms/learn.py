"""A stack of filled scans of one form → its empty picture and the fields it may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from digitocr.errors import RegistrationError
from digitocr.forms import proposals as proposing
from digitocr.forms.anchors import find_anchors
from digitocr.forms.median import lay, without_writing
from digitocr.forms.proposals import Evidence, Proposal, Sureness
from digitocr.forms.settling import LaidPage, Settled, settle
from digitocr.forms.stack import LEAST_PAGES, Group, Scanned, Unfit, gather
from digitocr.templates import FormTemplate
from digitocr.types import FieldKind, Gray, Page, PageTemplate

MOST_FORM_PAGES = 8
LEAST_TOGETHER = 2  # documents in which two prints come together, if they are pages of one form
MOST_JUDGED = 8  # pages on which open fields are read to see whether numbers are written there
NUMBERS = 0.4  # share of what is written in an open field that has to read as numbers
SURE_NUMBERS = 0.7

# (form, pages) → for each field how many of its writings there are, and how many are numbers.
Judge = Callable[[FormTemplate, Sequence[Page]], Mapping[str, tuple[int, int]]]


@dataclass(frozen=True, slots=True, eq=False)
class LearnedPage:
    """One page of the form: its template with the empty picture, and fields it may have."""

    template: PageTemplate
    dpi_known: bool
    proposals: tuple[Proposal, ...]
    scans: tuple[LaidPage, ...]


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
        Says of open fields how much of what is written there is a number. Without it, names
        and signatures are proposed as well.
    done
        Called with the name of each scan that is laid.

    Raises
    ------
    RegistrationError
        If fewer than five scans show the same print, or one where the blank is given.
    """
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
        pages.append(_learned(settled, len(pages) + 1, cleaned=printed is None))
    if not pages:
        raise RegistrationError(_too_few(len(scans), blank))
    rest = tuple(unfit.get(one.source) or Unfit(one.source, _unlike(one)) for one in left)
    ordered = _in_order(pages)
    learned = Learned(name, tuple(ordered), rest)
    return learned if judge is None else _judged(learned, judge)


def _printed(group: Group, blank: Scanned) -> Gray:
    """Lay the empty form itself into the frame."""
    frame = group.frame
    return lay(blank.page.image, group.from_center, frame.width, frame.height, frame.dpi)


def _learned(settled: Settled, number: int, *, cleaned: bool) -> LearnedPage:
    evidence = proposing.evidence_of(settled)
    found = proposing.propose(evidence, number)
    picture = settled.blank
    if cleaned:
        images = [page.image for page in settled.pages]
        picture = _with_lines(picture, images, evidence)
        inside = proposing.insides(found, evidence)
        picture = without_writing(picture, images, inside)
        picture[inside & evidence.crossing] = 255
    frame = settled.frame
    template = PageTemplate(
        number, frame.width, frame.height, frame.dpi, picture, find_anchors(picture)
    )
    return LearnedPage(template, frame.dpi_known, found, settled.pages)


def _with_lines(picture: Gray, images: Sequence[Gray], evidence: Evidence) -> Gray:
    """Draw lines as most pages have them: thin ones are a pixel off on some."""
    lines = evidence.lines.across | evidence.lines.down
    drawn = picture.copy()
    usual = np.median(np.stack([image[lines] for image in images]), axis=0)
    drawn[lines] = np.minimum(drawn[lines], usual.astype(np.uint8))
    return drawn


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


def _judged(learned: Learned, judge: Judge) -> Learned:
    """Keep of the open fields those in which numbers are written."""
    scans = [scan.scanned.page for page in learned.pages for scan in _spread(page.scans)]
    numbers = judge(learned.form, scans)
    pages = []
    for page in learned.pages:
        kept = [
            judged
            for one in page.proposals
            if (judged := _judge_one(one, *numbers.get(one.field.name, (0, 0)))) is not None
        ]
        pages.append(replace(page, proposals=proposing.named(kept, page.template.number)))
    return replace(learned, pages=tuple(pages))


def _spread(scans: Sequence[LaidPage]) -> list[LaidPage]:
    """Take some of the pages, over the whole stack."""
    most = min(len(scans), MOST_JUDGED)
    return [scans[round(place)] for place in np.linspace(0, len(scans) - 1, most)]


def _judge_one(one: Proposal, written: int, numbers: int) -> Proposal | None:
    if one.field.kind is not FieldKind.OPEN:
        return one
    share = numbers / written if written else 0.0
    if share < NUMBERS:
        return None
    sure = share >= SURE_NUMBERS and one.written >= proposing.SURE
    why = f"{one.why}; {numbers} of {written} read as numbers"
    return replace(one, sureness=Sureness.SURE if sure else Sureness.LIKELY, why=why)


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
