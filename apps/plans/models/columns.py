"""Columns that several rows of the catalogue have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    ExactColumn = models.DecimalField[Any, Any]
else:
    ExactColumn = models.DecimalField

TOP = 10**15
"""Amounts lie below this; NaN and infinity do not."""


class AmountField(ExactColumn):
    """An amount in major units (12.50 dollars), as fine as prices are: 12 decimals."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.update(max_digits=30, decimal_places=12)
        super().__init__(**kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_digits"], kwargs["decimal_places"]
        return name, path, args, kwargs


class PercentField(ExactColumn):
    """A part of a hundred (19 is 19 %), 6 decimals."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.update(max_digits=9, decimal_places=6)
        super().__init__(**kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        del kwargs["max_digits"], kwargs["decimal_places"]
        return name, path, args, kwargs
