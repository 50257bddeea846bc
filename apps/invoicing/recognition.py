"""When what was billed is earned: the schedule of each line, and what is deferred of it.

A line's net amount is earned evenly over the local days of its service, in the zone of its invoice.
A correction, an allowance and a one-time price are earned on one day, and credit that is bought is
not earned at all. What a credit note takes back of a line is no revenue of any day any more; from
its day on the rest is spread as the whole was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

from apps.core import rls
from apps.engine.calendar import zone
from apps.engine.invoice import LineKind
from apps.engine.money import Money
from apps.engine.period import Period
from apps.engine.recognition import Month, Schedule
from apps.invoicing.composition import CREDIT_PURCHASE
from apps.invoicing.models import CreditNote, CreditNoteLine, Invoice, InvoiceLine

DAY = timedelta(days=1)
CHUNK = 200
POSTED = "recognized "


class Dated(Protocol):
    """Something that is issued in a zone and a currency."""

    currency: str
    timezone: str
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class Earning:
    """A line's schedule, with what credit notes took back of it: (local day, minor units)."""

    schedule: Schedule
    taken_back: tuple[tuple[date, int], ...] = ()

    @property
    def net(self) -> int:
        """What is earned in the end, in minor units."""
        return self.schedule.amount.minor - sum(minor for _, minor in self.taken_back)

    def through(self, day: date) -> int:
        """What is earned when the day is over, in minor units."""
        return self._left(day).through(day).minor

    def deferred(self, day: date) -> int:
        """What is billed and not earned when the day is over, in minor units."""
        return self._left(day).deferred(day).minor

    def _left(self, day: date) -> Schedule:
        taken = sum(minor for when, minor in self.taken_back if when <= day)
        whole = self.schedule
        left = Money(whole.amount.minor - taken, whole.amount.currency)
        return Schedule(left, whole.first, whole.last)


def schedule_of(row: Invoice, line: InvoiceLine) -> Schedule | None:
    """Return when a line is earned; None for credit that is bought."""
    if line.kind == CREDIT_PURCHASE:
        return None
    amount = Money(line.amount - line.discount - line.tax_included, row.currency)
    if line.corrects_id is not None:
        return Schedule.on(amount, local_day(row, row.issued_at))
    service = Period(line.during.lower, line.during.upper)
    if line.kind == LineKind.ONE_OFF and line.item_id is not None:
        return Schedule.on(amount, local_day(row, service.start))
    return Schedule.over(amount, service, timezone=row.timezone)


def local_day(row: Dated, at: datetime) -> date:
    """Return the day of an instant in the zone of the document."""
    return at.astimezone(zone(row.timezone)).date()


def not_yet_served(row: Invoice, lines: Iterable[InvoiceLine], at: datetime) -> int:
    """Return how much of a new invoice is for service after the last whole day before `at`."""
    yesterday = local_day(row, at) - DAY
    schedules = (schedule_of(row, line) for line in lines)
    return sum(one.deferred(yesterday).minor for one in schedules if one is not None)


@dataclass(frozen=True, slots=True)
class Billed:
    """An invoice with its lines, the credit notes on it, and what they take back by line."""

    row: Invoice
    lines: Sequence[InvoiceLine]
    notes: Iterable[CreditNote]
    taken_back: Mapping[int, Sequence[CreditNoteLine]]

    @classmethod
    def of(cls, row: Invoice) -> Billed:
        """Read it; prefetch `lines__credit_lines` and `credit_notes`."""
        lines = list(row.lines.all())
        taken_back = {line.pk: list(line.credit_lines.all()) for line in lines}
        return cls(row, lines, row.credit_notes.all(), taken_back)


def earnings(billed: Billed) -> list[Earning]:
    """Return the schedules of the lines with what was taken back."""
    days = {note.pk: local_day(billed.row, note.issued_at) for note in billed.notes}
    found = []
    for line in billed.lines:
        schedule = schedule_of(billed.row, line)
        if schedule is not None:
            parts = billed.taken_back.get(line.pk, ())
            found.append(Earning(schedule, tuple(_taken_back(parts, days))))
    return found


def _taken_back(
    parts: Iterable[CreditNoteLine], days: Mapping[int, date]
) -> Iterable[tuple[date, int]]:
    for part in parts:
        if part.credit_note_id in days:  # one without its note is the books' to name
            yield days[part.credit_note_id], part.amount


def deferred(billed: Billed, day: date) -> int:
    """Return what of an invoice is billed and not earned when the day is over, in minor units."""
    return sum(one.deferred(day) for one in earnings(billed))


def months(first: Month, last: Month) -> Iterable[Month]:
    """Return the months from one to another, both counted."""
    while first <= last:
        yield first
        first = first.following


def end_of(month: Month, timezone: str) -> datetime:
    """Return the last instant of a month in a zone."""
    following = month.following.first
    begins = datetime(following.year, following.month, following.day, tzinfo=zone(timezone))
    return begins - timedelta(microseconds=1)


def kind_of(month: Month) -> str:
    """Return what the ledger calls the movement that earns a month."""
    return f"{POSTED}{month.year:04d}-{month.month:02d}"


def month_of(kind: str) -> Month | None:
    """Return the month that a movement of this kind earns, or None for any other kind."""
    if not kind.startswith(POSTED):
        return None
    year, month = kind.removeprefix(POSTED).split("-")
    return Month(int(year), int(month))


@dataclass(frozen=True, slots=True)
class Earned:
    """A month of one currency: what it earns, and what is deferred when it is over. Minor units."""

    currency: str
    month: Month
    earned: int
    deferred: int


def revenue_schedule(
    first: Month, last: Month, *, organization_id: int | None = None
) -> list[Earned]:
    """Return what the standing invoices earn from one month to another, by currency and month.

    By service, whenever it was billed: usage of a month belongs to that month, although the ledger
    has it on the day of its invoice. Opens its own scopes; holds one chunk of invoices at a time.
    """
    earned: Counter[tuple[str, Month]] = Counter()
    deferred_at: Counter[tuple[str, Month]] = Counter()
    wanted = list(months(first, last))
    for rows in _standing(organization_id):
        for row in rows:
            for one in earnings(Billed.of(row)):
                for month in wanted:
                    key = row.currency, month
                    earned[key] += one.through(month.last) - one.through(month.first - DAY)
                    if row.issued_at < end_of(month, row.timezone):
                        deferred_at[key] += one.deferred(month.last)
    keys = sorted({*earned, *deferred_at})
    return [Earned(*key, earned[key], deferred_at[key]) for key in keys]


def _standing(organization_id: int | None) -> Iterable[list[Invoice]]:
    last = 0
    while True:
        with rls.ops_scope("revenue: schedules"):
            rows = Invoice.objects.filter(pk__gt=last, status__in=("open", "paid", "uncollectible"))
            if organization_id is not None:
                rows = rows.filter(organization_id=organization_id)
            rows = rows.prefetch_related("lines__credit_lines", "credit_notes").order_by("pk")
            found = list(rows[:CHUNK])
        if not found:
            return
        yield found
        last = found[-1].pk
