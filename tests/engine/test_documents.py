"""The tables of docs/algorithms are worked examples: every row is run against the engine."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from apps.engine.aggregation import Aggregation
from apps.engine.billing_day import BillingDay
from apps.engine.calendar import Cycle, Interval, Unit, calendar_cycle, usage_reset
from apps.engine.daycount import BY_THE_SECOND, Proration, ProrationRule
from apps.engine.invoice import Agreement, Item, ItemKind, QuantityStep, Timing, propose
from apps.engine.metering import ByDay, MeteredEvent, Metering, measure
from apps.engine.money import Money, allocate, exponent, round_half_away
from apps.engine.period import Period, iso
from apps.engine.price_rules import Rules, parse_rules
from apps.engine.prices import Flat, PerUnit, Terms, parse_terms
from apps.engine.proration import change_plan, high_water, prorate_quantity_change
from apps.engine.rating import Consumed, Move, Progress, rate

FOLDER = Path(__file__).parents[2] / "docs" / "algorithms"
DOCUMENTS = ["metering.md", "periods.md", "proration.md", "rating.md", "rounding.md"]


class Row(NamedTuple):
    where: str
    header: tuple[str, ...]
    cells: dict[str, str]


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def rows_of(name: str) -> list[Row]:
    rows: list[Row] = []
    header: tuple[str, ...] = ()
    for number, line in enumerate((FOLDER / name).read_text().splitlines(), 1):
        if not line.startswith("|"):
            header = ()
        elif not header:
            header = tuple(cells_of(line))
        elif not line.startswith("|---"):
            cells = dict(zip(header, cells_of(line), strict=True))
            rows.append(Row(f"{name}:{number}", header, cells))
    return rows


ROWS = [row for name in DOCUMENTS for row in rows_of(name)]


def terms_of(text: str) -> Terms:
    """Read `graduated 5: 10 + 100; then 8`, `package 1000: 0.006`, `per_unit 0.05`, `flat 50`.

    What differs from the usual stands behind in brackets; the other models are read likewise.
    """
    text, free = re.subn(r" \(zero is free\)$", "", text)
    text, bounded = re.subn(r" \(bounded\)$", "", text)
    model, _, rest = text.partition(" ")
    if model in SPECIAL:
        return parse_terms({"model": model} | SPECIAL[model](rest))
    tiers = [tier_of(tier) for tier in rest.split("; ")]
    if model == "graduated_percentage":
        tiers = [{k.replace("unit_amount", "rate_percent"): v for k, v in t.items()} for t in tiers]
    flags = {"zero_quantity_flat": not free, "bounded": bool(bounded)}
    return parse_terms({"model": model, "tiers": tiers, **flags})


def package_of(text: str) -> dict[str, Any]:
    text, down = re.subn(r" \(down\)$", "", text)
    size, _, amount = text.partition(": ")
    return {"package_size": size, "unit_amount": amount, "rounding": "down" if down else "up"}


def percentage_of(text: str) -> dict[str, Any]:
    """Read `1.3 + 2, 3 events free, 250 free, at least 1.75, at most 12`."""
    price, *more = text.split(", ")
    share, _, fixed = price.partition(" + ")
    terms: dict[str, Any] = {"rate_percent": share, "fixed_amount": fixed or "0"}
    for said in more:
        if said.endswith(" events free"):
            terms["free_events"] = int(said.removesuffix(" events free"))
        elif said.endswith(" free"):
            terms["free_amount"] = said.removesuffix(" free")
        else:
            bound, _, amount = said.rpartition(" ")
            terms[{"at least": "event_minimum", "at most": "event_maximum"}[bound]] = amount
    return terms


def blocks_of(text: str) -> dict[str, Any]:
    text, volume = re.subn(r" \(volume\)$", "", text)
    tiers = [re.fullmatch(r"(\S+) x (\S+): (\S+)", tier) for tier in text.split("; ")]
    names = ("block_size", "max_blocks", "block_amount")
    found = [dict(zip(names, tier.groups(), strict=True)) for tier in tiers if tier]
    return {"mode": "volume" if volume else "graduated", "tiers": found}


SPECIAL: dict[str, Callable[[str], dict[str, Any]]] = {
    "flat": lambda text: {"amount": text},
    "per_unit": lambda text: {"unit_amount": text},
    "dynamic": lambda text: {"multiplier": text},
    "package": package_of,
    "percentage": percentage_of,
    "blocks": blocks_of,
}


def rules_of(text: str) -> Rules:
    """Read `discount 50, maximum 100`, `÷ 1000 up`, `commitment 10 x 2, filled up`."""
    raw: dict[str, Any] = {}
    for said in text.split(", "):
        name, _, value = said.partition(" ")
        if name in ("÷", "×"):
            factor, _, way = value.partition(" ")
            operation = "divide" if name == "÷" else "multiply"
            raw["conversion"] = {
                "factor": factor,
                "operation": operation,
                "rounding": way or "none",
            }
        elif name == "commitment":
            amount, _, factor = value.partition(" x ")
            raw["commitment"] = {"amount": amount, "overage_factor": factor}
        elif said == "filled up":
            raw["commitment"]["true_up"] = True
        elif name != "none":
            raw["discount_percent" if name == "discount" else f"{name}_amount"] = value
    return parse_rules(raw)


def tier_of(text: str) -> dict[str, Any]:
    bound, _, price = text.partition(": ") if ": " in text else text.partition(" ")
    unit, _, flat = price.partition(" + ")
    return {
        "up_to": None if bound == "then" else bound,
        "unit_amount": unit,
        "flat_amount": flat or "0",
    }


def money_of(text: str) -> Money:
    amount, currency = text.split(" ")
    return Money.of(amount, currency)


def rounding(row: dict[str, str]) -> None:
    assert round_half_away(Fraction(row["exact minor units"])) == int(row["rounded"])


def scaling(row: dict[str, str]) -> None:
    assert money_of(row["amount"]).times(Fraction(row["times"])) == money_of(row["result"])


def currencies(row: dict[str, str]) -> None:
    assert exponent(row["currency"]) == int(row["decimals"])
    assert str(Money(1, row["currency"])) == row["one minor unit"]


def splitting(row: dict[str, str]) -> None:
    weights = [Fraction(weight) for weight in row["weights"].split(", ")]
    assert allocate(int(row["total"]), weights) == [int(part) for part in row["parts"].split(", ")]


def models(row: dict[str, str]) -> None:
    example = {
        "package": "package 1: 1",
        "graduated": "graduated then 1",
        "graduated_percentage": "graduated_percentage then 1",
        "volume": "volume then 1",
        "blocks": "blocks 1 x 1: 1",
    }
    if row["model"] == "capacity":
        tiers = [{"amount": "1", "limits": {"seats": "1"}}]
        assert parse_terms({"model": "capacity", "tiers": tiers}).model == row["model"]
        return
    terms = terms_of(example.get(row["model"], f"{row['model']} 1"))
    assert terms.model == row["model"]


def prices(row: dict[str, str]) -> None:
    expected = money_of(row["amount"])
    rated = rate(
        terms_of(row["terms"]),
        quantity=Decimal(row["quantity"]),
        included=Decimal(row["included"]),
        currency=expected.currency,
    )
    assert rated.amount == expected


def events(row: dict[str, str]) -> None:
    expected = money_of(row["amount"])
    carried = Consumed(events=tuple(Decimal(amount) for amount in row["events"].split(", ")))
    terms = terms_of(row["terms"])
    assert rate(terms, quantity=carried, currency=expected.currency).amount == expected


def rules(row: dict[str, str]) -> None:
    expected = money_of(row["amount"])
    before = Decimal(row["before"])
    rated = rate(
        terms_of(row["terms"]),
        quantity=Decimal(row["quantity"]),
        currency=expected.currency,
        rules=rules_of(row["rules"]),
        progress=Progress(Consumed(before) if before else None, billed=Decimal(row["billed"])),
    )
    assert rated.amount == expected


def levels(row: dict[str, str]) -> None:
    expected = money_of(row["amount"])
    found = re.findall(r"(\S+) \((\S+)\)", row["moves"])
    moves = tuple(Move(Decimal(units), Decimal(prorated)) for units, prorated in found)
    terms, carried = terms_of(row["terms"]), Consumed(moves=moves)
    assert rate(terms, quantity=carried, currency=expected.currency).amount == expected


MARCH = Period(datetime(2023, 3, 1, tzinfo=UTC), datetime(2023, 4, 1, tzinfo=UTC))


def metered(row: dict[str, str]) -> None:
    meter = Metering(
        Aggregation(row["aggregation"]),
        "value",
        carries_over=row["carries over"] == "yes",
        by_day=ByDay() if "days counted" in row else None,
    )
    found = []
    for event in row["events"].split(", "):
        day, _, value = event.partition(": ")
        data = {"value": value}
        if re.fullmatch(r"-[a-z]", value):
            data = {"value": value[1:], "operation_type": "remove"}
        found.append(MeteredEvent(MARCH.start + timedelta(days=int(day) - 1), data))
    expected = row.get("quantity") or row["days counted"]
    assert measure(meter, found, MARCH).value == Fraction(expected)


def boundaries(row: dict[str, str]) -> None:
    count, unit = row["interval"].split(" ")
    anchor = datetime.fromisoformat(row["anchor"])
    cycle = Cycle(anchor, Interval(Unit(unit), int(count)), row["zone"])
    assert [iso(cycle.boundary(k)) for k in (1, 2, 3)] == row["next three boundaries"].split(", ")


def interval_of(text: str) -> Interval:
    count, name = text.split(" ")
    return Interval.of(name, int(count))


def calendar_periods(row: dict[str, str]) -> None:
    grid = calendar_cycle(interval_of(row["every"]), row["zone"])
    period = grid.period(grid.index_at(datetime.fromisoformat(row["moment"])))
    assert f"{iso(period.start)} to {iso(period.end)}" == row["calendar period"]


def resets(row: dict[str, str]) -> None:
    anchor = datetime.fromisoformat(row["anchor"])
    cycle = Cycle(anchor, interval_of(row["every"]), row["zone"])
    reset = usage_reset(cycle, datetime.fromisoformat(row["used at"]), since=anchor)
    assert iso(reset) == row["starts anew"]


def moments(row: dict[str, str], text: str) -> list[datetime]:
    zone = ZoneInfo(row["zone"])
    return [datetime.fromisoformat(part).replace(tzinfo=zone) for part in text.split(" to ")]


def shares(row: dict[str, str]) -> None:
    (moment,) = moments(row, row["moment"])
    whole = Period(*moments(row, row["period"]))
    assert whole.share_after(moment) == Fraction(row["share after"])


def counted_shares(row: dict[str, str]) -> None:
    rule = ProrationRule(Proration(row["proration"]), row["zone"])
    part, whole = Period(*moments(row, row["part"])), Period(*moments(row, row["period"]))
    assert rule.share(part, whole) == Fraction(row["share"])


JUNE = Period(datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))


def plan_changes(row: dict[str, str]) -> None:
    left = BY_THE_SECOND.share_after(datetime.fromisoformat(row["at"]), JUNE)
    moved = change_plan(
        [Money.of(row["billed"], "USD")],
        [Money.of(row["new price"], "USD")],
        unused=left,
        left=Fraction(1) if row["new cycle"] == "yes" else left,
        credited=Money.of(row["credited before"], "USD"),
        currency="USD",
    )
    assert moved.credit == Money.of(row["credit"], "USD")
    assert moved.charge == Money.of(row["charge"], "USD")


def high_waters(row: dict[str, str]) -> None:
    steps = [
        rate(PerUnit(Decimal("10.00")), quantity=Decimal(seats), currency="USD")
        for seats in row["seats"].split(", ")
    ]
    assert ", ".join(str(charge.major) for charge in high_water(steps)) == row["charges"]


def billing_days(row: dict[str, str]) -> None:
    parts = BillingDay(int(row["day"]), interval_of(row["every"])).due(
        date.fromisoformat(row["start"]),
        end=None if row["end"] == "none" else date.fromisoformat(row["end"]),
        by=date.fromisoformat(row["by"]),
        billed=Timing(row["billed"]),
    )
    expected = [] if row["parts"] == "none" else row["parts"].split(", ")
    assert [part.share for part in parts] == [Fraction(share) for share in expected]


def quantity_changes(row: dict[str, str]) -> None:
    expected = money_of(row["amount"])
    moved = prorate_quantity_change(
        terms_of(row["terms"]),
        included=Decimal(row["included"]),
        old=Decimal(row["old"]),
        new=Decimal(row["new"]),
        period=JUNE,
        at=datetime.fromisoformat(row["at"]),
        currency=expected.currency,
    )
    assert moved.amount == expected


def day_of(text: str) -> datetime:
    return datetime.fromisoformat(f"2023-{text}T00:00:00Z")


def steps_of(text: str, start: datetime) -> tuple[QuantityStep, ...]:
    parts = [part.partition(" from ") for part in text.split(", ")]
    return tuple(
        QuantityStep(i, day_of(day) if day else start, Decimal(quantity))
        for i, (quantity, _, day) in enumerate(parts)
    )


def item_of(row: dict[str, str]) -> Item:
    start, _, end = row["during"].removesuffix(" on").partition(" to ")
    terms = terms_of(row["terms"])
    flat = isinstance(terms, Flat)
    return Item(
        1,
        "item",
        ItemKind.FLAT if flat else ItemKind.LICENSED,
        Timing(row["timing"]),
        terms,
        (day_of(start), day_of(end) if end else None),
        included=Decimal(row["included"]),
        steps=() if flat else steps_of(row["quantity"], day_of(start)),
    )


def invoice_lines(row: dict[str, str]) -> None:
    cycle = Cycle(day_of("11-01"), Interval(Unit.MONTH), "UTC")
    lines = propose(Agreement(cycle, "USD", (item_of(row),)), 1, {})
    written = ", ".join(f"{line.reason.value} {line.amount.major}" for line in lines)
    assert (written or "none") == row["lines"]


Runner = Callable[[dict[str, str]], None]
RUNNERS: dict[tuple[str, ...], Runner] = {
    ("exact minor units", "rounded"): rounding,
    ("amount", "times", "result"): scaling,
    ("currency", "decimals", "one minor unit"): currencies,
    ("total", "weights", "parts"): splitting,
    ("model", "the billable units cost"): models,
    ("terms", "quantity", "included", "amount"): prices,
    ("terms", "events", "amount"): events,
    ("terms", "rules", "quantity", "before", "billed", "amount"): rules,
    ("terms", "moves", "amount"): levels,
    ("aggregation", "carries over", "events", "quantity"): metered,
    ("aggregation", "carries over", "events", "days counted"): metered,
    ("anchor", "zone", "interval", "next three boundaries"): boundaries,
    ("moment", "zone", "every", "calendar period"): calendar_periods,
    ("anchor", "zone", "every", "used at", "starts anew"): resets,
    ("period", "zone", "moment", "share after"): shares,
    ("proration", "zone", "period", "part", "share"): counted_shares,
    ("billed", "credited before", "new price", "at", "new cycle", "credit", "charge"): plan_changes,
    ("seats", "charges"): high_waters,
    ("start", "end", "billed", "by", "day", "every", "parts"): billing_days,
    ("terms", "included", "old", "new", "at", "amount"): quantity_changes,
    ("timing", "terms", "included", "during", "quantity", "lines"): invoice_lines,
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.where)
def test_every_row_of_the_documents_holds(row: Row) -> None:
    RUNNERS[row.header](row.cells)


def test_every_kind_of_table_is_there_and_none_is_empty() -> None:
    assert {row.header for row in ROWS} == set(RUNNERS)
    assert {row.where.partition(":")[0] for row in ROWS} == set(DOCUMENTS)
