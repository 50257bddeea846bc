"""Lookups of ours, for every model."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.core.exceptions import EmptyResultSet
from django.db.models import Field, ForeignObject, Lookup

from apps.core import bulk

if TYPE_CHECKING:
    IdLookup = Lookup[Collection[int]]
else:
    IdLookup = Lookup


@ForeignObject.register_lookup  # which has lookups of its own only
@Field.register_lookup
class Among(IdLookup):
    """`id__among=ids`: what `id__in=ids` finds, for hundreds of whole numbers.

    They are one parameter and not one each: building a statement for a month end's chunk took
    longer than running it.
    """

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the comparison with an array."""
        if not self.rhs:
            raise EmptyResultSet
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} = ANY (%s::bigint[])", (*parameters, bulk.array(self.rhs))
