"""The parts of digitocr that are installed only where they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from digitocr.errors import MissingExtraError


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Import an optional part; without it say how to install it."""
    from digitocr.recognition.folders import without_chatter

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets at length
    try:
        with without_chatter():
            yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"this needs {error.name}, which is not installed: pip install 'digitocr[{extra}]'"
        ) from error
