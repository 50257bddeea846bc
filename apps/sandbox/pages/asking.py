"""A request to a page, and what goes back."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from apps.sandbox.engine import Sandbox
from apps.sandbox.errors import Refusal
from apps.sandbox.world.kinds import random_text
from apps.sandbox.world.objects import World

LARGEST_FORM = 100_000
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody asks for a page, or sends a form from one."""

    sandbox: Sandbox
    posted: bool
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]

    @property
    def base(self) -> str:
        """Return the path under which all pages are."""
        return urlsplit(self.sandbox.base_url).path

    @property
    def token(self) -> str:
        """Return what forms of the pages behind the scenes carry: other sites cannot read it."""
        store = self.sandbox.store
        with store.transaction():
            if (known := store.note("token")) is None:
                known = random_text(32)
                store.set_note("token", known)
        return str(known)

    def require_token(self) -> None:
        """Raise Refusal unless the form was sent from one of our own pages."""
        if not hmac.compare_digest(self.form.get("token", "").encode(), self.token.encode()):
            raise Refusal(403, "This form is not from this page. Open the page again.")

    def read(self, work: Callable[[World], Found]) -> Found:
        """Return what `work` finds; it changes nothing."""
        with self.sandbox.store.transaction():
            return work(self.sandbox.world())

    def act(self, work: Callable[[World], Any]) -> None:
        """Change something, as one transaction with its events."""
        self.sandbox.act(work)

    def place(self, path: str) -> str:
        """Return the address of another page of ours."""
        return f"{self.base}{path}"


def read(sandbox: Sandbox, environ: Mapping[str, Any], path: str) -> Visit:
    """Return the request. Raises Refusal for verbs that pages do not know, and for huge forms."""
    method = str(environ["REQUEST_METHOD"])
    if method not in {"GET", "HEAD", "POST"}:
        raise Refusal(405, "Pages are read with GET and changed with POST.")
    query = dict(parse_qsl(str(environ.get("QUERY_STRING", "")), keep_blank_values=True))
    form = _form(environ) if method == "POST" else {}
    return Visit(sandbox, method == "POST", path, query, form)


def _form(environ: Mapping[str, Any]) -> dict[str, str]:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > LARGEST_FORM:
        raise Refusal(413, "The form is too large.")
    text = environ["wsgi.input"].read(length).decode("utf-8", "replace") if length else ""
    return dict(parse_qsl(text, keep_blank_values=True))
