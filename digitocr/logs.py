"""The program's log: ids of documents, pages and batches, and never what was read.

Forms hold personal data, and logs go to places where nobody looks after them. So an error that
is logged says its class and where it came from, but not its message, which may quote a value.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

IDS = ("batch", "document", "page", "status", "seconds")  # what `extra` of a line may hold


@dataclass(frozen=True, slots=True)
class LogStyle:
    """How the log is shown: warnings or a line a page, as text or as JSON lines."""

    verbose: bool = False
    as_json: bool = False


_style = LogStyle()


def to_stderr(style: LogStyle) -> None:
    """Show the log on stderr from now on."""
    global _style  # processes that are started to read are told of it
    _style = style
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style.as_json else Lines())
    level = logging.INFO if style.verbose else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler])


def style() -> LogStyle:
    """Give how the log is shown in this process."""
    return _style


class Lines(logging.Formatter):
    """A line of text a record."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatException(self, ei: Any) -> str:  # noqa: N802 the name is logging's
        return "\n".join(origin(ei[1]))


class JsonLines(logging.Formatter):
    """A JSON object a record, on one line; ids are keys of their own."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: vars(record)[key] for key in IDS if key in vars(record)}
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line |= {"error": type(error).__name__, "origin": origin(error)}
        return json.dumps(line, ensure_ascii=False, default=str)


def origin(error: BaseException) -> list[str]:
    """Say where an error came from, innermost last, and its class."""
    frames = traceback.extract_tb(error.__traceback__)
    return [
        *(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames),
        type(error).__name__,
    ]
