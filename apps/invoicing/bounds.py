"""What no invoice does without somebody's approval: the bounds that hold a draft.

A mistake in a price, a meter or an import shows as an amount or a number of items that the customer
never had, or as usage that is in doubt. Such a draft waits, with the reason, instead of going out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

from django.db.models import F, Window
from django.db.models.functions import RowNumber

from apps.engine.money import Money
from apps.invoicing.models import Invoice, InvoiceLine
from apps.usage import doubts
from apps.usage.doubts import Doubt

COMPARABLE = 3
LOOK_BACK = 12
DAYS_A_MONTH = 31
LATEST = Window(
    RowNumber(),
    partition_by=[F("organization_id"), F("currency")],
    order_by=[F("issued_at").desc(), F("id").desc()],
)


@dataclass(frozen=True, slots=True)
class Comparable:
    """What an organization was billed before, in one currency: the latest sums, minor units."""

    sums: tuple[int, ...] = ()

    def usual(self) -> Decimal | None:
        """Return the median, or None where there is too little to compare with."""
        return Decimal(median(self.sums)) if len(self.sums) >= COMPARABLE else None


def reasons_to_hold(
    rows: Sequence[tuple[Invoice, Sequence[InvoiceLine]]], *, at: datetime
) -> list[str]:
    """Return why each draft must wait, or an empty string, in their order."""
    history = _history([row for row, _ in rows])
    in_doubt = doubts.standing({row.organization_id for row, _ in rows})
    return [
        _reviewed(row)
        or _doubtful(lines, in_doubt.get(row.organization_id, ()))
        or _too_much(row, history[row.organization_id, row.currency])
        or _too_many(row, lines)
        or _too_far(row, at)
        for row, lines in rows
    ]


def _reviewed(row: Invoice) -> str:
    return "Every invoice of this customer is reviewed." if row.organization.invoice_hold else ""


def _doubtful(lines: Sequence[InvoiceLine], found: Sequence[Doubt]) -> str:
    """Return why usage that is billed may not be so, if it may not."""
    for line in lines if found else ():
        meter = line.explanation.get("meter", "")
        for doubt in found:
            if doubt.touches(meter, line.during.lower, line.during.upper):
                return doubt.reason
    return ""


def _too_much(row: Invoice, before: Comparable) -> str:
    factor, usual = row.billing_entity.hold_factor, before.usual()
    if factor is None or not usual or row.subtotal <= usual * factor:
        return ""
    was = Money(int(usual), row.currency)
    return (
        f"The amount is more than {factor.normalize():f} times what this customer usually is "
        f"billed ({was})."
    )


def _too_many(row: Invoice, lines: Sequence[InvoiceLine]) -> str:
    limit = row.billing_entity.max_items_per_day
    if len(lines) <= limit:
        return ""
    a_day = Counter(line.during.lower.date() for line in lines if line.kind != "arrears")
    day, found = a_day.most_common(1)[0] if a_day else (None, 0)
    return (
        f"{found} items start on {day}; more than {limit} a day are reviewed."
        if found > limit
        else ""
    )


def _too_far(row: Invoice, at: datetime) -> str:
    months = row.billing_entity.max_months_ahead
    last = max(at, row.issued_at) + timedelta(days=DAYS_A_MONTH * months)
    if row.period.upper <= last:
        return ""
    return f"It bills until {row.period.upper:%Y-%m-%d}, more than {months} months ahead."


def _history(rows: Sequence[Invoice]) -> Mapping[tuple[int, str], Comparable]:
    """Read the latest sums of the organizations' recurring invoices, in one statement."""
    found: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    past = (
        Invoice.objects.filter(
            organization_id__among={row.organization_id for row in rows},
            kind=Invoice.Kind.RECURRING,
            subtotal__gt=0,
        )
        .exclude(status__in=[Invoice.Status.DRAFT, Invoice.Status.VOID])
        .annotate(back=LATEST)
        .filter(back__lte=LOOK_BACK)
        .values_list("organization_id", "currency", "subtotal")
    )
    for organization_id, currency, subtotal in past:
        found[organization_id, currency].append(subtotal)
    known = {key: Comparable(tuple(sums)) for key, sums in found.items()}
    return defaultdict(Comparable, known)
