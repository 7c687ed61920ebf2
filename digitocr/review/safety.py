"""What stands before every page: who may ask, from where, how much, and what a page may load.

The pages are for browsers on this machine. A request is answered only when it was sent to this
machine by name (else a foreign site could have its own name point here), by a browser that was
let in by a one-time link, and, where it changes anything, from a page of ours (`Origin`) that
holds the token of its session. Nothing is loaded from anywhere else, and no script stands in a
page.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from sqlalchemy import Engine
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from digitocr.db import people, schema
from digitocr.db.people import Visitor

COOKIE = "digitocr_review"
MOST_BYTES = 11_000_000
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
NOT_LET_IN = (
    "This browser was not let in. Open the link that `digitocr review` printed; each link "
    "works once, and a new one is printed when it starts."
)


@dataclass
class Door:
    """Who was let in: one-time links, and the sessions they became (in the database)."""

    engine: Engine
    links: dict[str, Visitor] = field(default_factory=dict)
    known: dict[str, Visitor] = field(default_factory=dict)

    def make_link(self, reviewer: str, *, supervisor: bool = False) -> str:
        token = secrets.token_urlsafe(24)
        self.links[token] = Visitor(reviewer, supervisor)
        return f"/open?token={token}"

    def let_in(self, token: str) -> str | None:
        """Turn a link into a session, once; give what the cookie holds."""
        visitor = self.links.pop(token, None)
        if visitor is None:
            return None
        secret = secrets.token_urlsafe(32)
        with schema.writing(self.engine) as session:
            people.add_session(
                session, _hash(secret), visitor.name, datetime.now(UTC),
                supervisor=visitor.supervisor,
            )  # fmt: skip
        return secret

    def visitor(self, secret: str) -> Visitor | None:
        if not secret:
            return None
        id_ = _hash(secret)
        if id_ not in self.known:
            with schema.reading(self.engine) as session:
                found = people.visitor_of(session, id_)
            if found is None:
                return None
            self.known[id_] = found
        return self.known[id_]

    def rename(self, secret: str, reviewer: str) -> None:
        id_ = _hash(secret)
        with schema.writing(self.engine) as session:
            people.rename(session, id_, reviewer)
        self.known.pop(id_, None)


def csrf_token(secret: str) -> str:
    """Give the token that pages of a session send with every change."""
    return hmac.new(secret.encode(), b"digitocr csrf", hashlib.sha256).hexdigest()


def secret_of(headers: Headers) -> str:
    """Find what the session's cookie holds; "" without one."""
    try:
        cookie = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookie[COOKIE].value if COOKIE in cookie else ""


class Guard:
    """Refuses what is not from a page of ours; puts who asks and `csrf` into the request."""

    def __init__(self, app: ASGIApp, door: Door, hosts: frozenset[str]) -> None:
        self.app, self.door, self.hosts = app, door, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refused(scope, headers)
        sending = _with_headers(send, immutable=scope["path"].startswith("/static/"))
        if refused is not None:
            await refused(scope, receive, sending)
            return
        secret = secret_of(headers)
        scope.setdefault("state", {})["csrf"] = csrf_token(secret)
        scope["state"]["secret"] = secret
        visitor = self.door.visitor(secret) or Visitor("", supervisor=False)
        scope["state"]["reviewer"] = visitor.name
        scope["state"]["supervisor"] = visitor.supervisor
        await self.app(scope, _bounded(receive), sending)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if host not in self.hosts:
            return PlainTextResponse("These pages have another address.", 421)
        path, method = scope["path"], scope["method"]
        is_open = path == "/open" or path.startswith("/static/")
        if is_open and method in ("GET", "HEAD"):
            return None
        secret = secret_of(headers)
        if self.door.visitor(secret) is None:
            return PlainTextResponse(NOT_LET_IN, 401)
        if method in ("GET", "HEAD"):
            return None
        if not _is_from_here(headers, host):
            return PlainTextResponse("That was sent from a page that is not ours.", 403)
        if not hmac.compare_digest(headers.get("x-csrf", ""), csrf_token(secret)):
            return PlainTextResponse("This page is out of date: reload it.", 403)
        if int(headers.get("content-length") or 0) > MOST_BYTES:
            return PlainTextResponse("That is larger than 10 MB.", 413)
        return None


class TooLargeError(Exception):
    """A request went on after more bytes than are taken."""


def _bounded(receive: Receive) -> Receive:
    """Count what comes in: its length may be unsaid, or said wrong."""
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > MOST_BYTES:
            raise TooLargeError
        return message

    return counted


def _is_from_here(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        return origin == f"http://{host}" and urlsplit(origin).netloc == host
    return headers.get("sec-fetch-site") == "same-origin"


def _with_headers(send: Send, *, immutable: bool) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            if "cache-control" not in headers:
                headers["cache-control"] = "no-cache" if immutable else "no-store"
        await send(message)

    return sending


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
