"""Which places share one value-added tax, and how their tax ids begin."""

from __future__ import annotations

from datetime import UTC, datetime

# ISO 3166 codes. Greece is GR here and EL in front of a tax id.
EU = frozenset({
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT",
    "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
})  # fmt: skip
NORTHERN_IRELAND = "XI"  # in the EU's VAT area for goods, in the United Kingdom's for services
BREXIT = datetime(2021, 1, 1, tzinfo=UTC)  # the end of the transition
ALIASES = {"EL": "GR", "UK": "GB", "MC": "FR", "IM": "GB"}  # Monaco and Man: one area with these
PREFIXES = {"GR": "EL"}


def tax_area(country: str) -> str:
    """Return the country whose VAT counts there: FR for Monaco, GB for the Isle of Man."""
    return ALIASES.get(country, country)


def in_union(area: str, at: datetime, *, goods: bool = False) -> bool:
    """Tell whether a tax area was in the EU's VAT area then, for goods or for services."""
    if area == NORTHERN_IRELAND:
        return goods or at < BREXIT
    return area in EU or (area == "GB" and at < BREXIT)


def prefix_of(country: str) -> str:
    """Return the two letters in front of the country's VAT ids: EL for Greece."""
    area = tax_area(country)
    return PREFIXES.get(area, area)
