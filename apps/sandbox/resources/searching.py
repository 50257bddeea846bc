"""Stripe's search, for one equality: enough to find an object by our own id in its metadata."""

from __future__ import annotations

from apps.sandbox.errors import Refusal
from apps.sandbox.store import Body
from apps.sandbox.world.objects import listing


def read_query(query: str) -> tuple[str, str]:
    """Return field and value of `email:'a@b.c'` or `metadata['key']:'value'`. Raises Refusal."""
    field, colon, value = query.partition(":")
    field = field.strip().replace("['", ".").replace('["', ".").replace("']", "").replace('"]', "")
    value = value.strip().strip("'\"")
    if not colon or not value or not field.replace(".", "").replace("_", "").isalnum():
        raise Refusal(
            501,
            "The sandbox searches for one equality only.",
            kind="api_error",
            code="sandbox_not_implemented",
        )
    return field, value


def search_result(found: list[Body], url: str) -> Body:
    """Return what a search found, on one page."""
    return {**listing(found[:100], url), "object": "search_result", "next_page": None}
