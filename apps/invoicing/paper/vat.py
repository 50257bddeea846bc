"""How EN 16931 sees taxes and parties: VAT categories, groups of one rate, VAT ids, countries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from apps.invoicing.document import Tax
from apps.invoicing.paper.words import visible
from apps.tenants.places import EU, NORTHERN_IRELAND, prefix_of

# UNTDID 5305. Category K (goods moved within the EU) is missing on purpose: what is billed here
# are services.
CATEGORIES = {
    "exempt": "E",
    "reverse_charge": "AE",
    "export": "G",
    "outside_scope": "O",
    "none": "O",
}
OUTSIDE_SCOPE, INTRA_COMMUNITY = "VATEX-EU-O", "VATEX-EU-IC"
COUNTRY_CODES = {"XK": "1A"}  # the standard's name for Kosovo
UNION_PREFIXES = (*(prefix_of(country) for country in sorted(EU)), NORTHERN_IRELAND)


@dataclass(frozen=True, slots=True)
class Group:
    """Everything taxed in one category at one rate (BG-23)."""

    category: str
    percent: Decimal
    base: int
    amount: int
    tax: Tax

    def is_near(self, tolerance: int) -> bool:
        """Whether the tax is base × rate; a category without tax bears none at all."""
        if self.category not in {"S", "Z"}:
            return self.amount == 0
        return abs(self.amount - self.base * Fraction(self.percent) / 100) < tolerance


def by_rate(taxes: Iterable[Tax]) -> dict[tuple[str, Decimal], Group]:
    """Sum taxes up by category and rate; what is only named is at rate zero."""
    groups: dict[tuple[str, Decimal], Group] = {}
    for tax in taxes:
        key = (category(tax), tax.charged_percent)
        before = groups.get(key)
        base = tax.base + (before.base if before else 0)
        amount = tax.amount + (before.amount if before else 0)
        groups[key] = Group(*key, base, amount, before.tax if before else tax)
    return groups


def category(tax: Tax) -> str:
    """Return the VAT category; raises KeyError for a treatment that has none.

    A service for a customer abroad is no export but outside the scope, and its ground says so.
    """
    if tax.is_charged:
        return "S" if tax.percent else "Z"
    return "O" if tax.ground == OUTSIDE_SCOPE else CATEGORIES[tax.treatment]


def has_category(tax: Tax) -> bool:
    """Whether the standard has a category for it that we can write; not for goods within the EU."""
    return tax.is_charged or (tax.treatment in CATEGORIES and tax.ground != INTRA_COMMUNITY)


def said(party: Mapping[str, Any], name: str) -> str:
    """Return what a party says under this name, fit to print, or nothing."""
    return visible(str(party.get(name) or "")).strip()


def country_code(party: Mapping[str, Any]) -> str:
    """Return the party's country as the standard's code list has it."""
    country = said(party, "country")
    return COUNTRY_CODES.get(country, country)


def vat_id(party: Mapping[str, Any]) -> str:
    """Return the party's tax id as an international VAT id (DE123456789), or nothing.

    It starts with a country's code (BR-CO-09): its own, or that of a member state of the EU in
    which it is registered. Greece's is EL, Northern Ireland's XI.
    """
    country = said(party, "country")
    compact = re.sub(r"[^A-Za-z0-9]", "", said(party, "tax_id")).upper()
    prefixes = (prefix_of(country), *UNION_PREFIXES)
    return compact if country and compact.startswith(prefixes) and len(compact) > 3 else ""
