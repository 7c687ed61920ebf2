"""One frozen `Settings`, read once from `digitocr.toml` and `DIGITOCR_*`, and handed down."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from digitocr.errors import SettingsError
from digitocr.types import FieldType

FILE_NAME = "digitocr.toml"
PREFIX = "DIGITOCR_"

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Target = Annotated[float, Field(ge=0.0, lt=1.0)]
# A value for all types of field, or a table with one for some of them. Told apart before they
# are checked, so that what is said of a wrong one is about what was meant.
Targets = Annotated[
    Annotated[Target, Tag("all")] | Annotated[Mapping[FieldType, Target], Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, Mapping) else "all"),
]


class Settings(BaseModel):
    """Everything that can be set.

    A command-line option goes before the environment, the environment before the file, the
    file before the default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    database: str = Field(
        "sqlite:///digitocr.db",
        description="SQLAlchemy URL of the database: SQLite or PostgreSQL",
    )
    forms: str = Field("", description="folder of forms; empty: `forms`, else `sample_forms`")
    model: str = Field(
        "",
        description="model folder; empty: the one that was promoted in the database, else the "
        "one that travels with digitocr",
    )
    sequence: str = Field(
        "",
        description="folder of the model that reads whole numbers beside the classifier; "
        "empty: the one that travels with digitocr; none: the classifier reads alone",
    )
    recognizer: Literal["auto", "none"] = Field(
        "auto",
        description="third opinion on numbers that the readers are not sure of: `auto` asks "
        "PP-OCR's recognizer where digitocr[ocr] is installed, `none` nobody",
    )
    workers: int = Field(0, ge=0, le=256, description="processes that read; 0: one a core")
    pdf_renderer: Literal["pdfium", "poppler"] = Field(
        "pdfium", description="what draws PDF pages that are not one embedded scan"
    )
    accept_digit: Share = Field(
        0.99, description="least confidence of every digit of an accepted reading"
    )
    accept_field: Share = Field(0.99, description="least confidence of an accepted reading")
    target_error: Targets = Field(
        0.0,
        description="share of accepted readings that may be wrong, for all types of field or a "
        "table with a share for each; where audited readings prove a threshold for it, that "
        "stands in the place of `accept_digit` and `accept_field`; 0: not used",
    )
    max_residual_mm: float = Field(
        0.8, gt=0, description="most misplacement of the printed marks on a page that is read"
    )
    max_megapixels: int = Field(
        200, ge=1, description="largest picture that is opened, in millions of pixels"
    )
    page_seconds: int = Field(
        120,
        ge=0,
        description="longest time that one page may take where more than one file is read; "
        "then its process is stopped and the page fails; 0: no limit",
    )
    worker_memory_mb: int = Field(
        4000,
        ge=0,
        description="most memory, in megabytes, that each process may hold where more than "
        "one file is read (on Linux); then it is stopped and the page it was at fails; 0: no "
        "limit",
    )
    data: str = Field("", description="folder of data sets to train and measure on")

    def target_of(self, type: FieldType) -> float:
        """Give the share of accepted readings of a type that may be wrong; 0.0: none is set."""
        if isinstance(self.target_error, Mapping):
            return self.target_error.get(type, 0.0)
        return self.target_error


def load(
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    **given: Any,
) -> Settings:
    """Read the settings of `folder` (the working folder) and the environment.

    Parameters
    ----------
    given
        What the command line said; None means it said nothing.

    Raises
    ------
    SettingsError
        Naming file or variable, key and value, if one is unknown or out of range.
    """
    path = (folder or Path.cwd()) / FILE_NAME
    values: dict[str, tuple[str, Any]] = {}
    if path.is_file():
        try:
            entries = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise SettingsError(f"{path}: {error}; mend or remove the file") from error
        values |= {key: (f"{path}: {key}", value) for key, value in entries.items()}
    for name, text in sorted((os.environ if environment is None else environment).items()):
        if name.startswith(PREFIX):
            values[name.removeprefix(PREFIX).lower()] = (name, text)
    for key, value in given.items():
        if value is not None:
            values[key] = (f"--{key}", value)
    unknown = [where for key, (where, _) in values.items() if key not in Settings.model_fields]
    if unknown:
        known = ", ".join(Settings.model_fields)
        raise SettingsError(f"{unknown[0]}: no such setting; the settings are {known}")
    try:
        return Settings(**{key: value for key, (_, value) in values.items()})
    except ValidationError as error:
        first = error.errors()[0]
        where, value = values[str(first["loc"][0])]
        raise SettingsError(f"{where} = {value!r}: {first['msg']}") from error
