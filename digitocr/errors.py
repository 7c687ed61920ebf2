"""The error family: one class a cause, each with the exit code of its own.

DigitocrError                    1
├── UsageError                   2   a command was asked for something it cannot do
├── ScanError                    10  a file cannot be read as a scan
├── TemplateError                11  a form template is wrong, missing or was changed
├── RegistrationError            12  a page does not fit any form
├── ModelError                   13  a model folder is missing or does not fit its card
├── DatabaseError                14  the database cannot be reached, opened or is locked
│   └── SchemaError              15  the database has another schema than this version
├── SettingsError                16  digitocr.toml or DIGITOCR_* holds a wrong value
├── DataError                    17  a data file to train or evaluate on is wrong or missing
└── MissingExtraError            18  an optional part is not installed

Exit code 3 is no error class: the job was done, but some pages or images failed; 130 says that
someone stopped it with Ctrl-C.
Anything that is not in this family is a bug and keeps its traceback.
"""

from __future__ import annotations

EXIT_PARTIAL = 3
EXIT_STOPPED = 130


class DigitocrError(Exception):
    """The world misbehaved: one clear line that says what, where, and what to do."""

    exit_code = 1


class UsageError(DigitocrError):
    """A command was asked for something it cannot do."""

    exit_code = 2


class ScanError(DigitocrError):
    """A file cannot be read as a scan."""

    exit_code = 10


class TemplateError(DigitocrError):
    """A form template is wrong, missing, or was changed after use."""

    exit_code = 11


class RegistrationError(DigitocrError):
    """A page does not fit any form."""

    exit_code = 12


class ModelError(DigitocrError):
    """A model folder is missing or does not fit its card."""

    exit_code = 13


class DatabaseError(DigitocrError):
    """The database cannot be reached, opened, or is locked."""

    exit_code = 14


class SchemaError(DatabaseError):
    """The database has another schema than this version of digitocr."""

    exit_code = 15


class SettingsError(DigitocrError):
    """The settings file or an environment variable holds a wrong value."""

    exit_code = 16


class DataError(DigitocrError):
    """A data file to train or evaluate on is wrong or missing."""

    exit_code = 17


class MissingExtraError(DigitocrError):
    """An optional part of digitocr is not installed."""

    exit_code = 18
