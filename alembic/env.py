"""Runs migrations: for digitocr itself (it hands its connection over) and for `alembic`.

From the command line: `alembic -x url=sqlite:///file.db upgrade head`; without `-x url=` the
database is DIGITOCR_DATABASE, else sqlite:///digitocr.db.
"""

from __future__ import annotations

import os

from sqlalchemy import Connection

from alembic import context
from digitocr.db import schema, tables


def run(connection: Connection) -> None:
    """Run what was asked for on this connection."""
    context.configure(
        connection=connection,
        target_metadata=tables.Base.metadata,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def url() -> str:
    """Name the database, as the docstring above says."""
    given = context.get_x_argument(as_dictionary=True).get("url")
    return given or os.environ.get("DIGITOCR_DATABASE") or "sqlite:///digitocr.db"


def main() -> None:
    """Run on the connection handed over, else on one of our own, else write SQL."""
    connection = context.config.attributes.get("connection")
    if connection is not None:
        run(connection)
        return
    engine = schema.make_engine(url())
    if context.is_offline_mode():
        context.configure(
            url=engine.url, target_metadata=tables.Base.metadata, literal_binds=True
        )
        with context.begin_transaction():
            context.run_migrations()
        return
    with schema.plainly(engine.url), schema.migrating(engine) as connection:
        run(connection)
    engine.dispose()


main()
