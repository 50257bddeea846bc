"""The engine with one rule broken; the oracle must notice every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

from apps.engine import (
    calendar,
    daycount,
    discounts,
    money,
    per_event,
    price_rules,
    proration,
    rating,
    settlement,
    steps,
    tax,
)
from apps.engine import credits as credit_rules
from tests.prove.mutation import mutate


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule broken, and the subject whose examples must show it."""

    name: str
    subject: str
    change: Callable[[], None]


def _broken(
    name: str, subject: str, module: ModuleType, function: str, *changes: tuple[str, str]
) -> Broken:
    return Broken(name, subject, partial(mutate, module, function, *changes))


MUTANTS = (
    _broken(
        "halves are rounded towards zero",
        "change of plan",
        money,
        "round_half_away",
        ("+ exact.denominator) //", "+ exact.denominator - 1) //"),
    ),
    _broken(
        "the spare cent goes to the last line that lost most",
        "splits",
        money,
        "apportion",
        ("by_loss = sorted(range(len(units))", "by_loss = sorted(reversed(range(len(units)))"),
    ),
    _broken(
        "a quantity on a tier's bound enters the next tier",
        "price",
        steps,
        "_graduated",
        ("billable <= tier.up_to", "billable < tier.up_to"),
    ),
    _broken(
        "a volume price takes the next tier at the bound",
        "price",
        steps,
        "_volume",
        ("by <= t.up_to", "by < t.up_to"),
    ),
    _broken(
        "a package begun is not billed",
        "price",
        steps,
        "packages_begun",
        ("-(-whole.numerator // whole.denominator)", "whole.numerator // whole.denominator"),
    ),
    _broken(
        "one event more is free",
        "price",
        per_event,
        "_room",
        ("found.free_events >= terms.free_events", "found.free_events > terms.free_events"),
    ),
    _broken(
        "an event that uses the allowance up is charged whole",
        "price",
        per_event,
        "tally",
        ("charged = EXACT.subtract(amount, room or ZERO)", "charged = amount"),
    ),
    _broken(
        "the bounds of an event look at it without the fixed fee",
        "price",
        per_event,
        "_kind",
        (
            "EXACT.fma(charged, percent(terms.rate_percent), terms.fixed_amount)",
            "EXACT.multiply(charged, percent(terms.rate_percent))",
        ),
    ),
    _broken(
        "converted units are rounded the other way",
        "price",
        price_rules,
        "round_quantity",
        ("ceil(value * scale)", "floor(value * scale)"),
    ),
    _broken(
        "the maximum forgets what was billed before",
        "price",
        rating,
        "_bounds",
        ("min(left, billed + left -", "min(left, left -"),
    ),
    _broken(
        "the minimum is owed on every line of the period",
        "price",
        rating,
        "_bounds",
        ("_minimum(rules, share) if progress.last else None", "_minimum(rules, share)"),
    ),
    _broken(
        "the maximum is held against the price before the percentage",
        "price",
        rating,
        "_bounds",
        ("min(left, billed + left -", "min(left, billed + usage -"),
    ),
    _broken(
        "what a line owes may fall below what was billed before",
        "price",
        rating,
        "_increment",
        ("max(NOTHING, so_far.amount - earlier)", "so_far.amount - earlier"),
    ),
    _broken(
        "days are those of UTC",
        "shares",
        daycount,
        "ProrationRule._date",
        ("zone(self.timezone)", 'zone("UTC")'),
    ),
    _broken(
        "the day of a termination is given back",
        "shares",
        daycount,
        "unused_days",
        ("(not day_used)", "1"),
    ),
    _broken(
        "a month ends on the 28th at the latest",
        "boundaries",
        calendar,
        "Interval.after",
        ("min(wall.day, monthrange(year, month)[1])", "min(wall.day, 28)"),
    ),
    _broken(
        "each line of a plan may be credited up to all that was billed",
        "change of plan",
        proration,
        "change_plan",
        ("available -= given_back[-1]", "available -= nothing"),
    ),
    _broken(
        "fewer units are given back by the time that is over",
        "change of quantity",
        proration,
        "prorate_quantity_change",
        ("rule.unused_after(at, period) if less", "1 - rule.unused_after(at, period) if less"),
    ),
    _broken(
        "seats that come back up are billed again",
        "change of plan",
        proration,
        "high_water",
        ("steps.append(Money.zero(", "highest = price; steps.append(Money.zero("),
    ),
    _broken(
        "general discounts come before restricted ones",
        "coupons",
        discounts,
        "in_order",
        ("not discount.scope", "discount.scope"),
    ),
    _broken(
        "every discount takes from the full price",
        "coupons",
        discounts,
        "apply_discounts",
        ("left[line] -= part", "pass"),
    ),
    _broken(
        "taxes on top are reckoned on the price with the taxes inside",
        "taxation",
        tax,
        "_dues",
        ("net * _ratio(rate)", "(net if rate.inclusive else taxable.amount) * _ratio(rate)"),
    ),
    _broken(
        "the tax inside a price is rounded before its net",
        "taxation",
        tax,
        "_whole",
        ("not group[0].rate.inclusive or", "True or"),
    ),
    _broken(
        "every line is rounded where the document should be",
        "taxation",
        tax,
        "_rounded_with",
        ("if policy.rounding is TaxRounding.ONCE:", "if False:"),
    ),
    _broken(
        "the grant that expires first pays first, whatever its priority",
        "credit",
        credit_rules,
        "in_order",
        ("grant.priority,\n", "0,\n"),
    ),
    _broken(
        "a credit note is rounded by itself",
        "notes in turn",
        credit_rules,
        "credit_note",
        (
            "_rounded([*before, *credited], side) - _rounded(before, side)",
            "_rounded(credited, side)",
        ),
    ),
    _broken(
        "credit pays what credit notes have paid already",
        "totals",
        settlement,
        "_pay",
        ("limit=due)", "limit=total)"),
    ),
    _broken(
        "prepaid credit pays the tax too",
        "totals",
        settlement,
        "_pay",
        ("priced.net_by_line()", "priced.owed_by_line()"),
        ("limit=priced.net)", "limit=priced.gross)"),
    ),
)
