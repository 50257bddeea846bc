"""A line's explanation put into words: what was counted, what is included, tier by tier, rounded.

The PDF prints it and `explain_invoice` shows it. It reads the stored explanation and computes
nothing: the numbers are those that `engine.replay` checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from django.utils.translation import gettext as _

from apps.engine.money import round_half_away
from apps.engine.period import Period
from apps.invoicing.document import Line
from apps.invoicing.paper.tables import Explained, Sum, table
from apps.invoicing.paper.words import Words

__all__ = ["Sum", "Working", "heading", "working"]


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
            return [table(told[key], words, title) for key, title in sides if told[key] is not None]
        case "segments":
            return [table(part["price"], words, _stretch(part, words)) for part in told["segments"]]
        case "sum":
            return [table(part, words, _share(part)) for part in told["parts"]]
        case "difference":
            return _sums(told["now"], words)
        case _other:
            return _price(told, words)


def _price(told: Explained, words: Words) -> list[Sum]:
    """Show what a price came to; of a period billed in several parts, with and without this one."""
    if "model" not in told:
        return []  # a charge or a correction is what it says
    if "previous" not in told:
        return [table(told, words)]
    both = ((told, _("The period so far")), (told["previous"], _("Billed before")))
    return [table(price, words, title) for price, title in both]


def _stretch(part: Explained, words: Words) -> str:
    ends = (datetime.fromisoformat(part["start"]), datetime.fromisoformat(part["end"]))
    return f"{words.period(Period(*ends))} ({part['share']})"


def _share(part: Explained) -> str:
    return _("× %(share)s of the period") % {"share": part["share"]} if "share" in part else ""


def _closing(told: Explained, words: Words) -> list[str]:
    said = [sentence for price in _prices(told) for sentence in _commitment(price, words)]
    if "before_amount" in told:
        before = {"amount": words.rate(told["before_amount"])}
        said.append(_("Less %(amount)s billed before") % before)
    if told.get("rule") == "change":
        said.append(_("Difference × %(share)s of the period") % {"share": told["share"]})
    elif "share" in told:
        said.append(_share(told))
    if "net_of_discounts" in told:
        share = {"share": told["net_of_discounts"]}
        said.append(_("× %(share)s, which was paid of it after discounts") % share)
    if told.get("rule") == "difference":
        before = {"amount": words.money(told["before_minor"])}
        said.append(_("Less %(amount)s billed before") % before)
        said += _left(told, words)
    said += _bounds(told.get("bounds"), words)
    return [*said, *_rounding(told, words)]


def _left(told: Explained, words: Words) -> list[str]:
    """Say that more would go back than credit notes left of what was billed before."""
    share = Fraction(told.get("net_of_discounts", 1))
    beyond = round_half_away(told["now"]["amount_minor"] * share) - told["before_minor"]
    if beyond == told["amount_minor"]:
        return []
    numbers = {"exact": words.money(beyond), "amount": words.money(told["amount_minor"])}
    return [_("%(exact)s, and never more back than was billed: %(amount)s") % numbers]


def _prices(told: Explained) -> list[Explained]:
    """Return every price that the line rests on."""
    match told.get("rule"):
        case "change":
            return [side for side in (told["old"], told["new"]) if side is not None]
        case "segments":
            return [part["price"] for part in told["segments"]]
        case "sum":
            return list(told["parts"])
        case "difference":
            return _prices(told["now"])
        case _other:
            return [told]


def _commitment(price: Explained, words: Words) -> list[str]:
    if "commitment" not in price:
        return []
    told = price["commitment"]
    amounts = {
        key: words.rate(told[key]) for key in ("amount", "utilized", "overage", "true_up")
    } | {"factor": words.number(told["overage_factor"])}
    said = [_("Commitment of %(amount)s: %(utilized)s of it used") % amounts]
    if told["overage"] != "0":
        said.append(_("Beyond the commitment, × %(factor)s: %(overage)s") % amounts)
    if told["true_up"] != "0":
        said.append(_("Added to fill the commitment: %(true_up)s") % amounts)
    return said


def _bounds(told: Explained | None, words: Words) -> list[str]:
    """Say what a discount, a maximum and a minimum of the price itself changed."""
    if told is None:
        return []
    amounts = {
        key: words.rate(told[key] or "0")
        for key in ("discount", "maximum_amount", "maximum_discount", "minimum_amount", "true_up")
    } | {"percent": words.percent(Decimal(told["discount_percent"]))}
    sentences = {
        "discount": _("Discount of %(percent)s: −%(discount)s"),
        "maximum_discount": _("At most %(maximum_amount)s: −%(maximum_discount)s"),
        "true_up": _("At least %(minimum_amount)s: +%(true_up)s"),
    }
    return [text % amounts for key, text in sentences.items() if told[key] != "0"]


def _rounding(told: Explained, words: Words) -> list[str]:
    if "exact" not in told:
        return []
    exact, amount = words.rate(told["exact"]), words.money(told["amount_minor"])
    numbers = {"exact": exact, "amount": amount}
    if exact == amount:
        return [_("%(amount)s exactly, nothing to round") % numbers]
    if "paid_minor" in told:
        return [_("%(exact)s, and never more back than was billed: %(amount)s") % numbers]
    if "/" in told["exact"]:
        return [_("%(exact)s, rounded once to %(amount)s") % numbers]
    return [_("%(exact)s exactly, rounded once to %(amount)s") % numbers]


def _evidence(told: Explained, words: Words) -> Sequence[str]:
    usage = told.get("usage")
    if usage is None:
        return []
    counted = {"events": words.number(usage["event_count"]), "meter": told.get("meter", "")}
    said = [_("%(events)s events counted by the meter %(meter)s") % counted]
    if usage.get("events_hash"):
        said.append(_("Fingerprint of the events: %(hash)s") % {"hash": usage["events_hash"]})
    return said
