"""Amounts as staff write them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from apps.engine.decimals import NotADecimal, decimal_of


class AmountField(forms.CharField):
    """An amount in major units, written out: digits and a point, as it stands on a statement."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(max_length=21, widget=widget, **kwargs)

    def clean(self, value: Any) -> Any:
        """Return the amount as an exact decimal; nothing where it is optional and empty."""
        text = super().clean(value)
        if not text:
            return None
        try:
            return decimal_of(text)
        except NotADecimal:
            raise forms.ValidationError(
                "Write the amount with digits and a point only, such as 262.99."
            ) from None


def agreed_amounts(text: str) -> dict[str, Decimal]:
    """Read KEY=AMOUNT, one a line: prices agreed with a customer, in major units."""
    return dict(_agreed(line) for line in text.splitlines() if line.strip())


def _agreed(line: str) -> tuple[str, Decimal]:
    key, _, amount = line.partition("=")
    try:
        return key.strip(), decimal_of(amount.strip())
    except NotADecimal:
        raise forms.ValidationError(f"'{line}' is no price; write it like base=1200.00") from None
