"""PNG, JPEG, TIFF, BMP and WebP → gray pictures, by Pillow.

OpenCV decodes a tenth quicker, but half a JPEG is a half gray page to it and its codecs write
to stderr; Pillow refuses what is cut short and says so to us alone. Gray is luma: blue has the
least weight in it, so blue ink comes out nearly as dark as black. The darkest channel would
come out darker still, and so would tinted paper and red print.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from digitocr.errors import ScanError
from digitocr.scans import libtiff, webp
from digitocr.types import Color, Gray

LEAST_DPI, MOST_DPI = 50.0, 1300.0
# Software and telephones that know nothing write these: believed up to A3 and no farther.
DEFAULT_DPI = (72.0, 96.0)
A3_INCHES = 16.6
# Coarse fax has 204 × 98 dots an inch; fine fax, 204 × 196, is square enough.
SQUARE, MOST_ASPECT = 1.1, 4.0

# Plugins by name: `Image.open` tries every one it has, and has a bound of its own.
PLUGINS: tuple[tuple[re.Pattern[bytes], type[ImageFile.ImageFile]], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    (re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    (re.compile(rb"BM"), BmpImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile),
)
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
JPEG_BLOCK, JPEG_UNFILLED = 8, 128
PNG_HEAD, PNG_FRAME = 8, 12  # bytes before the first chunk; of a chunk that holds nothing
SUBFILE_TYPE, REDUCED = 254, 1
DAMAGED = (
    "is damaged, cut short or of a kind not known; copy it or scan the page again, "
    "or save it as PNG"
)

# What Pillow has to say about a broken file is said by our ScanError.
logging.getLogger("PIL").setLevel(logging.CRITICAL)
_pillow_bound = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded page and the dots an inch its file claims, across and down.

    `color` is there where it was asked for and the file has colors.
    """

    image: Gray
    dpi: tuple[float, float] | None
    color: Color | None = None


def believed_dpi(picture: Picture) -> float | None:
    """Give the resolution a picture claims, or None where it cannot be believed."""
    if picture.dpi is None:
        return None
    if not all(LEAST_DPI <= dpi <= MOST_DPI for dpi in picture.dpi):
        return None
    if max(picture.dpi) > MOST_ASPECT * min(picture.dpi):
        return None
    dpi = math.sqrt(picture.dpi[0] * picture.dpi[1])
    by_default = any(abs(dpi - default) < 0.5 for default in DEFAULT_DPI)
    if by_default and max(picture.image.shape) / dpi > A3_INCHES:
        return None
    return dpi


def with_square_pixels(picture: Picture) -> Picture:
    """Stretch a picture that has fewer dots one way than the other, as coarse fax has."""
    if picture.dpi is None or believed_dpi(picture) is None:
        return picture
    most = max(picture.dpi)
    if most < SQUARE * min(picture.dpi):
        return picture
    h, w = picture.image.shape
    size = (round(w * most / picture.dpi[0]), round(h * most / picture.dpi[1]))
    image, color = (
        None if one is None else np.asarray(cv2.resize(one, size), np.uint8)
        for one in (picture.image, picture.color)
    )
    assert image is not None
    return Picture(image, (most, most), color)


def refuse_large(width: int, height: int, most_pixels: int) -> None:
    """Raise ScanError for a picture of more pixels than are opened."""
    if width * height > most_pixels:
        raise ScanError(
            f"has {width} × {height} pixels, more than max_megapixels = "
            f"{most_pixels // 1_000_000}; scan it at a lower resolution, or raise the setting"
        )


def open_picture(
    data: bytes, most_pixels: int, *, color: bool = False
) -> Callable[[int], Picture]:
    """Look at the header of a file of one picture, and give what decodes it."""
    opener = next((plugin for magic, plugin in PLUGINS if magic.match(data)), None)
    if opener is None:
        raise ScanError(
            "is not a scan; save it as PNG, JPEG, TIFF, BMP, WebP or PDF, which digitocr reads"
        )

    def decode(number: int) -> Picture:
        with _pillow():
            image = opener(io.BytesIO(data))
        refuse_large(*image.size, most_pixels)
        picture = _decode(image, color=color)
        if opener is WebPImageFile:
            _refuse_damaged_webp(data)
        return picture

    with _pillow():
        size = opener(io.BytesIO(data)).size
    refuse_large(*size, most_pixels)
    if opener is PngImageFile:
        _refuse_damaged_png(data)
    return decode


def _refuse_damaged_webp(data: bytes) -> None:
    """Refuse a WebP whose decoder went astray: it did not come to the end of the pixels."""
    if any(all(map(_is_decoded, shorter)) for shorter in webp.shortened(data)):
        raise ScanError(DAMAGED)


def _is_decoded(data: bytes) -> bool:
    try:
        with _pillow():
            WebPImageFile(io.BytesIO(data)).load()
    except ScanError:
        return False
    return True


def _refuse_damaged_png(data: bytes) -> None:
    """Check what a PNG says of itself: Pillow takes pixels it cannot inflate for white paper.

    Only of the chunks that hold the picture; what is told beside it may be wrong.
    """
    at = PNG_HEAD
    while at + PNG_FRAME <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, end = data[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(data):
            break
        if (
            name[:1].isupper()
            and zlib.crc32(data[at + 4 : end]).to_bytes(4) != data[end : end + 4]
        ):
            raise ScanError(DAMAGED)
        if name == b"IEND":
            return
        at = end + 4
    raise ScanError(DAMAGED)


def decode_jpeg(data: bytes, *, color: bool = False) -> Picture | None:
    """Decode a JPEG from inside a PDF, or give None where it is not plain gray or RGB."""
    with _pillow():
        image = JpegImageFile(io.BytesIO(data))
        if image.mode not in ("L", "RGB"):
            return None
        if not color:
            image.draft("L", None)
        image.load()
        gray = _gray(image)
        _refuse_unfilled(gray)
        return Picture(gray, None, _colors(image) if color else None)


def is_tiff(data: bytes) -> bool:
    """Tell a TIFF, old or big, by its first bytes."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_tiff(
    data: bytes, most_pixels: int, *, color: bool = False
) -> tuple[int, Callable[[int], Picture]]:
    """Find the pages of a TIFF, and give what decodes one of them.

    Pillow walks from page to page and stops at the first it cannot read. Here each page's
    place is written into the file's header, so that every page is the first to Pillow.
    """
    places = _tiff_pages(data)
    big = data[2:4] in (b"+\0", b"\0+")
    where, form = (8, "Q") if big else (4, "I")
    file = io.BytesIO(data)

    def decode(number: int) -> Picture:
        file.seek(where)
        file.write(struct.pack(_order(data) + form, places[number - 1]))
        file.seek(0)
        with _pillow():
            image = TiffImageFile(file)
            whole = _strips_are_inside(image, len(data))
        refuse_large(*image.size, most_pixels)
        if not whole:
            raise ScanError("is cut short; copy the file or scan the page again")
        before = libtiff.complaints()
        with no_bound_of_pillow(image.width * image.height):  # its TIFF plugin asks again
            picture = _decode(image, color=color)
        if libtiff.complaints() > before:
            raise ScanError(DAMAGED)
        return picture

    return len(places), decode


def _order(data: bytes) -> str:
    return "<" if data[:2] == b"II" else ">"


def _tiff_pages(data: bytes) -> list[int]:
    """List where the pages of a TIFF begin; thumbnails of a page are no pages."""
    order = _order(data)
    big = data[2:4] in (b"+\0", b"\0+")
    count_form, entry_size, next_form = ("Q", 20, "Q") if big else ("H", 12, "I")
    at = 8 if big else 4
    places: dict[int, None] = {}  # in order; a chain of a million is looked up in no time
    small: set[int] = set()
    while True:
        try:
            (place,) = struct.unpack_from(order + next_form, data, at)
            if place == 0 or place in places:
                break
            places[place] = None
            (count,) = struct.unpack_from(order + count_form, data, place)
            first = place + struct.calcsize(order + count_form)
            at = first + count * entry_size
            tag, _, _, value = struct.unpack_from(
                order + ("HHQQ" if big else "HHII"), data, first
            )
            struct.unpack_from(order + next_form, data, at)
        except (struct.error, OverflowError):
            break  # the last page found lies beyond the end, and says so when it is decoded
        if tag == SUBFILE_TYPE and value & REDUCED:
            small.add(place)
    if not places:
        raise ScanError("is cut short, or holds no page; copy it again")
    return [place for place in places if place not in small] or list(places)


def _strips_are_inside(image: TiffImageFile, size: int) -> bool:
    """Tell whether all the pixels are there: for libtiff half a fax is a page."""
    for begin, length in ((273, 279), (324, 325)):
        begins, lengths = image.tag_v2.get(begin, ()), image.tag_v2.get(length, ())
        if any(a + b > size for a, b in zip(_many(begins), _many(lengths), strict=False)):
            return False
    return True


def _many(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,)


@contextlib.contextmanager
def _pillow() -> Iterator[None]:
    """Turn whatever Pillow makes of a broken file into a ScanError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Tags that point out of the file: what they would have said is not known.
            warnings.filterwarnings("error", "Tag (data|offset)|Corrupt EXIF")
            yield
    except (ScanError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # WebP alone has the bound in its plugin
        raise ScanError("has too many pixels; scan it at a lower resolution") from error
    except Exception as error:
        # Broken files make its plugins raise nearly anything: OSError, SyntaxError,
        # struct.error, KeyError, TypeError, ZeroDivisionError …
        raise ScanError(DAMAGED) from error


@contextlib.contextmanager
def no_bound_of_pillow(pixels: int) -> Iterator[None]:
    """Lift Pillow's own bound for a picture that ours has let through."""
    if Image.MAX_IMAGE_PIXELS is None or pixels <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _pillow_bound:
        bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = bound


def _decode(image: ImageFile.ImageFile, *, color: bool) -> Picture:
    with _pillow():
        dpi = _dpi(image)
        orientation = _orientation(image)
        if isinstance(image, JpegImageFile) and not color:
            image.draft("L", None)  # libjpeg then does not decode the colors at all
        image.load()
        gray, colors = _gray(image), _colors(image) if color else None
        if isinstance(image, JpegImageFile):
            _refuse_unfilled(gray)
        if isinstance(image, TiffImageFile):
            if image.mode.startswith("I") and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
                gray = 255 - gray  # Pillow inverts the shallower depths only
        else:  # its TIFF plugin has turned the picture already
            gray = _turned(gray, orientation)
            if colors is not None:
                channels = [_turned(colors[..., c], orientation) for c in range(3)]
                colors = np.stack(channels, axis=-1)
    if dpi is not None and orientation >= 5:
        dpi = (dpi[1], dpi[0])
    return Picture(np.ascontiguousarray(gray), dpi, colors)


def _colors(image: Image.Image) -> Color | None:
    """Take the colors of a picture, or give None for one that is gray."""
    if image.mode not in ("RGB", "P", "CMYK", "YCbCr") or "transparency" in image.info:
        return None
    return np.ascontiguousarray(np.asarray(image.convert("RGB"), np.uint8)[..., ::-1])


def _refuse_unfilled(gray: Gray) -> None:
    """Refuse a JPEG whose data end before its picture does: libjpeg fills the rest with gray.

    It says so in a warning, for which Pillow has no ear. No paper is of just this gray.
    """
    if (gray[-JPEG_BLOCK:] == JPEG_UNFILLED).all():
        raise ScanError(DAMAGED)


def _gray(image: Image.Image) -> Gray:
    if image.mode.startswith(("I", "F")):
        return _deep_to_gray(np.asarray(image))
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "La", "RGBa"):
        clear = image.convert("RGBA")
        paper = Image.new("L", image.size, 255)
        image = Image.composite(clear.convert("L"), paper, clear.getchannel("A"))
    elif image.mode == "LAB":
        image = image.getchannel("L")
    elif image.mode == "CMYK":
        image = image.convert("RGB")
    gray = image if image.mode == "L" else image.convert("L")  # which would copy it
    return np.asarray(gray, np.uint8)


def _deep_to_gray(deep: NDArray[np.generic]) -> Gray:
    """Scale by the range that is used: 10, 12 and 14 bits travel in files of 16."""
    values = np.nan_to_num(deep.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    most = float(values.max())
    fraction = deep.dtype.kind == "f" and most <= 1.0
    bits = next((bits for bits in (8, 10, 12, 14, 16, 24) if most < 2**bits), 32)
    scale = 255.0 if fraction else 255.0 / (2**bits - 1)
    return np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)


def _dpi(image: ImageFile.ImageFile) -> tuple[float, float] | None:
    claimed = image.info.get("dpi")
    if claimed is None:
        exif = _exif(image)
        inch = {2: 1.0, 3: 2.54}.get(exif.get(RESOLUTION_UNIT, 2))
        if inch is None or X_RESOLUTION not in exif or Y_RESOLUTION not in exif:
            return None
        claimed = (exif[X_RESOLUTION] * inch, exif[Y_RESOLUTION] * inch)
    try:
        x, y = (float(dpi) for dpi in claimed)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def _orientation(image: ImageFile.ImageFile) -> int:
    value = _exif(image).get(ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def _exif(image: ImageFile.ImageFile) -> Image.Exif:
    try:
        return image.getexif()
    except Exception:  # as in `_pillow`; a picture is worth more than what is said about it
        return Image.Exif()


def _turned(gray: Gray, orientation: int) -> Gray:
    """Turn a picture upright as its EXIF orientation says."""
    turns: dict[int, Callable[[Gray], Gray]] = {
        2: np.fliplr,
        3: lambda g: np.rot90(g, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda g: np.rot90(g, -1),
        7: lambda g: np.rot90(g, 2).T,
        8: np.rot90,
    }
    return turns[orientation](gray) if orientation in turns else gray
