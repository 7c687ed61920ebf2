"""Opens databases, makes their schema and brings it up to date.

SQLite is told when a transaction begins. Python's driver would begin late and by guessing, and
a transaction that reads first and then writes fails at once ("locked") when someone else wrote
in between, however long the timeout. So every transaction takes the write lock when it begins,
unless it says (by `reading`) that it only reads. Readers and the writer do not wait for each
other (WAL).
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import DatabaseError as DriverDatabaseError
from sqlalchemy.orm import Session

from digitocr import resources
from digitocr.db.tables import Base
from digitocr.errors import DatabaseError, SchemaError

# Alembic takes a tenth of a second to import; who opens a database that is there needs none.
if TYPE_CHECKING:
    from alembic.config import Config

NEWEST = "0008"  # revision of the schema that this version has
DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
BUSY_S = 30.0
CONNECT_S = 10
MIGRATION_LOCK = 0x6469676974  # "digit"; any number no one else locks by
NO_PRIVILEGE = "42501"  # SQLSTATE insufficient_privilege


def connect(url: str, *, create: bool, busy_s: float = BUSY_S) -> Engine:
    """Open a database that has this version's schema.

    Parameters
    ----------
    url
        `sqlite:///file.db` or `postgresql://user:password@host/database`.
    create
        Whether an empty database gets its schema, and a missing SQLite file is made.
    busy_s
        How many seconds to wait for another program that is writing (SQLite).

    Raises
    ------
    DatabaseError
        If it cannot be reached or opened, is locked, is missing or empty and `create` is
        false.
    SchemaError
        If its schema is older or newer, or its tables are not digitocr's.
    """
    if not create:
        _refuse_missing(url)
    engine = make_engine(url, busy_s=busy_s)
    try:
        with plainly(url):
            found = _revision(engine)
            if found is None and create:
                _migrate(engine, only_empty=True)
                found = _revision(engine)
            _refuse_other(url, found)
    except BaseException:
        engine.dispose()
        raise
    return engine


def upgrade(url: str) -> tuple[str | None, str]:
    """Bring a database's schema up to this version; an empty one gets it whole.

    Returns
    -------
    The revision before (None: it was empty) and after.

    Raises
    ------
    SchemaError
        If the schema is newer, or the tables are not digitocr's.
    """
    engine = make_engine(url)
    try:
        with plainly(url):
            before = _revision(engine)
            if before is not None and before not in _revisions():
                _refuse_other(url, before)
            _migrate(engine)
            return before, NEWEST
    finally:
        engine.dispose()


def check(url: str) -> str:
    """Compare a database with the tables this version knows.

    Returns
    -------
    The revision.

    Raises
    ------
    SchemaError
        If the revision is another, or naming the first thing that differs.
    """
    engine = connect(url, create=False)
    try:
        with plainly(url), reading(engine) as session:
            differences = compare(session.connection())
    finally:
        engine.dispose()
    if differences:
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        raise SchemaError(
            f"{shown(url)}: differs from this version's tables: {differences[0]}{more}; "
            "someone changed it by hand: restore it from a backup"
        )
    return NEWEST


def compare(connection: Connection) -> list[str]:
    """Say what in the database is not as in `tables`: columns, constraints, triggers."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    found = [str(difference) for difference in compare_metadata(context, Base.metadata)]
    triggers = set(connection.scalars(text(TRIGGERS[connection.dialect.name])))
    missing = {"decisions_no_update", "decisions_no_delete"} - triggers
    return found + [f"trigger {name} is missing" for name in sorted(missing)]


TRIGGERS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE tgrelid = 'decisions'::regclass",
}


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """Open a session for one transaction: committed at the end, undone by an exception."""
    with plainly(engine.url), Session(engine) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Open a session that only reads, and holds up nobody who writes."""
    deferred = engine.execution_options(sqlite_begin="DEFERRED")
    with plainly(engine.url), Session(deferred) as session:
        yield session


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """Open a transaction to change the schema in, alone.

    SQLite rebuilds a table to change it; with foreign keys on, dropping the old one would
    take the rows below it along. They are off meanwhile, and checked before the commit.
    """
    lite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        if lite:
            assert isinstance(driver, sqlite3.Connection)
            _write_ahead(driver)
            driver.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                if not lite:
                    connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
                yield connection
                if lite and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                    raise SchemaError(
                        f"{shown(engine.url)}: rows would point nowhere; nothing was changed: "
                        "restore the database from a backup"
                    )
        finally:
            if lite:
                assert isinstance(driver, sqlite3.Connection)
                driver.execute("PRAGMA foreign_keys = ON")


def make_engine(url: str, *, busy_s: float = BUSY_S) -> Engine:
    """Make the engine of a URL, without connecting yet.

    Raises
    ------
    DatabaseError
        If the URL cannot be read, or its driver is not installed.
    """
    parsed = _parse(url)
    try:
        if parsed.get_backend_name() != "sqlite":
            return create_engine(
                parsed,
                pool_pre_ping=True,
                hide_parameters=True,  # an error that is logged must not say what was read
                connect_args={"connect_timeout": CONNECT_S},
            )
        in_memory = parsed.database in (None, "", ":memory:")
        engine = create_engine(
            parsed,
            poolclass=StaticPool if in_memory else None,
            hide_parameters=True,
            connect_args={"check_same_thread": False, "timeout": busy_s},
        )
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"{shown(url)}: Python package '{error.name}' is not installed; "
            "pip install 'digitocr[postgresql]'"
        ) from error
    except (SQLAlchemyError, TypeError, ValueError) as error:
        raise DatabaseError(f"{shown(url)}: {_line(error)}") from error

    @event.listens_for(engine, "connect")
    def _set_up(driver: sqlite3.Connection, _record: object) -> None:
        driver.isolation_level = None
        driver.execute("PRAGMA foreign_keys = ON")
        driver.execute("PRAGMA synchronous = NORMAL")
        driver.execute("PRAGMA recursive_triggers = ON")  # REPLACE fires the DELETE trigger

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        kind = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
        connection.exec_driver_sql(f"BEGIN {kind}")

    return engine


def shown(url: str | URL) -> str:
    """Write a database URL without its password."""
    plain = url if isinstance(url, str) else url.render_as_string(hide_password=True)
    plain = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", plain)
    return re.sub(r"(?i)(password=)[^&]*", r"\1***", plain)


@contextmanager
def plainly(url: str | URL) -> Iterator[None]:
    """Turn what a driver says of an unusable database into one `DatabaseError`.

    Broken constraints and wrong statements are bugs, and pass.
    """
    try:
        yield
    except DriverDatabaseError as error:
        state = getattr(error.orig, "sqlstate", None)
        worldly = type(error) in (OperationalError, DriverDatabaseError)
        if not worldly and not (isinstance(error, ProgrammingError) and state == NO_PRIVILEGE):
            raise
        raise DatabaseError(f"{shown(url)}: {_advice(_line(error.orig))}") from error
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"{shown(url)}: {_advice(_line(error))}") from error


def _advice(message: str) -> str:
    for part, advice in (
        ("locked", "another program is writing to it; end that or try again later"),
        ("not a database", "this file is something else; name another with --database"),
        ("unable to open", "does the folder exist, and may you write there?"),
        ("readonly", "you may not write there; mend its permissions"),
        ("malformed", "the file is damaged; restore it from a backup"),
        ("resolve host", "is the name of the server right?"),
        ("is full", "free some space and run again; nothing is read twice"),
        ("connection failed", "is the server running, and are user and password right?"),
    ):
        if part in message:
            return f"{message}; {advice}"
    return message


def _line(error: object) -> str:
    return " ".join(str(error).split())


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        driver = DRIVERS.get(parsed.drivername)
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise DatabaseError(
            f"{shown(url)}: not a database URL; write sqlite:///file.db or "
            "postgresql://user:password@host/database"
        ) from None
    if driver is None:
        raise DatabaseError(
            f"{shown(url)}: '{parsed.drivername}' is not supported; use sqlite:/// or "
            "postgresql://"
        )
    if "@" in (parsed.host or ""):
        # The driver would take the end of the password for the host, and print it.
        raise DatabaseError(
            f"{shown(url)}: not a database URL; write an @ in the password as %40"
        )
    return parsed.set(drivername=driver)


def _refuse_missing(url: str) -> None:
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return
    if not Path(str(parsed.database)).exists():
        raise DatabaseError(
            f"{shown(url)}: no such database; name one with --database, or make it by "
            "`digitocr process`"
        )


def _refuse_other(url: str, found: str | None) -> None:
    if found == NEWEST:
        return
    if found is None:
        raise DatabaseError(
            f"{shown(url)}: is empty; name another with --database, or fill it by "
            "`digitocr process`"
        )
    if found in _revisions():
        raise SchemaError(
            f"{shown(url)}: has schema {found}, this version needs {NEWEST}; back it up and "
            "run `digitocr db upgrade`"
        )
    raise SchemaError(
        f"{shown(url)}: has schema {found}, which this version does not know (it has "
        f"{NEWEST}); upgrade digitocr"
    )


def _revision(engine: Engine) -> str | None:
    """Read the schema's revision; None for an empty database."""
    deferred = engine.execution_options(sqlite_begin="DEFERRED")
    with deferred.connect() as connection:
        # Tables first: on PostgreSQL another process may make the schema between the two.
        foreign = _foreign(connection)
        revision = _applied(connection)
        if revision is None and foreign:
            raise SchemaError(
                f"{shown(engine.url)}: holds tables that are not digitocr's; name another "
                "database with --database"
            )
    return revision


def _applied(connection: Connection) -> str | None:
    """Read which revision Alembic noted last; None where it never did."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def _foreign(connection: Connection) -> bool:
    return bool(set(inspect(connection).get_table_names()) - {"alembic_version"})


def _migrate(engine: Engine, *, only_empty: bool = False) -> None:
    from alembic import command

    with migrating(engine) as connection:
        # Asked again with the lock held: another process may have been first.
        found = _applied(connection)
        if found is not None and (only_empty or found == NEWEST):
            return
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _write_ahead(driver: sqlite3.Connection) -> None:
    """Switch a SQLite file to WAL, which it then stays in.

    The switch needs the file alone and does not wait for it, so it is tried for a while.
    """
    for _ in range(100):
        try:
            driver.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.05)
    driver.execute("PRAGMA journal_mode = WAL")


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    place = str(resources.folder("alembic"))
    config.set_main_option("script_location", place.replace("%", "%%"))
    return config


def _revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_config())
    return {script.revision for script in scripts.walk_revisions()}
