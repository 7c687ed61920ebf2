"""Reads handwritten numbers from scanned forms, and knows which ones it is not sure of.

In a notebook: `read_number`, `read_page`, `load_model` and `FormTemplate.load`, without Prefect
or a database. What they need is imported when they are first used.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from digitocr.recognition.classifier import Model
    from digitocr.recognition.sequence import SequenceModel
    from digitocr.templates import FormTemplate as FormTemplate
    from digitocr.types import Gray, Page, PageReading, Reading

__all__ = ["FormTemplate", "load_model", "read_number", "read_page"]


def load_model(path: Path | str | None = None) -> Model:
    """Load a model folder; without a path, the model that travels with digitocr."""
    from digitocr import resources
    from digitocr.recognition import classifier

    return classifier.load_model(Path(path) if path else resources.default_model())


def read_number(image: Gray, model: Model | None = None) -> Reading:
    """Read a bare crop of one handwritten number, (H, W) uint8, dark on light."""
    from digitocr import numbers
    from digitocr.recognition.acceptance import Acceptance
    from digitocr.settings import Settings

    settings = Settings()
    acceptance = Acceptance(settings.accept_digit, settings.accept_field)
    return numbers.read_number(image, model or load_model(), acceptance, sequence=_sequence())


def read_page(page: Page, template: FormTemplate, model: Model | None = None) -> PageReading:
    """Read one page of a form."""
    from digitocr import pipeline
    from digitocr.settings import Settings

    reader = pipeline.prepare((template,), model or load_model(), Settings(), _sequence())
    return pipeline.read_page(page, reader)


@cache
def _sequence() -> SequenceModel | None:
    """Load the sequence model that travels with digitocr, once a process."""
    from digitocr import resources
    from digitocr.recognition.sequence import load_sequence

    folder = resources.sequence_folder("")
    return load_sequence(folder) if folder else None


def __getattr__(name: str) -> Any:
    if name == "FormTemplate":
        from digitocr.templates import FormTemplate

        return FormTemplate
    raise AttributeError(f"module 'digitocr' has no attribute '{name}'")
