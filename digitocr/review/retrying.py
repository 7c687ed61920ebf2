"""Reading failed pages again from the browser: `digitocr process --retry-failed`, as a process.

It is the same command that a person would type, in the folder and with the settings of the
server: nothing of reading is done in it. One at a time; it goes on if the browser is closed,
and ends with the server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from digitocr.errors import EXIT_PARTIAL, UsageError
from digitocr.settings import Settings

MOST = 500  # scans at once: what a command line holds
NOT_HERE = (
    "the scans are not where they were read from; start `digitocr review` in the folder where "
    "`process` ran"
)


@dataclass
class Retry:
    """Failed scans of one batch that are read again, or were."""

    batch: str
    scans: int
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        """Say how it ended; "" while it runs."""
        code = self.process.poll()
        if code is None:
            return ""
        if code in (0, EXIT_PARTIAL):
            return "Read again; what is still listed could not be read."
        self.output.seek(0)
        lines = self.output.read()[-4000:].decode(errors="replace").strip().splitlines()
        return f"It could not be read again: {lines[-1] if lines else f'exit code {code}'}"


@dataclass
class Retrying:
    """The one retry of a server that runs, or was last."""

    last: Retry | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, batch: str) -> Retry | None:
        """Give the retry of a batch, if it was the last."""
        return self.last if self.last is not None and self.last.batch == batch else None

    def start(self, settings: Settings, batch: str, sources: Sequence[str]) -> Retry:
        """Begin to read scans again.

        Raises
        ------
        UsageError
            If one runs already, or none of the scans is there.
        """
        found = [source for source in dict.fromkeys(sources) if Path(source).is_file()][:MOST]
        if not found:
            raise UsageError(NOT_HERE)
        with self.lock:
            if self.last is not None and self.last.running:
                raise UsageError(f"batch {self.last.batch} is being read again; wait for it")
            output = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process)
            command = [sys.executable, "-m", "digitocr.cli", "--quiet", "process"]
            process = subprocess.Popen(
                [*command, "--retry-failed", "--batch", batch, "--", *found],
                env=os.environ | {"DIGITOCR_DATABASE": settings.database},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
            )
            self.last = Retry(batch, len(found), process, output)
            return self.last

    def stop(self) -> None:
        """End the one that runs, with the server; what it stored stays."""
        if self.last is not None and self.last.running:
            self.last.process.terminate()
            self.last.process.wait(30)
