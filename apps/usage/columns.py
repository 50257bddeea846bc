"""Column types of this room."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.expressions import Func

if TYPE_CHECKING:
    NumberColumn = models.Field[int, int]
    ExactColumn = models.DecimalField[Decimal, Decimal]
else:
    NumberColumn, ExactColumn = models.Field, models.DecimalField


class TransactionIdField(NumberColumn):
    """PostgreSQL's xid8: a transaction's 64-bit number, which never wraps around."""

    description = "Transaction id"

    def db_type(self, connection: Any) -> str:
        """Return the column's type."""
        return "xid8"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> int | None:
        """Return it as a number; the driver knows no xid8 and hands over text."""
        return None if value is None else int(value)

    def get_prep_value(self, value: Any) -> str | None:
        """Send it as text: PostgreSQL casts no integer to xid8."""
        return None if value is None else str(value)


class CurrentTransaction(Func):
    """The transaction that runs the statement, given a number now if it has none."""

    template = "pg_current_xact_id()"
    arity = 0
    output_field = TransactionIdField()


class DedupeKey(Func):
    """What an event is known by: the database makes it of source and key (migration 0001)."""

    function = "usage_dedupe_key"
    arity = 2
    output_field = models.UUIDField()


class TotalField(ExactColumn):
    """A sum of quantities: wide enough for 10^20 events of the largest quantity."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.update(max_digits=50, decimal_places=12)
        super().__init__(**kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_digits"], kwargs["decimal_places"]
        return name, path, args, kwargs


class LaneField(ExactColumn):
    """A sum of signed 64-bit numbers: half of an order-free hash (see docs/algorithms/usage.md)."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.update(max_digits=39, decimal_places=0)
        super().__init__(**kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_digits"], kwargs["decimal_places"]
        return name, path, args, kwargs
