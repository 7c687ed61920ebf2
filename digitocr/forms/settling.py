"""A group of pages that look alike → those that are of one form, and its empty picture.

Pages that share a header or corner marks match, and are another form all the same. So the
print they share is found in rounds: pages on which less of it is in its place than on most are
left out of the next round's picture, and judged by that again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from digitocr.forms.median import blank_of, lay
from digitocr.forms.stack import LEAST_PAGES, Frame, Group, Scanned, Unfit, in_threads
from digitocr.imaging.bending import bend
from digitocr.imaging.binarization import darkness
from digitocr.imaging.registration import MATCH_DPI, Fit, prepare, refine
from digitocr.types import MM_PER_INCH, Gray, Homography, PageTemplate

ROUNDS = 2
ALIKE_DPI = 60.0
ALIKE_BLUR = 1.5  # pixels
ALIKE_GAP = 0.08  # in likeness (-1 to 1), between pages of one form and others
BELOW_MOST = 0.1  # share of the print by which a page may have less in place than most have
LEAST_BLOCKS = 6
LEAST_ALIKE = 2  # pages that another print has, to be one
OTHER_PRINT_MM = 0.15  # by which another print of a form lies elsewhere, at least
OTHER_PRINT_RATIO = 2.5  # and by how much more than pages of one print differ
LEAST_SUPPORT = 0.8  # of a page that the picture is made of; reading is content with less


@dataclass(frozen=True, slots=True, eq=False)
class LaidPage:
    """A page of the form: how it lies, and its picture in the frame of the template."""

    scanned: Scanned
    homography: Homography  # page → template
    residual_mm: float
    support: float
    image: Gray


@dataclass(frozen=True, slots=True, eq=False)
class Settled:
    """The empty form, the pages it was made of, and those of the group that do not fit."""

    frame: Frame
    blank: Gray
    pages: tuple[LaidPage, ...]
    unfit: tuple[Unfit, ...]


def settle(
    group: Group,
    *,
    max_residual_mm: float,
    printed: Gray | None = None,
    done: Callable[[str], None] = lambda source: None,
) -> Settled | None:
    """Make the empty form of a group, and say which of its pages fit.

    Parameters
    ----------
    printed
        The empty form in the group's frame, where it is known.
    done
        Called with each page's name when it is laid.

    Returns
    -------
    None where fewer than `LEAST_PAGES` fit, or one if the empty form is known.
    """
    starts, core = _agree(group, printed)
    fits = _judge(group, starts, core, printed)
    found = [fit.support for i, fit in enumerate(fits) if fit is not None and i in core]
    # What most pages have in place, a page of another version has only in part.
    least = max(LEAST_SUPPORT, float(np.median(found)) - BELOW_MOST) if found else LEAST_SUPPORT
    causes = [_cause(fit, least, max_residual_mm) for fit in fits]
    kept = [
        (one, fit)
        for (one, _), fit, cause in zip(group.members, fits, causes, strict=True)
        if fit is not None and cause is None
    ]
    if len(kept) < (LEAST_PAGES if printed is None else 1):
        return None
    if printed is None and (others := _other_print(kept)):
        rest = {id(kept[index][0]): cause for index, cause in others.items()}
        members = tuple(member for member in group.members if id(member[0]) not in rest)
        settled = settle(
            replace(group, members=members), max_residual_mm=max_residual_mm, done=done
        )
        if settled is not None:
            named = [Unfit(one.source, rest[id(one)]) for one, _ in kept if id(one) in rest]
            return replace(settled, unfit=(*settled.unfit, *named))
    frame, up = group.frame, np.linalg.inv(_to_small(group.frame))

    def laid(member: tuple[Scanned, Fit]) -> Gray:
        one, fit = member
        image = _lay(one, up @ fit.homography, frame)
        done(one.source)
        return image

    images = in_threads(laid, kept)
    rough = blank_of(images) if printed is None else _resized(printed, frame)
    images = in_threads(lambda image: bend(image, rough, frame.dpi), images)
    pages = tuple(
        LaidPage(one, up @ fit.homography, fit.residual_mm, fit.support, image)
        for (one, fit), image in zip(kept, images, strict=True)
    )
    unfit = tuple(
        Unfit(one.source, cause)
        for (one, _), cause in zip(group.members, causes, strict=True)
        if cause is not None
    )
    return Settled(frame, blank_of(images) if printed is None else rough, pages, unfit)


def _other_print(kept: Sequence[tuple[Scanned, Fit]]) -> dict[int, str]:
    """Find the pages of another print of the form, and say why they are.

    Two prints of one form, set anew or copied, differ by tenths of a millimetre in the same
    places on all their pages; what one scanner did to one page it did to no other.
    """
    off_mm = np.stack(
        [fit.marks[:, 3:5] / fit.reference.template.dpi * MM_PER_INCH for _, fit in kept]
    )
    off_mm = off_mm[:, np.isfinite(off_mm).all(axis=(0, 2))]  # what was found on every page
    if off_mm.shape[1] < LEAST_BLOCKS:
        return {}
    apart = np.sqrt(((off_mm[:, None] - off_mm[None]) ** 2).sum(3).mean(2))
    seeds = np.unravel_index(int(np.argmax(apart)), apart.shape)
    side = apart[:, seeds[0]] > apart[:, seeds[1]]
    if side.mean() > 0.5:
        side = ~side
    alike = (side[:, None] == side[None]) & ~np.eye(len(kept), dtype=bool)
    across = side[:, None] != side[None]
    if min(side.sum(), (~side).sum()) < LEAST_ALIKE or (~side).sum() < LEAST_PAGES:
        return {}
    within, between = float(np.median(apart[alike])), float(np.median(apart[across]))
    if between < max(OTHER_PRINT_MM, OTHER_PRINT_RATIO * within):
        return {}
    here, there = (np.median(off_mm[part], axis=0) for part in (side, ~side))
    most = float(np.max(np.hypot(*(here - there).T)))
    cause = (
        f"parts of its print lie {most:.1f} mm elsewhere than on most, as on all of "
        f"{int(side.sum())} scans: another print of the form, or another scanner; learn these "
        "by themselves if they are not read well"
    )
    return {int(index): cause for index in np.flatnonzero(side)}


def _agree(group: Group, printed: Gray | None) -> tuple[list[Homography], list[int]]:
    """Bring the pages that show the same print closer together, round by round.

    Returns
    -------
    starts
        For every member the homography, page → small frame.
    core
        Which members the empty form is made of.
    """
    small, down = _small(group.frame), _to_small(group.frame)
    starts: list[Homography] = [down @ matrix for _, matrix in group.members]
    if printed is not None:
        return starts, []
    core = _alike(_laid_small(group, starts), small)
    for _ in range(ROUNDS):
        fits = _judge(group, starts, core, None)
        supports = [0.0 if fit is None else fit.support for fit in fits]
        usual = float(np.median([supports[i] for i in core]))
        core = [i for i, support in enumerate(supports) if support >= usual - BELOW_MOST]
        starts = [
            fit.homography if fit is not None and i in core else start
            for i, (start, fit) in enumerate(zip(starts, fits, strict=True))
        ]
    return starts, core


def _judge(
    group: Group, starts: Sequence[Homography], core: Sequence[int], printed: Gray | None
) -> list[Fit | None]:
    """Lay every page onto the empty form; where it is unknown, the core makes it."""
    small = _small(group.frame)
    if printed is None:
        images = _laid_small(group, starts)
        picture = blank_of([images[i] for i in core])
    else:
        picture = _resized(printed, small)
    reference = prepare(PageTemplate(1, small.width, small.height, small.dpi, picture))
    jobs = [(one, start) for (one, _), start in zip(group.members, starts, strict=True)]
    return in_threads(lambda job: refine(job[0].view, reference, job[1]), jobs)


def _laid_small(group: Group, starts: Sequence[Homography]) -> list[Gray]:
    jobs = [(one, start) for (one, _), start in zip(group.members, starts, strict=True)]
    small = _small(group.frame)
    return in_threads(lambda job: _lay(job[0], job[1], small), jobs)


def _small(frame: Frame) -> Frame:
    """Give the frame at the resolution that print is compared at."""
    scale = min(1.0, MATCH_DPI / frame.dpi)
    w, h = round(frame.width * scale), round(frame.height * scale)
    return Frame(w, h, frame.dpi * scale, frame.dpi_known)


def _to_small(frame: Frame) -> Homography:
    small = _small(frame)
    matrix: Homography = np.diag([small.width / frame.width, small.height / frame.height, 1.0])
    return matrix


def _alike(images: Sequence[Gray], frame: Frame) -> list[int]:
    """Choose the pages that show most clearly the same print, from how they lie at first.

    What is written is little beside the print, so pages of one form are much alike, and a
    gap stands between them and pages that share a header with it.
    """
    darks = []
    for image in images:
        dark = darkness(image, reach=round(frame.dpi * 0.2), margins=False)
        small = cv2.resize(dark, None, fx=ALIKE_DPI / frame.dpi, fy=ALIKE_DPI / frame.dpi,
                           interpolation=cv2.INTER_AREA)  # fmt: skip
        blurred = cv2.GaussianBlur(small, (0, 0), ALIKE_BLUR).ravel().astype(np.float64)
        centered = blurred - blurred.mean()
        darks.append(centered / max(float(np.linalg.norm(centered)), 1e-9))
    likeness = np.array(darks) @ np.array(darks).T
    half = max(LEAST_PAGES, len(images) // 4)
    middle = int(np.argmax(np.sort(likeness, axis=1)[:, -half:].mean(1)))
    order = np.argsort(-likeness[middle])
    falls = -np.diff(likeness[middle][order])
    for place in range(LEAST_PAGES - 1, len(falls)):
        if falls[place] >= ALIKE_GAP:
            return sorted(int(index) for index in order[: place + 1])
    return list(range(len(images)))


def _resized(printed: Gray, frame: Frame) -> Gray:
    size = (frame.width, frame.height)
    image: Gray = cv2.resize(printed, size, interpolation=cv2.INTER_AREA)
    return image


def _lay(sheet: Scanned, matrix: Homography, frame: Frame) -> Gray:
    return lay(sheet.page.image, matrix, frame.width, frame.height, frame.dpi)


def _cause(fit: Fit | None, least: float, max_residual_mm: float) -> str | None:
    """Say why a page does not fit, or nothing."""
    if fit is None or fit.support < least:
        share = 0.0 if fit is None else fit.support
        return (
            f"only {share:.0%} of the print was found in its place: another form or version, "
            "or a page that is bent or covered"
        )
    if fit.residual_mm > max_residual_mm:
        return (
            f"its print lies {fit.residual_mm:.1f} mm off (at most {max_residual_mm:.1f}): "
            "rescan the sheet flat"
        )
    return None
