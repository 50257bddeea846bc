from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from apps.invoicing.paper.words import Words


@pytest.mark.parametrize(
    ("locale", "currency", "minor", "text"),
    [
        ("en", "USD", 1_262_99, "$1,262.99"),
        ("en", "USD", -16_00, "-$16.00"),
        ("de", "EUR", 1_262_99, "1.262,99\xa0€"),
        ("en", "JPY", 1_200, "¥1,200"),
        ("en", "KWD", 1_234, "KWD1.234"),
        ("en", "IQD", 1_234, "IQD1.234"),
    ],
)
def test_money_has_the_decimals_of_its_currency(
    locale: str, currency: str, minor: int, text: str
) -> None:
    assert Words(locale, ZoneInfo("UTC"), currency).money(minor) == text
