"""Files and folders → the scans below them, in natural order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from digitocr.errors import ScanError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".pdf"})


@dataclass(frozen=True, slots=True)
class ScanFile:
    """A file to be read; `source` is its path as reached from the PATH given."""

    path: Path
    source: str


def find(paths: Iterable[Path]) -> list[ScanFile]:
    """Find every scan below the paths given, each in natural order (page2 before page10).

    Hidden files and other kinds of file are left out (`skipped` counts them), but never what
    is given itself. A link to a folder is followed once. A folder that may not be opened comes
    back as if it were a scan, so that it fails by name and not in silence.

    Raises
    ------
    ScanError
        If a path given does not exist.
    """
    return list({file.source: file for path in paths for file in _walk(path) if file}.values())


def skipped(paths: Iterable[Path]) -> int:
    """Count the files below the paths given that `find` leaves out."""
    return sum(file is None for path in paths for file in _walk(path))


def shown(path: Path) -> str:
    """Write a path on one line of valid text, whatever its name is made of."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(path)
    )


def _walk(given: Path) -> Iterator[ScanFile | None]:
    """Yield the scans below a path, and None for each file that is none."""
    if not given.exists() and not given.is_symlink():
        raise ScanError(
            f"{shown(given)}: no such file or folder; name a scan or a folder of them"
        )
    if not given.is_dir():
        yield _scan_file(given)
        return
    files: list[Path] = []
    left_out = 0
    seen: set[tuple[int, int]] = set()
    folders = [given]
    links: list[Path] = []  # after all folders, so that a file has the name of its own place
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            about = folder.stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            entries = sorted(folder.iterdir())
        except OSError:
            files.append(folder)
            continue
        for entry in entries:
            if entry.name.startswith("."):
                left_out += not entry.is_dir()
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(entry)
            elif entry.suffix.lower() in SUFFIXES:
                files.append(entry)
            else:
                left_out += 1
    yield from (_scan_file(file) for file in sorted(files, key=_natural))
    yield from (None for _ in range(left_out))


def _scan_file(path: Path) -> ScanFile:
    # A name that is not UTF-8 could not be stored: its odd bytes are written \xff.
    return ScanFile(path, os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace"))


def _natural(path: Path) -> list[tuple[list[tuple[int, int, str]], str]]:
    """Sort key: digits in names count as numbers, letters without their case."""
    return [
        (
            [
                (0, int(piece), "") if "0" <= piece[0] <= "9" else (1, 0, piece)
                for piece in re.split(r"([0-9]+)", part.casefold())
                if piece
            ],
            part,
        )
        for part in path.parts
    ]
