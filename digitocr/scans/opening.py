"""A scan file → its Document, and its Pages one at a time.

A file is read once, whole, so that the hash is of the bytes that are decoded. Its pages are
not: `OpenScan.page` decodes one, and one that fails does not lose the others.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from digitocr.errors import ScanError
from digitocr.scans import pdf, pictures
from digitocr.scans.finding import shown
from digitocr.scans.pictures import Picture
from digitocr.types import Document, Page

MOST_PAGES = 10_000  # each becomes a row; a file of a kilobyte can promise a million
MOST_BYTES = 1024**3  # a file is read whole, and a sparse one is as large as it likes to be


@dataclass(frozen=True, slots=True, eq=False)
class OpenScan:
    """A scan file whose pages can be decoded; close it after use.

    Not to be shared between threads; two threads may each open the file.
    """

    path: Path
    document: Document
    _decode: Callable[[int], Picture]
    _close: Callable[[], None]

    def page(self, number: int) -> Page:
        """Decode one page; `number` counts from 1.

        Raises
        ------
        ScanError
            If this page is damaged, cut short or too large; the others may be well.
        """
        if not 1 <= number <= self.document.page_count:
            raise ValueError(
                f"number = {number}: the file has {self.document.page_count} page(s)"
            )
        where = shown(self.path)
        if self.document.page_count > 1:
            where += f" page {number}"
        try:
            picture = pictures.with_square_pixels(self._decode(number))
        except ScanError as error:
            raise ScanError(f"{where}: {error}") from error
        except MemoryError as error:
            raise ScanError(
                f"{where}: does not fit into memory; scan it at a lower resolution"
            ) from error
        dpi = pictures.believed_dpi(picture)
        return Page(self.document, number, picture.image, dpi, picture.color)

    def __iter__(self) -> Iterator[Page]:
        """Decode page after page; the first bad one raises, so a batch calls `page`."""
        return (self.page(number) for number in range(1, self.document.page_count + 1))

    def close(self) -> None:
        """Let go of the file; twice is once."""
        self._close()

    def __enter__(self) -> OpenScan:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_scan(
    path: Path,
    *,
    renderer: Literal["pdfium", "poppler"] = "pdfium",
    max_megapixels: int = 200,
    color: bool = False,
) -> OpenScan:
    """Open a scan file of any kind, known by its bytes and not by its name.

    Parameters
    ----------
    renderer
        What draws PDF pages that are not one embedded scan.
    max_megapixels
        A larger picture is refused by its header, before it is decoded.
    color
        Whether pages are wanted in colors too, where their file has any.

    Raises
    ------
    ScanError
        If the file cannot be opened or is no scan: one line, with its name and what to do.
    """
    data = _read(path)
    most_pixels = max_megapixels * 1_000_000
    decode: Callable[[int], Picture]
    close: Callable[[], None] = _nothing
    try:
        if pdf.is_pdf(data):
            page_count, decode, close = pdf.open_pdf(data, renderer, most_pixels, color=color)
        elif pictures.is_tiff(data):
            page_count, decode = pictures.open_tiff(data, most_pixels, color=color)
        else:
            page_count = 1
            decode = pictures.open_picture(data, most_pixels, color=color)
        if page_count > MOST_PAGES:
            close()
            raise ScanError(f"has {page_count} pages, more than {MOST_PAGES}; split the file")
    except ScanError as error:
        raise ScanError(f"{shown(path)}: {error}") from error
    return OpenScan(path, Document(hashlib.sha256(data).hexdigest(), page_count), decode, close)


def load(path: Path) -> tuple[Document, tuple[Page, ...]]:
    """Decode all pages of a file at once: for a notebook and short files."""
    with open_scan(path) as scan:
        return scan.document, tuple(scan)


def _read(path: Path) -> bytes:
    try:
        about = path.stat()
        mode = about.st_mode
        if stat.S_ISDIR(mode):
            next(path.iterdir(), None)  # raises where the folder may not be opened
            raise ScanError(f"{shown(path)}: is a folder; name the files in it")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            raise ScanError(f"{shown(path)}: is no regular file; save the scan as a file")
        if about.st_size > MOST_BYTES:
            raise ScanError(
                f"{shown(path)}: has {about.st_size:,} bytes, more than {MOST_BYTES:,}; "
                "split the file"
            )
        data = path.read_bytes()
    except PermissionError as error:
        raise ScanError(
            f"{shown(path)}: permission denied; let the user who runs digitocr read it"
        ) from error
    except FileNotFoundError as error:
        raise ScanError(f"{shown(path)}: no such file; was it moved or renamed?") from error
    except OSError as error:
        raise ScanError(f"{shown(path)}: {error.strerror}; copy the file again") from error
    except MemoryError as error:
        raise ScanError(f"{shown(path)}: does not fit into memory; split the file") from error
    if not data:
        raise ScanError(f"{shown(path)}: is empty; scan or copy it again")
    return data


def _nothing() -> None:
    """Close what is only bytes."""
