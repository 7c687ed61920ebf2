"""Bar and QR codes: read them, draw them, and the page code that names a page of a form.

A page code is a QR code with the text `digitocr/<form>/<version>/<page>` and, on numbered
copies, `/<serial>`. It says which page this is; where the page lies is said by anchors and
print, as on any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from digitocr.imaging.landmarks import View, resize, view_of
from digitocr.types import Gray

if TYPE_CHECKING:
    import zxingcpp

PAGE_CODE = re.compile(
    r"digitocr/([A-Za-z0-9][A-Za-z0-9_.-]*)/([1-9][0-9]*)/([1-9][0-9]*)(?:/([0-9]+))?"
)
FINE_SIDE = 2600  # of a copy of A4 in which modules of half a millimetre are four pixels wide
LINEAR_UNCHECKED = ("Code39", "ITF", "Codabar", "Code93", "Telepen", "DXFilmEdge")
MATRIX = ("QRCode", "DataMatrix", "Aztec", "PDF417", "MicroPDF417", "MaxiCode", "RMQRCode")


@dataclass(frozen=True, slots=True)
class PageCode:
    """Which page of which form a page says it is."""

    form: str
    version: int
    page: int
    serial: str = ""

    def __str__(self) -> str:
        return "/".join(["digitocr", self.form, str(self.version), str(self.page)]) + (
            f"/{self.serial}" if self.serial else ""
        )

    @staticmethod
    def parsed(text: str) -> PageCode | None:
        """Read the text of a code; None where it is no page code."""
        found = PAGE_CODE.fullmatch(text)
        if found is None:
            return None
        form, version, page, serial = found.groups()
        return PageCode(form, int(version), int(page), serial or "")


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A bar or QR code that was read: its text, symbology, and its corners in the picture."""

    text: str
    symbology: str
    corners: NDArray[np.float64]  # (4, 2); x, y; clockwise from the code's own top left

    @property
    def center(self) -> tuple[float, float]:
        x, y = self.corners.mean(axis=0)
        return float(x), float(y)

    @property
    def corrects_errors(self) -> bool:
        """Say whether the symbology finds nearly every misread by itself."""
        return self.symbology.startswith(MATRIX)

    @property
    def is_checked(self) -> bool:
        """Say whether the symbology has a check digit at least."""
        return not self.symbology.startswith(LINEAR_UNCHECKED)


def read_codes(gray: Gray, *, qr_only: bool = False) -> tuple[Code, ...]:
    """Read every bar and QR code of a picture, in order of top and left.

    Parameters
    ----------
    gray : (H, W) uint8
        Dark bars on light paper, either way up. Not changed.
    """
    import zxingcpp

    wanted = zxingcpp.BarcodeFormat.QRCode if qr_only else zxingcpp.BarcodeFormat.AllReadable
    formats = zxingcpp.BarcodeFormats(wanted)
    found = zxingcpp.read_barcodes(
        np.ascontiguousarray(gray), formats=formats, try_invert=False, try_rotate=not qr_only
    )
    codes = [
        Code(one.text, one.symbology.name, _corners(one.position)) for one in found if one.valid
    ]
    return tuple(sorted(codes, key=lambda code: (code.center[1], code.center[0])))


def find_page_codes(image: Gray, view: View | None = None) -> tuple[PageCode, ...]:
    """Find the page codes of a scan: none, one, or as many as there are sheets on it.

    They are sought in its `view` first, which is quick.
    """
    view = view or view_of(image)
    found = _page_codes(view.image)
    if found or view.scale == 1.0:
        return found
    return _page_codes(resize(image, FINE_SIDE / max(image.shape)))


def _page_codes(image: Gray) -> tuple[PageCode, ...]:
    codes = (PageCode.parsed(one.text) for one in read_codes(image, qr_only=True))
    return tuple(code for code in codes if code is not None)


def draw_code(text: str, symbology: str) -> NDArray[np.bool_]:
    """Draw a code, one pixel a module, without the quiet zone around it.

    Parameters
    ----------
    symbology
        `QRCode`, `Code128`, or another that zxing-cpp knows and can write.

    Returns
    -------
    (rows, columns) bool, True where it is dark; a bar code has one row.

    Raises
    ------
    ValueError
        If the text does not go into such a code.
    """
    import zxingcpp

    format = zxingcpp.barcode_format_from_str(symbology)
    # Medium correction: a stain on a seventh of a page code leaves it readable.
    more: dict[str, Any] = {"ec_level": "M"} if symbology == "QRCode" else {}
    code = zxingcpp.create_barcode(text, format, **more)
    drawn = np.asarray(code.to_image(scale=1, add_quiet_zones=False)) < 128
    result: NDArray[np.bool_] = drawn[:1] if (drawn == drawn[0]).all() else drawn
    return result


def _corners(position: zxingcpp.Position) -> NDArray[np.float64]:
    above = position.top_left, position.top_right
    below = position.bottom_right, position.bottom_left
    return np.array([(point.x, point.y) for point in (*above, *below)], np.float64)
