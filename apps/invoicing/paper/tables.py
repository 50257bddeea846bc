"""One price applied to one quantity, as a table: what is billable, and each step of the price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from apps.invoicing.paper.words import Words

Explained = Mapping[str, Any]
TIERED = frozenset({"graduated", "graduated_percentage", "volume", "blocks"})
OF_MONEY = frozenset({"graduated_percentage", "percentage"})  # their quantity is an amount


@dataclass(frozen=True, slots=True)
class Sum:
    """One price applied to one quantity: a heading, what is billable, the steps of the price."""

    title: str
    billable: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table(price: Explained, words: Words, title: str = "") -> Sum:
    """Return the price's steps; a flat amount is a row of its own."""
    if price["model"] in {"flat", "capacity"}:
        flat = tuple((_("Flat amount"), words.rate(step["subtotal"])) for step in price["steps"])
        return Sum(title, _limits(price, words), (), flat)
    if price["model"] == "percentage":
        return _percentage(price, words, title)
    with_flat = any(step["flat_amount"] != "0" for step in price["steps"])
    rows = [_row(step, price, words, with_flat=with_flat) for step in price["steps"]]
    head = _head(price, words, with_flat=with_flat)
    return Sum(title, _billable(price, words), head, tuple(rows))


def _head(price: Explained, words: Words, *, with_flat: bool) -> tuple[str, ...]:
    unit = _("Blocks") if price["model"] == "blocks" else _("Units")
    if price["model"] == "package":
        unit = _("Packages of %(size)s") % {"size": words.number(price["package_size"])}
    head = [_("Tier")] if price["model"] in TIERED else []
    head += [unit, _("Price each")]
    head += [_("Flat fee")] if with_flat else []
    return (*head, _("Sum"))


def _row(step: Explained, price: Explained, words: Words, *, with_flat: bool) -> tuple[str, ...]:
    row = [_tier(step, price, words)] if price["model"] in TIERED else []
    row += [_units(step, price, words), _each(step, price, words)]
    row += [words.rate(step["flat_amount"])] if with_flat else []
    return (*row, words.rate(step["subtotal"]))


def _tier(step: Explained, price: Explained, words: Words) -> str:
    start = _measure(price, words, step["from"])
    if step["up_to"] is None:
        return _("above %(start)s") % {"start": start}
    return _("%(start)s to %(end)s") % {
        "start": start,
        "end": _measure(price, words, step["up_to"]),
    }


def _units(step: Explained, price: Explained, words: Words) -> str:
    units = _measure(price, words, step["units"])
    return f"{units} × {words.number(step['block_size'])}" if "block_size" in step else units


def _each(step: Explained, price: Explained, words: Words) -> str:
    if price["model"] == "graduated_percentage":
        return _hundredths(step["unit_amount"], words)
    return words.rate(step["unit_amount"])


def _hundredths(share: str, words: Words) -> str:
    return words.percent(Decimal(share).scaleb(2))


def _measure(price: Explained, words: Words, value: str) -> str:
    return words.rate(value) if price["model"] in OF_MONEY else words.number(value)


def _billable(price: Explained, words: Words) -> str:
    numbers = {
        key: _measure(price, words, price[key]) for key in ("quantity", "included", "billable")
    }
    if "conversion" not in price:
        return _free(numbers, price)
    converted = words.number(price["converted"])
    both = {"quantity": numbers["quantity"], "converted": converted}
    told = _("%(quantity)s converted to %(converted)s") % both
    return f"{told}; {_free(numbers | {'quantity': converted}, price)}"


def _free(numbers: Mapping[str, str], price: Explained) -> str:
    if price["included"] == "0":
        return _("%(billable)s billable") % numbers
    return _("%(quantity)s − %(included)s included = %(billable)s billable") % numbers


def _limits(price: Explained, words: Words) -> str:
    """Say what was counted of each unit that a capacity holds, and how much it holds."""
    held = price.get("limits", {})
    return ", ".join(
        f"{unit}: {words.number(used)}"
        + ("" if held.get(unit) is None else f" / {words.number(held[unit])}")
        for unit, used in price.get("units", {}).items()
    )


def _percentage(price: Explained, words: Words, title: str) -> Sum:
    """Show the share of the money first, then the fees of events: their units are events."""
    share, *fees = price["steps"]
    first = (words.rate(share["units"]), _hundredths(share["unit_amount"], words))
    rows = [(*first, words.rate(share["subtotal"]))]
    rows += [
        (words.number(fee["units"]), words.rate(fee["unit_amount"]), words.rate(fee["subtotal"]))
        for fee in fees
    ]
    head = (_("Units"), _("Price each"), _("Sum"))
    return Sum(title, _billable(price, words), head, tuple(rows))
