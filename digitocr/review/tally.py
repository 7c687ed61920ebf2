"""What became of the batches: counted from all readings, and never waited for.

Counting takes milliseconds at first and seconds over a million readings, while a page that
shows the counts may be asked for every other second. So what takes long is shown as it was
last, and counted anew beside, with rests that are ten times as long as the counting.
"""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy import Engine

from digitocr.db import batches, schema
from digitocr.db.batches import BatchSummary
from digitocr.errors import DatabaseError

WAIT_S = 0.25  # what takes no longer than this is always counted anew
REST = 10.0
log = logging.getLogger(__name__)


class Tally:
    """The batches of a database, as they were counted last."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._last: tuple[BatchSummary, ...] | None = None
        self._took_s, self._ended = 0.0, 0.0
        self._counting: threading.Thread | None = None
        self._lock = threading.Lock()

    def batches(self) -> tuple[BatchSummary, ...] | None:
        """Give all batches, the latest first; None while they are counted the first time."""
        with self._lock:
            rest_s = REST * self._took_s if self._took_s > WAIT_S else 0.0
            idle = self._counting is None or not self._counting.is_alive()
            if idle and time.monotonic() - self._ended >= rest_s:
                self._counting = threading.Thread(target=self._count, daemon=True)
                self._counting.start()
            counting = self._counting
            soon = self._last is None or self._took_s <= WAIT_S
        if counting is not None and soon:
            counting.join(WAIT_S)
        return self._last

    def batch(self, name: str) -> BatchSummary | None:
        """Give one batch as it was counted last; None if it was not counted yet."""
        return next((one for one in self.batches() or () if one.name == name), None)

    def _count(self) -> None:
        began = time.monotonic()
        try:
            with schema.reading(self.engine) as session:
                self._last = tuple(reversed(batches.list_batches(session)))
        except DatabaseError as error:
            log.warning("%s", error)  # the page itself says so, too
        self._ended = time.monotonic()
        self._took_s = self._ended - began
