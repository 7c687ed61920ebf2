"""libtiff's complaints, counted and not printed.

Pillow leaves libtiff's error handler as it is: it writes to stderr, and what comes back of a
fax with a wrong code in it passes for a page. Pillow has no door to that handler, so it is set
by ctypes in the libtiff that Pillow has loaded. Where none is found (another system or build) a
damaged fax may pass, with a line on stderr.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from pathlib import Path

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
_thread = threading.local()


def complaints() -> int:
    """Count libtiff's errors in this thread so far; call it before and after."""
    _listen()
    return getattr(_thread, "count", 0)


def _count(module: bytes, form: bytes, values: int) -> None:
    _thread.count = getattr(_thread, "count", 0) + 1


_handler = _Handler(_count)  # kept here: libtiff calls it as long as the process lives


@functools.cache
def _listen() -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return
    loaded = {line.split(maxsplit=5)[-1] for line in maps.read_text().splitlines()}
    names = sorted(name for name in loaded if "/libtiff" in name)
    for name in [name for name in names if "pillow" in name.lower()] or names[:1]:
        ctypes.CDLL(name).TIFFSetErrorHandler(_handler)
