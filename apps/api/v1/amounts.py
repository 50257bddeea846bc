"""Amounts that come in: whole minor units, as they go out."""

from __future__ import annotations

from decimal import Decimal

from apps.api.shapes import Text, Whole
from apps.core.errors import Invalid
from apps.engine.money import Money, UnknownCurrency

MOST = 10**15


class Minor(Whole):
    """A whole number of minor units, more than nothing unless another `min_value` is said."""

    def __init__(
        self, *, min_value: int = 1, required: bool = True, help_text: str = "minor units"
    ) -> None:
        super().__init__(
            min_value=min_value, max_value=MOST, required=required, help_text=help_text
        )


def currency_field() -> Text:
    """Return the field of a currency that may be left out."""
    return Text(
        min_length=3,
        max_length=3,
        required=False,
        help_text="ISO 4217; default: the organization's",
    )


def major(minor: int, currency: str) -> Decimal:
    """Return minor units as services take them, in major ones. Raises Invalid."""
    try:
        return Money(minor, currency).major
    except UnknownCurrency as error:
        raise Invalid(f"{error}.", param="currency") from error
