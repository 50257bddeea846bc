"""A line's explanation put into words: what was counted, what is included, tier by tier, rounded.

The PDF prints it and `explain_invoice` shows it. It reads the stored explanation and computes
nothing: the numbers are those that `engine.replay` checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from apps.engine.period import Period
from apps.invoicing.document import Line
from apps.invoicing.paper.words import Words

Explained = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sum:
    """One price applied to one quantity: a heading, what is billable, the steps of the price."""

    title: str
    billable: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Working:
    """How one line's amount came about. `evidence` names the events that were counted."""

    title: str
    source: str
    period: str
    sums: tuple[Sum, ...]
    closing: tuple[str, ...]
    evidence: tuple[str, ...] = ()
    amount: str = field(default="")


def working(line: Line, words: Words) -> Working:
    """Return the line's arithmetic as sentences and tables."""
    told = line.explanation
    return Working(
        title=line.name,
        source=_source(told),
        period=words.period(line.period),
        sums=tuple(_sums(told, words)),
        closing=tuple(_closing(told, words)),
        evidence=tuple(_evidence(told, words)),
        amount=words.money(line.amount),
    )


def heading(line: Line, words: Words) -> str:
    """Return what stands under a line's name on the invoice."""
    quantity = words.number(line.quantity)
    match line.reason:
        case "quantity_changed":
            sign = "+" if line.quantity > 0 else ""
            return _("Change of quantity by %(quantity)s") % {"quantity": f"{sign}{quantity}"}
        case "started":
            return _("Started within the period")
        case "ended":
            return _("Ended within the period")
    return ""


def _source(told: Explained) -> str:
    if "plan" not in told:
        return ""
    names = {"plan": told["plan"], "version": told["plan_version"]}
    if told.get("agreed_with_customer"):
        return _("Plan %(plan)s, version %(version)s, price agreed with you") % names
    return _("Plan %(plan)s, version %(version)s") % names


def _sums(told: Explained, words: Words) -> list[Sum]:
    match told.get("rule"):
        case "change":
            sides = (("old", _("Before the change")), ("new", _("After the change")))
            return [_sum(told[key], words, title) for key, title in sides if told[key] is not None]
        case "segments":
            return [_sum(part["price"], words, _stretch(part, words)) for part in told["segments"]]
        case _other:
            return [_sum(told, words, "")]


def _stretch(part: Explained, words: Words) -> str:
    ends = (datetime.fromisoformat(part["start"]), datetime.fromisoformat(part["end"]))
    return f"{words.period(Period(*ends))} ({part['share']})"


def _sum(price: Explained, words: Words, title: str) -> Sum:
    if price["model"] == "flat":
        return Sum(title, "", (), ((_("Flat amount"), words.rate(price["exact"])),))
    steps = price["steps"]
    tiered = price["model"] in {"graduated", "volume"}
    with_flat = any(step["flat_amount"] != "0" for step in steps)
    head = _head(price, words, tiered=tiered, with_flat=with_flat)
    rows = [_row(step, words, tiered=tiered, with_flat=with_flat) for step in steps]
    return Sum(title, _billable(price, words), head, tuple(rows))


def _billable(price: Explained, words: Words) -> str:
    quantity, included, billable = (
        words.number(price[key]) for key in ("quantity", "included", "billable")
    )
    if price["included"] == "0":
        return _("%(billable)s billable") % {"billable": billable}
    numbers = {"quantity": quantity, "included": included, "billable": billable}
    return _("%(quantity)s − %(included)s included = %(billable)s billable") % numbers


def _head(price: Explained, words: Words, *, tiered: bool, with_flat: bool) -> tuple[str, ...]:
    unit = _("Units")
    if price["model"] == "package":
        unit = _("Packages of %(size)s") % {"size": words.number(price["package_size"])}
    head = [_("Tier")] if tiered else []
    head += [unit, _("Price each")]
    head += [_("Flat fee")] if with_flat else []
    return (*head, _("Sum"))


def _row(step: Explained, words: Words, *, tiered: bool, with_flat: bool) -> tuple[str, ...]:
    row = [_tier(step, words)] if tiered else []
    row += [words.number(step["units"]), words.rate(step["unit_amount"])]
    row += [words.rate(step["flat_amount"])] if with_flat else []
    return (*row, words.rate(step["subtotal"]))


def _tier(step: Explained, words: Words) -> str:
    start = words.number(step["from"])
    if step["up_to"] is None:
        return _("above %(start)s") % {"start": start}
    return _("%(start)s to %(end)s") % {"start": start, "end": words.number(step["up_to"])}


def _closing(told: Explained, words: Words) -> list[str]:
    said = []
    if told.get("rule") == "change":
        said.append(_("Difference × %(share)s of the period") % {"share": told["share"]})
    elif "share" in told:
        said.append(_("× %(share)s of the period") % {"share": told["share"]})
    numbers = {
        "exact": words.rate(told["exact"]),
        "amount": words.money(told["amount_minor"]),
    }
    if numbers["exact"] == numbers["amount"]:
        return [*said, _("%(amount)s exactly, nothing to round") % numbers]
    if "paid_minor" in told:
        return [*said, _("%(exact)s, and never more back than was billed: %(amount)s") % numbers]
    if "/" in told["exact"]:
        return [*said, _("%(exact)s, rounded once to %(amount)s") % numbers]
    return [*said, _("%(exact)s exactly, rounded once to %(amount)s") % numbers]


def _evidence(told: Explained, words: Words) -> Sequence[str]:
    usage = told.get("usage")
    if usage is None:
        return []
    counted = {"events": words.number(usage["event_count"]), "meter": told.get("meter", "")}
    said = [_("%(events)s events counted by the meter %(meter)s") % counted]
    if usage.get("events_hash"):
        said.append(_("Fingerprint of the events: %(hash)s") % {"hash": usage["events_hash"]})
    return said
