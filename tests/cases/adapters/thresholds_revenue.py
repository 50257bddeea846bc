"""Thresholds of progressive billing and recognized revenue, published by others."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from apps.engine.money import Money
from apps.engine.recognition import Month, Schedule
from apps.engine.thresholds import (
    LifetimeUsage,
    Thresholds,
    crossed,
    progress,
    progressive_credit,
)
from tests.cases.adapters.coupons_taxes import CENTS, currency_of, money
from tests.cases.records import Adapter, Record, Unsupported

OPTIONS: frozenset[str] = frozenset()


def _thresholds(inputs: Mapping[str, Any]) -> Thresholds:
    fixed = sorted(money(amount, CENTS) for amount in inputs.get("fixed") or ())
    recurring = inputs.get("recurring")
    return Thresholds(CENTS, tuple(fixed), money(recurring, CENTS) if recurring else None)


def thresholds_passed(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    usage = LifetimeUsage(
        *(
            money(inputs.get(key) or 0, CENTS)
            for key in ("invoiced", "current", "historical", "progressively_billed")
        )
    )
    return {"passed": [t.amount.minor for t in crossed(_thresholds(inputs), usage)]}


def threshold_progress(record: Record) -> Mapping[str, object]:
    found = progress(_thresholds(record.inputs), money(record.inputs["usage"], CENTS))
    return {
        "last": found.last and found.last.minor,
        "next": found.next and found.next.minor,
        "ratio": found.ratio,
    }


def progressive(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    lines = {str(line["id"]): money(line["amount"], CENTS) for line in inputs["lines"]}
    billed = [
        {str(line): money(amount, CENTS) for line, amount in invoice.items()}
        for invoice in inputs["progressive_invoices"]
    ]
    found = progressive_credit(lines, billed, currency=CENTS)
    parts = dict(found.parts)
    by_line = {line: parts.get(line, Money.zero(CENTS)).minor for line in lines}
    return {
        "credit": found.credit.minor,
        "line_credits": list(by_line.values()),
        "lines": by_line,
        "left_over": found.left_over.minor,
        "credit_note": found.left_over.minor,
    }


def recognition(record: Record) -> Mapping[str, object]:
    inputs = record.inputs
    currency = currency_of({"currency": "USD"} | dict(inputs))
    if "parts" in inputs:
        parts = [money(part, currency) for part in inputs["parts"]]
        return {"recognized": Money.sum(parts, currency).major}
    return _recognized_daily(inputs, currency)


def _recognized_daily(inputs: Mapping[str, Any], currency: str) -> Mapping[str, object]:
    first = _day(inputs, "from", "service_from", "service_start", "period_start", "start")
    last = _day(inputs, "to", "service_to", "service_end", "period_end", "end")
    if first is None or last is None:
        raise Unsupported("no service period")
    schedule = Schedule(money(inputs["amount"], currency), first, last)
    until = _day(inputs, "until", "through", "as_of", "at", "on", "date", "day") or last
    earned = schedule.through(until)
    if "month" in inputs:
        month = Month.of(date.fromisoformat(f"{inputs['month'][:7]}-01"))
        earned, until = schedule.between(month.first, month.last), month.last
    by_month = schedule.by_month()
    return {
        "days": schedule.days,
        "daily": schedule.daily.major,
        "recognized": earned.major,
        "recognized_to_date": schedule.through(until).major,
        "deferred": schedule.deferred(until).major,
        "months": [amount.major for amount in by_month.values()],
        "by_month": {f"{m.year}-{m.month:02}": amount.major for m, amount in by_month.items()},
        "total": schedule.amount.major,
    }


def _day(inputs: Mapping[str, Any], *keys: str) -> date | None:
    return next((date.fromisoformat(str(inputs[key])[:10]) for key in keys if key in inputs), None)


ADAPTERS: Mapping[str, Adapter] = {
    "progressive_credit": progressive,
    "recognition": recognition,
    "threshold_progress": threshold_progress,
    "thresholds_passed": thresholds_passed,
}
