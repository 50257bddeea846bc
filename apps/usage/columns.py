"""Column types of this room."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.expressions import Func

from apps.core.fields import CurrentTransaction as CurrentTransaction
from apps.core.fields import TransactionIdField as TransactionIdField

if TYPE_CHECKING:
    ExactColumn = models.DecimalField[Decimal, Decimal]
else:
    ExactColumn = models.DecimalField


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
