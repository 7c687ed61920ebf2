"""Colored print out of a colored scan: what has the print's color goes, what crosses it stays.

On a gray scan a red box is as dark as a pencil. In colors it is told from ink by its hue: its
share of every pixel near where the form prints it is taken away, and no more than the form
prints there. Ink of any other color keeps its darkness, and ink of the same color what it has
beyond the print's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from digitocr.imaging.binarization import Darkness, darkness, paper
from digitocr.types import Color, Gray

LEAST_CHROMA = 40  # of 255: brightest less darkest channel of print that has a color
LEAST_SHARE = 0.002  # of a field's picture; less is dust
LEAST_TINT = 0.35  # of the print's darkest channel, that its lightest one is lighter
MORE_THAN_PRINTED = 1.3  # scanners and printers differ
LUMA = np.array([0.114, 0.587, 0.299], np.float32)  # of blue, green and red (ITU-R BT.601)

_Darkness3 = NDArray[np.float32]  # (H, W, 3): darkness in blue, green and red


@dataclass(frozen=True, slots=True, eq=False)
class DroppedOut:
    """A field and its print in gray, without what had the print's color."""

    gray: Gray
    printed: Gray


def drop_out(color: Color, printed: Color, *, reach: int, slack: int) -> DroppedOut | None:
    """Take what a form prints in color out of a field's picture.

    Parameters
    ----------
    color, printed : (H, W, 3) uint8
        The field on the scan, and on the empty form. Neither is changed.
    reach : pixels
        Wider than any stroke; see `binarization.paper`.
    slack : pixels
        How far the print may lie from where the empty form has it.

    Returns
    -------
    None where the form prints nothing in color here.
    """
    form = _darkness(printed, reach)
    tint = _tint(form)
    if tint is None:
        return None
    page = _darkness(color, reach)
    of_form, of_page = _amount(form, tint), _amount(page, tint)
    strong = of_form > 0.5 * float(of_form.max())
    gain = float(np.clip(np.median(of_page[strong] / of_form[strong]), 0.5, 1.6))
    side = 2 * slack + 1
    near = cv2.dilate(of_form, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    taken = np.minimum(of_page, near * np.float32(gain * MORE_THAN_PRINTED))
    left = np.clip((page - taken[..., None] * tint) @ LUMA, 0.0, 1.0)
    # Thin lines keep some gray: scans have fewer pixels of color than of gray. It is print.
    before = np.clip(form @ LUMA, 1e-3, 1.0)
    kept = float(np.clip(np.quantile(left[strong] / before[strong], 0.75), 0.0, 1.0))
    plain = np.clip((form - of_form[..., None] * tint) @ LUMA, 0.0, 1.0)
    residue = np.maximum(plain, kept * before)
    return DroppedOut(
        _as_gray(cv2.cvtColor(color, cv2.COLOR_BGR2GRAY), left, reach),
        _as_gray(cv2.cvtColor(printed, cv2.COLOR_BGR2GRAY), residue, reach),
    )


def _darkness(color: Color, reach: int) -> _Darkness3:
    channels = [
        darkness(np.ascontiguousarray(color[..., c]), reach=reach, margins=False)
        for c in range(3)
    ]
    return np.clip(np.stack(channels, axis=-1), 0.0, 1.0)


def _tint(form: _Darkness3) -> NDArray[np.float32] | None:
    """Find the color of the print: its darkness in three channels, the darkest 1."""
    chroma = form.max(axis=2) - form.min(axis=2)
    tinted = chroma > LEAST_CHROMA / 255
    if tinted.mean() < LEAST_SHARE:
        return None
    mean = form[tinted].mean(axis=0)
    tint: NDArray[np.float32] = (mean / mean.max()).astype(np.float32)
    return tint if 1 - tint.min() >= LEAST_TINT else None


def _amount(dark: _Darkness3, tint: NDArray[np.float32]) -> Darkness:
    """Say how much of the tint is in every pixel, beside a gray that is in all channels."""
    lightest, darkest = int(tint.argmin()), int(tint.argmax())
    amount = (dark[..., darkest] - dark[..., lightest]) / (1 - tint[lightest])
    clipped: Darkness = np.clip(amount, 0.0, 1.0).astype(np.float32)
    return clipped


def _as_gray(gray: Gray, dark: Darkness, reach: int) -> Gray:
    """Draw darkness on the paper of a picture."""
    result: Gray = np.rint(paper(gray, reach=reach) * (1 - dark)).astype(np.uint8)
    return result
