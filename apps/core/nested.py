"""What hangs on a row, read by the statement that reads the row: as a JSON document beside it.

A prefetch costs a statement for each kind of thing that hangs there, and a model object for each
of them. A document is one column; its reader says what is in it and gets exact values.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec
from django.db.models import TextField
from django.db.models.expressions import RawSQL

R = TypeVar("R")


class Nested(Generic[R]):
    """A document that `column` reads and `read` understands.

    `sql` is an expression of type json that names the outer row by its table; nothing that comes
    from outside may be in it. Numbers become Decimals and texts instants where `shape` says so.
    """

    def __init__(self, shape: type[R], sql: str) -> None:
        self._sql = f"({sql})::text"
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(shape)

    @property
    def column(self) -> RawSQL:
        """The document as a column of a query, to be annotated."""
        return RawSQL(self._sql, (), output_field=TextField())  # noqa: S611 -- constants only

    def read(self, document: Any) -> R:
        """Return what a column says. Raises msgspec.ValidationError where it has another shape."""
        return self._decoder.decode(document)


def rows(query: str) -> str:
    """Return an expression for the rows of a query as a JSON array, in the query's order."""
    return f"(SELECT coalesce(json_agg(r), '[]') FROM ({query}) r)"  # noqa: S608 -- constants only
