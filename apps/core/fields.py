"""Column types that every room uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.expressions import Func

from apps.core.ids import new_id

if TYPE_CHECKING:
    TextColumn = models.CharField[str, str]
    WholeColumn = models.BigIntegerField[int, int]
    ExactColumn = models.DecimalField[Any, Any]
    KeyColumn = models.ForeignKey[Any, Any]
    NumberColumn = models.Field[int, int]
else:
    TextColumn, WholeColumn = models.CharField, models.BigIntegerField
    ExactColumn, KeyColumn = models.DecimalField, models.ForeignKey
    NumberColumn = models.Field


class NewId:
    """Makes the default of a PublicIdField; a class, so that migrations can name it."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __call__(self) -> str:
        return new_id(self.prefix)

    def deconstruct(self) -> tuple[str, tuple[str], dict[str, Any]]:
        return "apps.core.fields.NewId", (self.prefix,), {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NewId) and other.prefix == self.prefix

    def __hash__(self) -> int:
        return hash(self.prefix)


class PublicIdField(TextColumn):
    """The id that the outside world sees. Collation C: byte order, and no second `_like` index."""

    def __init__(self, prefix: str = "", **kwargs: Any) -> None:
        self.prefix = prefix
        kwargs.setdefault("default", NewId(prefix))
        kwargs.update(max_length=40, unique=True, editable=False, db_collation="C")
        super().__init__(**kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        for key in ("max_length", "unique", "editable", "db_collation", "default"):
            kwargs.pop(key, None)
        return name, path, args, {"prefix": self.prefix, **kwargs}


class CurrencyField(TextColumn):
    """An ISO 4217 code in capitals."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["max_length"] = 3
        super().__init__(**kwargs)


class MoneyField(WholeColumn):
    """An amount in the minor units of the row's `currency` (cents of USD, yen of JPY)."""


class QuantityField(ExactColumn):
    """A number of units: 12 decimal places, below 10^18 either way."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.update(max_digits=30, decimal_places=12)
        super().__init__(**kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_digits"], kwargs["decimal_places"]
        return name, path, args, kwargs


class TenantForeignKey(KeyColumn):
    """A key to a row of the same organization.

    The database holds it as (organization_id, column) → (organization_id, id): row-level security
    does not guard plain foreign keys. `operations.TenantTable` creates that constraint, so Django's
    own is off, and so is its index: give the table the indexes that its queries use.
    """

    def __init__(self, to: Any, on_delete: Any = models.PROTECT, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        kwargs.setdefault("db_index", False)
        kwargs.setdefault("related_name", "+")
        super().__init__(to, on_delete, **kwargs)


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
