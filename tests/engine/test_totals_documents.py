"""The tables of docs/algorithms on totals and revenue: every row is run against the engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import pytest

from apps.engine.credits import Creditable, CreditGrant, NoteBalance, credit_note, in_order
from apps.engine.discounts import Discount, apply_discounts
from apps.engine.lines import EVERYTHING, Line, Scope
from apps.engine.money import Money
from apps.engine.period import Period
from apps.engine.recognition import Schedule
from apps.engine.settlement import settle
from apps.engine.tax import (
    Inclusive,
    Taxable,
    TaxPolicy,
    TaxRate,
    TaxRounding,
    Treatment,
    tax_lines,
)
from apps.engine.thresholds import (
    LifetimeUsage,
    Thresholds,
    crossed,
    progress,
    progressive_credit,
)
from tests.engine.test_documents import Row, rows_of

DOCUMENTS = ["discounts.md", "tax.md", "credits.md", "settlement.md", "thresholds.md", "revenue.md"]
ROWS = [row for name in DOCUMENTS for row in rows_of(name)]


def usd(text: str) -> Money:
    return Money.of(text, "USD")


def cents(text: str) -> Money:
    return Money(int(text), "USD")


def parts(text: str, separator: str = ", ") -> list[str]:
    return [] if text == "none" else text.split(separator)


def total(amounts: list[Money]) -> Money:
    return Money.sum(amounts, "USD")


def spelled(amounts: list[Money]) -> str:
    return ", ".join(str(amount.major) for amount in amounts) or "none"


def lines_of(text: str, rates: tuple[TaxRate, ...] = ()) -> list[Line]:
    """Read `a 100.00, b -20.00`."""
    named = [part.split(" ") for part in parts(text)]
    return [Line(name, usd(amount), rates=rates) for name, amount in named]


def discounts_of(text: str) -> list[Discount]:
    """Read `10 %`, `10.00 of a`, `50 % up to 12.34`."""
    return [discount_of(part, f"d{i}") for i, part in enumerate(parts(text))]


def discount_of(text: str, name: str) -> Discount:
    found = re.fullmatch(r"([0-9.]+)( %)?(?: of (\w+))?(?: up to ([0-9.]+))?", text)
    assert found, text
    value, percent, line, cap = found.groups()
    return Discount(
        name,
        percent=Decimal(value) if percent else None,
        amount=None if percent else usd(value),
        scope=Scope.of(lines=[line]) if line else EVERYTHING,
        cap=usd(cap) if cap else None,
    )


def rates_of(text: str, *, inclusive: bool = False) -> tuple[TaxRate, ...]:
    place = "inside" if inclusive else "on top"
    return tuple(
        TaxRate(f"{percent} {place}", Decimal(percent), inclusive=inclusive)
        for percent in parts(text)
    )


def discounting(row: dict[str, str]) -> None:
    lines = lines_of(row["lines"])
    turns = apply_discounts(lines, discounts_of(row["discounts"]), currency="USD")
    assert spelled([turn.amount for turn in turns]) == row["taken"]
    left = {line.id: line.amount for line in lines}
    for turn in turns:
        for line, part in turn.parts:
            left[line] -= Money(int(part), "USD")
    assert ", ".join(f"{line} {amount.major}" for line, amount in left.items()) == row["left"]


def taxing(row: dict[str, str]) -> None:
    rates = rates_of(row["rates"])
    found = tax_lines(
        [Taxable(str(i), Fraction(usd(a).minor), rates) for i, a in enumerate(parts(row["lines"]))],
        currency="USD",
        policy=TaxPolicy(TaxRounding(row["rounded"])),
    )
    assert spelled([line.tax for line in found.lines]) == row["tax by line"]
    assert found.tax == usd(row["tax"])


def tax_inside(row: dict[str, str]) -> None:
    rates = rates_of(row["rates inside"], inclusive=True)
    gross = usd(row["gross"])
    found = tax_lines(
        [Taxable("a", Fraction(gross.minor), rates)],
        currency="USD",
        policy=TaxPolicy(inclusive=Inclusive(row["first"])),
    )
    assert found.tax == usd(row["tax"])
    assert gross - found.tax == usd(row["net"])


def treating(row: dict[str, str]) -> None:
    rates = rates_of(row["rates inside"], inclusive=True) + rates_of(row["rates on top"])
    line = Line("a", usd(row["gross"]), rates=rates, treatment=Treatment(row["treatment"]))
    totals = settle([line], currency="USD").totals
    assert (totals.tax, totals.total) == (usd(row["tax"]), usd(row["total"]))


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def ordering(row: dict[str, str]) -> None:
    grants = []
    for text in parts(row["grants"]):
        found = re.fullmatch(r"(\w+) (\d+)(?: until (\S+))?(?: since (\S+))?", text)
        assert found, text
        name, priority, until, since = found.groups()
        grants.append(CreditGrant(name, usd("1"), int(priority), moment(until), moment(since)))
    assert ", ".join(grant.id for grant in in_order(grants)) == row["order"]


def grant_of(text: str, name: str) -> CreditGrant:
    amount, _, kind = text.partition(" for ")
    return CreditGrant(name, usd(amount), scope=Scope.of(kinds=[kind]) if kind else EVERYTHING)


def notes_of(text: str) -> list[NoteBalance]:
    return [NoteBalance(f"n{i}", usd(note)) for i, note in enumerate(parts(text))]


def paying(row: dict[str, str]) -> None:
    named = [part.split(" ") for part in parts(row["lines"])]
    settled = settle(
        [Line(str(i), usd(amount), kind=kind) for i, (kind, amount) in enumerate(named)],
        currency="USD",
        credit_notes=notes_of(row["credit notes"]),
        grants=[grant_of(text, f"g{i}") for i, text in enumerate(parts(row["grants"]))],
    )
    assert spelled([drawn.amount for drawn in settled.credit_notes]) == row["notes used"]
    assert spelled([spent.amount for spent in settled.grants]) == row["credit used"]
    assert settled.totals.amount_due == usd(row["due"])


def taking_back(row: dict[str, str]) -> None:
    discount = Fraction(usd(row["discount"]).minor)
    before = usd(row["credited before"])
    line = Creditable("a", usd(row["line"]), discount, usd(row["tax"]), usd("0"), before)
    note = credit_note([line], {"a": usd(row["credit"])}, currency="USD")
    assert spelled([note.net, note.tax, note.total]) == ", ".join(
        row[key] for key in ("net", "tax back", "total")
    )


def settling(row: dict[str, str]) -> None:
    prepaid = [
        CreditGrant(f"p{i}", usd(amount), before_tax=True)
        for i, amount in enumerate(parts(row["prepaid"]))
    ]
    settled = settle(
        lines_of(row["lines"], rates_of(row["tax on top"])),
        currency="USD",
        discounts=discounts_of(row["discounts"]),
        credit_notes=notes_of(row["credit notes"]),
        grants=prepaid + [grant_of(g, f"g{i}") for i, g in enumerate(parts(row["grants"]))],
        balance=usd(row["balance"]),
    )
    totals = settled.totals
    found = [totals.net, totals.tax, totals.total, totals.amount_due, settled.balance_after]
    columns = ("net", "tax", "total", "due", "balance after")
    assert spelled(found) == ", ".join(row[column] for column in columns)


def thresholds_of(row: dict[str, str]) -> Thresholds:
    recurring = None if row["recurring"] == "none" else cents(row["recurring"])
    return Thresholds("USD", tuple(map(cents, parts(row["fixed"]))), recurring)


def passing(row: dict[str, str]) -> None:
    # Earlier usage that lies beyond the present one was billed progressively.
    before, now = int(row["before"]), int(row["now"])
    zero = cents("0")
    invoiced = min(before, now)
    usage = LifetimeUsage(
        Money(invoiced, "USD"),
        Money(now - invoiced, "USD"),
        zero,
        Money(before - invoiced, "USD"),
    )
    passed = crossed(thresholds_of(row), usage)
    assert (", ".join(str(t.amount.minor) for t in passed) or "none") == row["passed"]


def progressing(row: dict[str, str]) -> None:
    found = progress(thresholds_of(row), cents(row["usage"]))
    last, following = (None if row[key] == "none" else cents(row[key]) for key in ("last", "next"))
    assert (found.last, found.next) == (last, following)
    assert found.ratio == (None if row["way made"] == "none" else Fraction(row["way made"]))


def amounts_of(text: str) -> dict[str, Money]:
    return {name: cents(amount) for name, amount in (part.split(" ") for part in parts(text))}


def crediting(row: dict[str, str]) -> None:
    billed = [amounts_of(invoice) for invoice in parts(row["progressive invoices"], "; ")]
    found = progressive_credit(amounts_of(row["lines"]), billed, currency="USD")
    assert (found.credit, found.left_over) == (cents(row["credit"]), cents(row["left over"]))


def schedule_of(row: dict[str, str]) -> Schedule:
    first, last = (date.fromisoformat(row[key]) for key in ("from", "to"))
    return Schedule(usd(row["amount"]), first, last)


def earning(row: dict[str, str]) -> None:
    schedule, day = schedule_of(row), date.fromisoformat(row["day"])
    assert schedule.through(day) == usd(row["earned by then"])
    assert schedule.deferred(day) == usd(row["deferred"])


def months(row: dict[str, str]) -> None:
    found = list(schedule_of(row).by_month().values())
    assert spelled(found) == row["months"]
    assert total(found) == usd(row["amount"])


def local_months(row: dict[str, str]) -> None:
    start, end = (
        datetime.fromisoformat(text).replace(tzinfo=UTC)
        for text in row["period (UTC)"].split(" to ")
    )
    schedule = Schedule.over(usd(row["amount"]), Period(start, end), timezone=row["zone"])
    found = schedule.by_month().items()
    written = (f"{month.year}-{month.month:02} {amount.major}" for month, amount in found)
    assert ", ".join(written) == row["months"]


RUNNERS: dict[tuple[str, ...], Callable[[dict[str, str]], None]] = {
    ("lines", "discounts", "taken", "left"): discounting,
    ("lines", "rates", "rounded", "tax by line", "tax"): taxing,
    ("gross", "rates inside", "first", "net", "tax"): tax_inside,
    ("gross", "rates inside", "rates on top", "treatment", "tax", "total"): treating,
    ("grants", "order"): ordering,
    ("lines", "credit notes", "grants", "notes used", "credit used", "due"): paying,
    (
        "line", "discount", "tax", "credited before", "credit", "net", "tax back", "total",
    ): taking_back,
    (
        "lines", "discounts", "tax on top", "prepaid", "credit notes", "grants", "balance", "net",
        "tax", "total", "due", "balance after",
    ): settling,
    ("fixed", "recurring", "before", "now", "passed"): passing,
    ("fixed", "recurring", "usage", "last", "next", "way made"): progressing,
    ("lines", "progressive invoices", "credit", "left over"): crediting,
    ("amount", "from", "to", "day", "earned by then", "deferred"): earning,
    ("amount", "from", "to", "months"): months,
    ("amount", "period (UTC)", "zone", "months"): local_months,
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.where)
def test_every_row_of_the_documents_holds(row: Row) -> None:
    RUNNERS[row.header](row.cells)


def test_every_kind_of_table_is_there_and_none_is_empty() -> None:
    assert {row.header for row in ROWS} == set(RUNNERS)
    assert {row.where.partition(":")[0] for row in ROWS} == set(DOCUMENTS)
