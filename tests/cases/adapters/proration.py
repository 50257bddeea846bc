"""Published examples of prices over part of a period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from apps.engine.billing_day import BillingDay
from apps.engine.calendar import Interval, Unit, calendar_cycle, local_date, zone
from apps.engine.daycount import (
    Proration,
    ProrationRule,
    fixed_days_between,
    inclusive_days,
    ratio_of_days,
    share_of_days,
    unused_days,
)
from apps.engine.discounts import Discount, apply_discounts
from apps.engine.lines import Line
from apps.engine.money import Money
from apps.engine.period import Period
from apps.engine.prices import PerUnit
from apps.engine.proration import (
    PlanChange,
    capped_credit,
    change_plan,
    credit_unused,
    high_water,
    minimum_true_up,
    prorated,
)
from apps.engine.rating import rate
from tests.cases.adapters.dates import TIMINGS
from tests.cases.records import Adapter, Record

OPTIONS = frozenset({"killbill-day", "lago-day", "flexprice-day", "seat-high-water"})

Inputs = Mapping[str, Any]
METHODS = {
    "second": Proration.SECOND,
    "day": Proration.DAY,
    "day_inclusive": Proration.DAY_INCLUSIVE,
    "fixed_days": Proration.FIXED_30,
    "none": Proration.NONE,
    "full": Proration.FULL,
}
# A currency for each number of decimals that examples round to.
CURRENCIES = {0: "JPY", 2: "USD", 3: "KWD", 4: "CLF"}


def rule(inputs: Inputs) -> ProrationRule:
    places = inputs.get("ratio_places")
    method, timezone = METHODS[inputs.get("method", "second")], inputs.get("time_zone", "UTC")
    # Seconds pass at the same pace everywhere: only days need to know where they are.
    nowhere = method is Proration.SECOND and not timezone
    return ProrationRule(
        method,
        "UTC" if nowhere else str(timezone),
        int(inputs.get("fixed_days", 30)),
        None if places is None else int(places),
    )


def start_of(text: str, by: ProrationRule) -> datetime:
    """An instant, or the local midnight at which a date starts."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone(by.timezone))


def end_of(text: str, by: ProrationRule) -> datetime:
    """An end that is no longer inside; a last day that counts ends at the midnight after it."""
    end = start_of(text, by)
    if by.proration is not Proration.DAY_INCLUSIVE:
        return end
    return calendar_cycle(Interval(Unit.DAY), by.timezone).next_after(end)


def date_of(text: str, inputs: Inputs) -> date:
    by = rule(inputs)
    return local_date(start_of(text, by), zone(by.timezone))


def days_of(inputs: Inputs) -> int:
    """The days of the part used, as its method counts them."""
    start, end = date_of(inputs["from"], inputs), date_of(inputs["to"], inputs)
    if inputs["method"] == "fixed_days":
        return fixed_days_between(start, end, int(inputs["fixed_days"]))
    return inclusive_days(start, end, last_day_used=inputs["method"] == "day_inclusive")


def share(inputs: Inputs) -> Fraction:
    """The share that the part used is of its full period, given by its ends or by its days."""
    by = rule(inputs)
    if "period_start" not in inputs:
        of = int(inputs.get("period_days", inputs.get("fixed_days", 30)))
        return share_of_days(days_of(inputs), of, places=by.places)
    start, end = start_of(inputs["from"], by), end_of(inputs["to"], by)
    whole = full_period(inputs, by)
    return by.share(Period(start, end), whole) if start < end else Fraction(0)


def full_period(inputs: Inputs, by: ProrationRule) -> Period:
    return Period(start_of(inputs["period_start"], by), end_of(inputs["period_end"], by))


def ratio(inputs: Inputs) -> Fraction:
    """The same, but a part longer than its period is more than one of it."""
    by = rule(inputs)
    if by.proration not in (Proration.DAY, Proration.DAY_INCLUSIVE) or "period_start" not in inputs:
        return share(inputs)
    whole = full_period(inputs, by)
    days = [local_date(moment, zone(by.timezone)) for moment in (whole.start, whole.end)]
    return ratio_of_days(days_of(inputs), (days[1] - days[0]).days, places=by.places)


def places(inputs: Inputs) -> int:
    return int(inputs.get("places", 2))


def currency(inputs: Inputs) -> str:
    return CURRENCIES[places(inputs)]


def billing_cycles(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    every = Interval.of(inputs["interval"], int(inputs.get("interval_count", 1)))
    parts = BillingDay(int(inputs["billing_day"]), every, places=9).due(
        date.fromisoformat(inputs["start"]),
        end=date.fromisoformat(inputs["end"]) if inputs.get("end") else None,
        by=date.fromisoformat(inputs["target"]),
        billed=TIMINGS[inputs["mode"]],
    )
    return {"cycles": sum((part.share for part in parts), Fraction(0))}


def credit_cap(record: Record) -> Mapping[str, object]:
    potential, billed, credited = (
        Money.of(record.inputs[key], "USD") for key in ("potential", "original", "already_credited")
    )
    return {"credit": capped_credit(potential, billed=billed, credited=credited).major}


def days_fixed(record: Record) -> Mapping[str, object]:
    return {"days": days_of({"method": "fixed_days", **record.inputs})}


def fraction(record: Record) -> Mapping[str, object]:
    return {"fraction": ratio(record.inputs)}


def lago_subscription(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    days = inclusive_days(
        date_of(inputs["from"], inputs),
        date_of(inputs["to"], inputs),
        trial_days=int(inputs.get("trial_days", 0)),
        last_day_used=not inputs.get("last_day_belongs_to_next", False),
    )
    billed = Money.of(inputs["amount_cents"], "JPY")
    return {"amount_cents": billed.times(share_of_days(days, int(inputs["period_days"]))).major}


def lago_termination(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    days = unused_days(
        date_of(inputs["terminated_on"], inputs),
        date_of(inputs["period_to"], inputs),
        day_used=not inputs.get("change_day_belongs_to_next", False),
    )
    credit = credit_unused(
        Money.of(inputs["amount_cents"], "JPY"),
        unused=share_of_days(days, int(inputs["period_days"])),
        tax_percent=Decimal(inputs.get("tax_percent", 0)),
    )
    return {
        "credit_cents": credit.net.major,
        "tax_cents": credit.tax.major,
        "total_cents": credit.total.major,
    }


def minimum_commitment(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    minimum, charged = (Money.of(inputs[key], currency(inputs)) for key in ("minimum", "charged"))
    return {"true_up": minimum_true_up(minimum, charged, share=share(inputs)).major}


def partial_charge(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    amount = prorated(full_price(inputs), share=share(inputs), places=places(inputs))
    return {"amount": amount}


def partial_credit(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    unit, full = currency(inputs), full_price(inputs)
    unused = prorated(full, share=share(inputs), places=places(inputs))
    listed = prorated(full, share=1, places=places(inputs))
    credit = capped_credit(
        Money.of(unused, unit),
        billed=Money.of(inputs.get("cap", listed), unit),
        credited=Money.of(inputs.get("already_credited", "0"), unit),
    )
    return {"amount": -credit.major}


def full_price(line: Inputs) -> Fraction:
    return Fraction(line["price"]) * Fraction(line.get("quantity", 1))


def lines(prices: Sequence[Inputs], discount: Inputs | None, unit: str) -> list[Money]:
    """A plan's lines as they are billed for a full period, after their discount."""
    full = [
        rate(
            PerUnit(Decimal(line["price"])),
            quantity=Decimal(line.get("quantity", 1)),
            currency=unit,
        ).amount
        for line in prices
    ]
    if discount is None:
        return full
    named = [Line(str(i), amount) for i, amount in enumerate(full)]
    (applied,) = apply_discounts(named, [discount_of(discount, unit)], currency=unit)
    off = {line: Money(int(part), unit) for line, part in applied.parts}
    return [line.amount - off.get(line.id, Money.zero(unit)) for line in named]


def discount_of(discount: Inputs, unit: str) -> Discount:
    if discount["type"] == "fixed":
        return Discount("discount", amount=Money.of(discount["value"], unit))
    return Discount("discount", percent=Decimal(discount["value"]))


def plan_change(record: Record) -> Mapping[str, object]:
    inputs, unit = record.inputs, currency(record.inputs)
    part = share(inputs)
    before = inputs.get("already_credited")
    moved: PlanChange = change_plan(
        lines(inputs.get("old") or [], inputs.get("old_discount"), unit),
        lines(inputs.get("new") or [], inputs.get("new_discount"), unit),
        unused=part,
        left=Fraction(1) if inputs.get("new_full") else part,
        credited=Money.of(before, unit) if before else None,
        currency=unit,
    )
    return {
        "credit": moved.credit.major,
        "charge": moved.charge.major,
        "net": moved.net.major,
        "next_invoice_total": moved.next_invoice.major,
    }


def seat_high_water(record: Record) -> Mapping[str, object]:
    seats = PerUnit(Decimal(record.inputs["unit_amount"]))
    steps = [
        rate(seats, quantity=Decimal(quantity), currency="USD")
        for quantity in record.inputs["quantities"]
    ]
    return {"charges": [charge.major for charge in high_water(steps)]}


ADAPTERS: dict[str, Adapter] = {
    "billing_cycles": billing_cycles,
    "credit_cap": credit_cap,
    "days_fixed": days_fixed,
    "fraction": fraction,
    "lago_subscription": lago_subscription,
    "lago_termination": lago_termination,
    "minimum_commitment": minimum_commitment,
    "partial_charge": partial_charge,
    "partial_credit": partial_credit,
    "plan_change": plan_change,
    "seat_high_water": seat_high_water,
}
