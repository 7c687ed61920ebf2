"""Where the files that travel with digitocr are: default model, migrations, flows.

In a checkout they are the top-level folders; a wheel carries them inside the package, because
a top-level `alembic` or `flows` in site-packages would clash with the libraries of that name.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
DEFAULT_MODEL, DEFAULT_SEQUENCE = "digitocr-130k", "sequence-1m"
NONE = "none"


def folder(name: str) -> Path:
    """Find the folder `models`, `alembic`, `flows` or `sample_forms`."""
    bundled = PACKAGE / "_bundled" / name
    return bundled if bundled.is_dir() else PACKAGE.parent / name


def default_model() -> Path:
    """Find the model folder that travels with digitocr."""
    return folder("models") / DEFAULT_MODEL


def model_folder(named: str) -> Path:
    """Find the model that reads: the one that is named, or the one that travels along."""
    return Path(named) if named else default_model()


def sequence_folder(named: str) -> Path | None:
    """Find the model that reads whole numbers beside the classifier; None for `none`."""
    if named == NONE:
        return None
    return Path(named) if named else folder("models") / DEFAULT_SEQUENCE


def model_folders() -> tuple[Path, ...]:
    """Find the model folders in `models` here, and those that travel with digitocr."""
    places = (Path("models"), folder("models"))
    found = {
        card.parent.resolve(): card.parent
        for place in reversed(places)  # what is here goes by its short name
        for card in place.glob("*/card.json")
    }
    return tuple(sorted(found.values(), key=lambda one: (one.name, str(one))))
