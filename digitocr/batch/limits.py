"""What one page may take where a process was started to read it: time, and memory.

A process that takes more is ended, and whoever started it goes on without it: nothing else
stops a decoder that loops in C. Memory is watched for the same reason, and not refused by a
limit of the system (`RLIMIT_DATA`, `RLIMIT_AS`): a PDFium that is refused memory leaves
pictures out and says nothing, and the scan would pass for a blank page.

Where the program itself reads, a single file, there is nobody who could go on: there is no
limit.
"""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from digitocr.settings import Settings

WATCHED_EVERY_S = 0.02  # decoders fill some twenty megabytes meanwhile
MEGABYTE = 1_000_000
STATM = Path("/proc/self/statm")  # on Linux alone

_told: list[ctypes.c_bool] = []


def tell(too_large: ctypes.c_bool | None) -> None:
    """Have this process set a flag, shared with who started it, if it ends for its memory."""
    _told[:] = [too_large] if too_large is not None else []


@contextmanager
def of_a_page(settings: Settings) -> Iterator[None]:
    """End this process, if it was started to read, when a page takes more than is set."""
    if multiprocessing.parent_process() is None:
        yield
        return
    with _time(settings.page_seconds), _memory(settings.worker_memory_mb):
        yield


@contextmanager
def _time(seconds: int) -> Iterator[None]:
    if not seconds:
        yield
        return
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


@contextmanager
def _memory(megabytes: int) -> Iterator[None]:
    if not megabytes or not STATM.exists():
        yield
        return
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(megabytes * MEGABYTE, done), daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


def _watch(most_bytes: int, done: threading.Event) -> None:
    """Look at the memory that this process holds, until it is done or holds too much."""
    page_bytes = os.sysconf("SC_PAGESIZE")
    while not done.wait(WATCHED_EVERY_S):
        if int(STATM.read_bytes().split()[1]) * page_bytes > most_bytes:
            for too_large in _told:
                too_large.value = True
            os._exit(1)
