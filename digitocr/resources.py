"""Where the files that travel with digitocr are: default model, migrations, flows.

In a checkout they are the top-level folders; a wheel carries them inside the package, because
a top-level `alembic` or `flows` in site-packages would clash with the libraries of that name.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
DEFAULT_MODEL = "digitocr-76k"


def folder(name: str) -> Path:
    """Find the folder `models`, `alembic`, `flows` or `sample_forms`."""
    bundled = PACKAGE / "_bundled" / name
    return bundled if bundled.is_dir() else PACKAGE.parent / name


def default_model() -> Path:
    """Find the model folder that travels with digitocr."""
    return folder("models") / DEFAULT_MODEL
