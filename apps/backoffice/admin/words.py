"""Prices, grants and arithmetic in words: what finance reads instead of JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from apps.backoffice.admin import cells
from apps.engine.decimals import plain
from apps.engine.money import Money, round_half_away
from apps.engine.prices import (
    Blocks,
    Capacity,
    Dynamic,
    Flat,
    GraduatedPercentage,
    Package,
    Percentage,
    PerUnit,
    Terms,
    Tier,
    Tiered,
)
from apps.plans.selectors import PriceTerms

Special = Percentage | GraduatedPercentage | Dynamic | Blocks | Capacity

REASONS: Mapping[str, str] = {
    "recurring": "Recurring",
    "usage": "Usage",
}


def terms(value: Terms, currency: str, unit: str = "unit") -> str:
    """Return price terms as a sentence: `12.00 USD per seat`."""
    match value:
        case Flat():
            return f"{_amount(value.amount)} {currency}"
        case PerUnit():
            return f"{_amount(value.unit_amount)} {currency} per {unit}"
        case Package():
            size = cells.number(value.package_size)
            rule = "begun ones whole" if value.rounding == "up" else "full ones only"
            return f"{_amount(value.unit_amount)} {currency} per {size}, {rule}"
        case Tiered():
            rule = "each unit by its own tier" if value.model == "graduated" else "all by one tier"
            return f"{_tiers(value.tiers, currency)} ({rule})"
        case _:
            return _measured(value, currency)


def _measured(value: Special, currency: str) -> str:
    match value:
        case Percentage():
            fixed = f" + {_amount(value.fixed_amount)} {currency}" if value.fixed_amount else ""
            return f"{plain(value.rate_percent)} % of each event's amount{fixed}"
        case GraduatedPercentage():
            rates = "; ".join(f"{plain(tier.rate_percent)} %" for tier in value.tiers)
            return f"{rates} of the amount, each part by its own tier"
        case Dynamic():
            return f"{plain(value.multiplier)} × the amount that each event carries"
        case Blocks():
            sizes = "; ".join(
                f"{_amount(tier.block_amount)} {currency} per {cells.number(tier.block_size)}"
                for tier in value.tiers
            )
            return f"{sizes}, begun ones whole"
        case Capacity():
            amounts = "; ".join(f"{_amount(tier.amount)} {currency}" for tier in value.tiers)
            return f"{amounts}, by the first tier that holds the usage"


def _tiers(tiers: Sequence[Tier], currency: str) -> str:
    return "; ".join(_tier(tier, currency) for tier in tiers)


def _tier(tier: Tier, currency: str) -> str:
    reach = "above" if tier.up_to is None else f"up to {cells.number(tier.up_to)}"
    flat = f" + {_amount(tier.flat_amount)}" if tier.flat_amount else ""
    return f"{reach}: {_amount(tier.unit_amount)}{flat} {currency}"


def _amount(value: Decimal) -> str:
    """Return an amount with at least two decimals: 50.00, 0.0000015."""
    text = plain(value)
    return f"{value:,.2f}" if len(text.partition(".")[2]) <= 2 else text


def price(found: PriceTerms, currency: str) -> str:
    """Return all that a price says."""
    unit = {"licensed": "seat", "metered": found.unit or "unit"}.get(found.type, "unit")
    included = f", {cells.number(found.included)} included" if found.included else ""
    return terms(found.terms, currency, unit) + included


def grant(value: object) -> str:
    """Return an entitlement's value in words."""
    if value is None:
        return "unlimited"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return cells.number(value) if isinstance(value, int) else str(value)


def interval(unit: str, count: int) -> str:
    """Return `month` or `3 months`."""
    return unit if count == 1 else f"{count} {unit}s"


@dataclass(frozen=True, slots=True)
class Part:
    """One price applied to one quantity: its heading, the quantity and the steps of the sum."""

    title: str
    quantity: str
    steps: tuple[tuple[str, str, str, str, str], ...]
    share: str


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """A line's explanation for reading: parts, and how the exact sum was rounded.

    `exact` is empty where nothing was rounded: a difference of two amounts.
    """

    parts: tuple[Part, ...]
    exact: str
    amount: str


def arithmetic(explanation: Mapping[str, Any]) -> Arithmetic:
    """Return a line's stored explanation as text; it computes nothing."""
    currency = str(explanation["currency"])
    exact = explanation.get("exact")
    return Arithmetic(
        tuple(_parts(explanation)),
        "" if exact is None else f"{exact} {currency}",
        cells.money(Money(explanation["amount_minor"], currency).minor, currency),
    )


def _parts(explanation: Mapping[str, Any]) -> list[Part]:
    share = str(explanation.get("share", ""))
    match explanation["rule"]:
        case "change":
            sides = [
                ("New price", explanation["new"]),
                ("Old price, taken off", explanation["old"]),
            ]
            return [_part(title, side, share) for title, side in sides if side is not None]
        case "segments":
            return [
                _part(f"{part['start']} → {part['end']}", part["price"], str(part["share"]))
                for part in explanation["segments"]
            ]
        case "sum":
            parts = [_part("", part, str(part.get("share", ""))) for part in explanation["parts"]]
            return parts + _bounds(explanation)
        case "charge":
            each = f"{explanation['unit_amount']} {explanation['currency']}"
            return [Part("", f"{_number(explanation['quantity'])} × {each}", (), "")]
        case "difference":
            return _difference(explanation)
        case _:
            return [*_price_parts(explanation, share), *_bounds(explanation)]


def _difference(explanation: Mapping[str, Any]) -> list[Part]:
    """Return what the whole comes to, and what was billed of it before."""
    now, currency = explanation["now"], str(explanation["currency"])
    parts = [replace(part, title=part.title or "As it stands now") for part in _parts(now)]
    if "net_of_discounts" in explanation:
        share = _number(str(explanation["net_of_discounts"]))
        parts.append(Part("What was paid of it after discounts", f"× {share}", (), ""))
    before = cells.money(int(explanation["before_minor"]), currency)
    parts.append(Part("Billed before, taken off", before, (), ""))
    if "paid_minor" in explanation:
        left = cells.money(int(explanation["paid_minor"]), currency)
        parts.append(Part("Given back at most: what credit notes left of it", left, (), ""))
    return parts


def _price_parts(explanation: Mapping[str, Any], share: str) -> list[Part]:
    if "previous" not in explanation:
        return [_part("", explanation, share)]
    return [
        _part("The period so far", explanation, share),
        _part("Billed before, taken off", explanation["previous"], share),
    ]


def _bounds(explanation: Mapping[str, Any]) -> list[Part]:
    """Return what a discount, a maximum and a minimum made of the usage, where they did."""
    found = explanation.get("bounds")
    if found is None:
        return []
    said = [f"usage {found['usage_amount']}"]
    for key, sign, name in (
        ("discount", "−", f"{found['discount_percent']} % discount"),
        ("maximum_discount", "−", f"above the maximum of {found['maximum_amount']}"),
        ("true_up", "+", f"missing to the minimum of {found['minimum_amount']}"),
    ):
        if found[key] != "0":
            said.append(f"{sign} {found[key]} {name}")
    return [Part("Discount, maximum and minimum", " ".join(said), (), "")]


def _part(title: str, found: Mapping[str, Any], share: str) -> Part:
    return Part(
        title, _quantity(found), tuple(_step(step, found) for step in found["steps"]), share
    )


def _quantity(found: Mapping[str, Any]) -> str:
    if found["model"] == "flat":
        return ""
    quantity, included, billable = (
        _number(found[key]) for key in ("quantity", "included", "billable")
    )
    if "converted" in found:
        quantity = f"{quantity}, converted to {_number(found['converted'])}"
    taken = f"{quantity} − {included} included = " if included != "0" else ""
    if not taken and "converted" in found:
        taken = f"{quantity} = "
    sized = ""
    if "package_size" in found:
        sized = f" in packages of {cells.number(Decimal(found['package_size']))}"
    return f"{taken}{billable} to bill{sized}"


def _number(text: str) -> str:
    """Return a stored number; one without an end, such as 11/3, to six places."""
    if "/" not in text:
        return cells.number(Decimal(text))
    millionths = round_half_away(Fraction(text) * 10**6)
    return f"≈ {cells.number(Decimal(millionths).scaleb(-6))}"


def _step(step: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    return (
        _reach(step, found),
        _number(step["units"]),
        str(step["unit_amount"]),
        str(step["flat_amount"]),
        str(step["subtotal"]),
    )


_WITHOUT_TIERS = {
    "flat": "Flat fee",
    "package": "Packages",
    "blocks": "Blocks",
    "capacity": "Capacity",
    "percentage": "Events",
}


def _reach(step: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    if found["model"] not in {"graduated", "graduated_percentage", "volume"}:
        return _WITHOUT_TIERS.get(found["model"], "Units")
    start = cells.number(Decimal(step["from"]))
    if step["up_to"] is None:
        return f"above {start}"
    return f"{start} – {cells.number(Decimal(step['up_to']))}"
