"""Pages by key: one starts after an id, so nothing is skipped or repeated when rows are added."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import serializers

from apps.api.errors import Fault, InvalidRequest
from apps.api.shapes import Digits, Query
from apps.core import ids

M = TypeVar("M", bound=Model)
LARGEST, DEFAULT = 100, 20


class ListQuery(Query):
    """What every list takes."""

    limit = Digits(min_value=1, max_value=LARGEST, default=DEFAULT, help_text="objects on a page")
    starting_after = serializers.CharField(
        required=False, help_text="id of the last object seen: the page goes on behind it"
    )
    ending_before = serializers.CharField(
        required=False, help_text="id of the first object seen: the page before it"
    )


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Rows of a page, newest first, and whether the list goes on in the direction asked for."""

    rows: list[M]
    has_more: bool
    next_cursor: str | None


def page(rows: QuerySet[M], query: dict[str, Any], *, among: QuerySet[M]) -> Page[M]:
    """Return the page of a queryset whose rows have public ids; two queries at most.

    Cursors are looked up `among` the rows before any filter: the object that a client saw last may
    have left the filter meanwhile, and the page must go on all the same.
    """
    limit, backwards = query["limit"], "ending_before" in query
    if backwards and "starting_after" in query:
        _refuse("ending_before", "Give starting_after or ending_before, not both.")
    rows = rows.order_by("id" if backwards else "-id")
    for name, rule in (("starting_after", "id__lt"), ("ending_before", "id__gt")):
        if name in query:
            rows = rows.filter(**{rule: _key(among, name, query[name])})
    found = list(rows[: limit + 1])
    kept = found[:limit]
    shown = kept[::-1] if backwards else kept
    has_more = len(found) > limit
    last = kept[-1].public_id if has_more else None  # type: ignore[attr-defined]
    return Page(shown, has_more, last)


def _key(rows: QuerySet[M], name: str, cursor: str) -> int:
    """Return the integer id behind a cursor."""
    keys = rows.values_list("pk", flat=True)
    found = keys.filter(public_id=cursor).first() if ids.is_public_id(cursor) else None
    if found is None:
        refuse_cursor(name)
    return int(found)


def refuse_cursor(name: str) -> NoReturn:
    """Refuse a cursor that names nothing in the list."""
    _refuse(name, "There is no such object in this list.")


def _refuse(name: str, said: str) -> NoReturn:
    raise InvalidRequest(said, [Fault("invalid_cursor", said, parameter=name)], param=name)
