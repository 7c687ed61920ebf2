"""The review pages' server: the screens put together, behind the guard."""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import Callable
from datetime import datetime

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine
from starlette.types import ASGIApp

from digitocr.db import items, schema
from digitocr.errors import DigitocrError, UsageError
from digitocr.review import (
    conflicts,
    documents,
    fields,
    group,
    home,
    keying,
    people,
    query,
    trial,
)
from digitocr.review.desk import STATIC, Desk, make_desk, refuse
from digitocr.review.safety import COOKIE, NOT_LET_IN, Guard, TooLargeError
from digitocr.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
log = logging.getLogger(__name__)


def make_app(
    engine: Engine,
    settings: Settings,
    *,
    port: int,
    now: Callable[[], datetime] | None = None,
) -> tuple[ASGIApp, Desk]:
    """Make the server's application, and the desk that lets people in."""
    desk = make_desk(engine, settings, now=now)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, title="digitocr review")
    app.state.desk = desk
    for screen in (home, people, group, fields, conflicts, keying, documents, query, trial):
        app.include_router(screen.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/open")
    def open_link(token: str = "") -> Response:
        """Let a browser in by a one-time link."""
        secret = desk.door.let_in(token)
        if secret is None:
            return PlainTextResponse(NOT_LET_IN, 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, secret, httponly=True, samesite="strict", path="/")
        return answer

    @app.exception_handler(DigitocrError)
    def plainly(request: Request, error: DigitocrError) -> Response:
        if request.method == "GET":
            return PlainTextResponse(str(error), 404 if isinstance(error, UsageError) else 503)
        return refuse(str(error), 422 if isinstance(error, UsageError) else 503)

    @app.exception_handler(TooLargeError)
    def too_large(request: Request, error: TooLargeError) -> Response:
        return refuse("That is larger than 10 MB.", 413)

    hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"})
    return Guard(app, desk.door, hosts), desk


def prepare(engine: Engine) -> None:
    """Make the items of all that was read, and count what waits."""
    done = 1
    while done:
        with schema.writing(engine) as session:
            done = items.fill(session)
    with schema.writing(engine) as session:
        items.recount(session)


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    reviewer: str,
    started: Callable[[str], None],
) -> None:
    """Serve the pages until Ctrl-C; `started` is told the link that lets the first one in.

    Raises
    ------
    UsageError
        If the host is not this machine, or the port is taken.
    DatabaseError
        If the database cannot be opened, or was not made yet.
    """
    if host not in LOOPBACK:
        raise UsageError(
            f"--host {host}: there are no accounts yet, so the pages are for this machine "
            "alone; leave --host out, and reach it from elsewhere by an SSH tunnel"
        )
    engine = schema.connect(settings.database, create=False)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()  # who opens the link at once must not be refused
    except OSError as error:
        listener.close()
        engine.dispose()
        raise UsageError(
            f"--port {port}: {error.strerror}; name another, or 0 for any that is free"
        ) from error
    port = listener.getsockname()[1]
    prepare(engine)
    app, desk = make_app(engine, settings, port=port)
    shown = f"[{host}]" if ":" in host else host
    started(f"http://{shown}:{port}{desk.door.make_link(reviewer, supervisor=True)}")
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, ws="none"
    )
    gc.collect()
    gc.freeze()  # else all that was imported is gone through again while somebody waits, 0.1 s
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        desk.retrying.stop()
