"""`manage.py plan_diff`: who would pay more, and who less, under another version."""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.analytics.backtest import Compared, Comparison, NotCompared, Row, compare_customers
from apps.backoffice import versions
from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, decimal, now
from apps.backoffice.spans import earlier, span
from apps.core import rls
from apps.engine.calendar import Interval, Unit
from apps.engine.money import Money, round_half_away
from apps.engine.period import Period, iso
from apps.plans.selectors import VersionTerms
from apps.tenants import selectors as tenants

FEW = 50
QUARTER = Interval(Unit.DAY, 90)
NAMING = 500
COLUMNS = ("customer", "subscription", "plan_version", "currency", "periods", "old", "new",
           "change", "percent", "monthly_change", "note")  # fmt: skip


@dataclass
class Sums:
    """The sums over everybody; by currency, in minor units."""

    winners: int = 0
    losers: int = 0
    unchanged: int = 0
    without_period: int = 0
    refused: int = 0
    too_much: int = 0
    old: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    monthly: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, most: Fraction | None) -> None:
        """Count a customer."""
        if isinstance(row, NotCompared):
            self.refused += row.refused
            self.without_period += not row.refused
            return
        self.winners += row.change < 0
        self.losers += row.change > 0
        self.unchanged += row.change == 0
        self.too_much += most is not None and row.rises_above(most)
        self.old[row.currency] += row.old
        self.new[row.currency] += row.new
        self.monthly[row.currency] += row.monthly


class Command(BaseCommand):
    """Bill every customer of a plan again, in memory, under two versions."""

    help = (
        "Compare what every customer of a plan paid for the complete periods of the window with"
        " what they would have paid under another version, on their real usage, quantities, add-ons"
        " and discounts; before taxes and credit. Writes nothing. Exit code 1 when somebody would"
        " pay more than --max-increase above today, or cannot have the other version."
    )
    examples = (
        "  manage.py plan_diff gateway new-prices.yaml --since 90d --max-increase 10%\n"
        "  manage.py plan_diff gateway@1 gateway@2 --since 6m --format csv"
    )
    formats = ("table", "json", "csv")

    def arguments(self, parser: CommandParser) -> None:
        """Take the two versions, the window and the limit."""
        parser.add_argument("old", metavar="A", help=f"{versions.HOW}; a code means all versions")
        parser.add_argument(
            "new", metavar="B", help=f"{versions.HOW}; or a catalogue file, FILE.yaml[:CODE]"
        )
        parser.add_argument(
            "--since", type=span, default=QUARTER, metavar="SPAN", help="default: 90d"
        )
        parser.add_argument("--max-increase", type=_share, metavar="PERCENT", help="such as 10%%")
        for name in ("json", "csv"):
            parser.add_argument(
                f"--{name}",
                action="store_const",
                const=name,
                dest="format",
                default=argparse.SUPPRESS,
                help=f"the same as --format {name}",
            )

    def run(self, **options: Any) -> None:
        """Compare, print customer by customer, and tell with the exit code what was found."""
        at = now()
        window = Period(earlier(at, options["since"]), at)
        with rls.ops_scope("plan_diff: find the versions"):
            old = _old(options["old"])
            new = versions.find_or_read(options["new"], code=old.plan_code)
        chosen = old.version_id if versions.names_a_version(options["old"]) else None
        asked = Comparison(old.plan_id, chosen, new, window)
        sums, most = Sums(), options["max_increase"]
        with self.progress("Customers") as step:
            rows = _counted(_named(compare_customers(asked, step=step)), sums, most)
            self._print(rows, sums, window)
        self._tell(sums)
        if sums.refused or sums.too_much:
            sys.exit(1)

    def _print(self, rows: Iterator[tuple[str, Row]], sums: Sums, window: Period) -> None:
        if self.output_format == "csv":
            writer = csv.writer(self.stdout, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(_cells(*row) for row in rows)
        elif self.as_json:
            customers = [_json(*row) for row in rows]
            self.print_json(
                {"window": window.as_dict(), "customers": customers, **_sums_json(sums)}
            )
        else:
            self._print_table(rows)

    def _print_table(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Print those whose amounts change most; all of them are in the CSV."""
        found = sorted(rows, key=lambda row: -_weight(row[1]))
        shown = [_shown(*row) for row in found[:FEW]]
        if shown:
            heads = ["Customer", ">Version", ">Periods", ">Old", ">New", ">Change", ">%", "Note"]
            self.print_table(heads, shown)
        if len(found) > FEW:
            self.stdout.write(f"… and {len(found) - FEW:,} more; --format csv has all of them.")

    def _tell(self, sums: Sums) -> None:
        self.note(
            f"{sums.losers} would pay more, {sums.winners} less, {sums.unchanged} the same;"
            f" {sums.without_period} had no complete period."
        )
        for code in sorted(sums.old):
            old, new = sums.old[code], sums.new[code]
            self.note(
                f"{amount(old, code)} becomes {amount(new, code)}, {_signed(new - old, code)};"
                f" MRR {_signed(sums.monthly[code], code)}."
            )
        if sums.refused:
            self.note(f"{sums.refused} cannot have the other version; see the notes.")
        if sums.too_much:
            self.note(f"{sums.too_much} would pay more than the increase allowed.")


def _share(text: str) -> Fraction:
    percent = decimal(text.strip().removesuffix("%"))
    if percent < 0:
        raise argparse.ArgumentTypeError("An increase is not below 0%.")
    return Fraction(percent) / 100


def _old(reference: str) -> VersionTerms:
    if reference.endswith(versions.FILE_ENDINGS):
        raise CommandError("A file has no customers; A is a plan or a version that is sold.")
    return versions.find(reference)


def _named(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Yield each row with its customer's slug, found for many at a time."""
    waiting: list[Row] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) >= NAMING:
            yield from _with_slugs(waiting)
            waiting = []
    yield from _with_slugs(waiting)


def _with_slugs(rows: list[Row]) -> Iterator[tuple[str, Row]]:
    with rls.ops_scope("plan_diff: name the customers"):
        known = tenants.organizations({row.organization_id for row in rows})
    for row in rows:
        yield known[row.organization_id].slug, row


def _counted(
    rows: Iterable[tuple[str, Row]], sums: Sums, most: Fraction | None
) -> Iterator[tuple[str, Row]]:
    for slug, row in rows:
        sums.add(row, most)
        yield slug, row


def _weight(row: Row) -> int:
    return abs(row.change) if isinstance(row, Compared) else 0


def _shown(slug: str, row: Row) -> tuple[object, ...]:
    if isinstance(row, NotCompared):
        return slug, "", "", "", "", "", "", row.reason
    return (
        slug,
        row.version,
        len(row.periods),
        amount(row.old, row.currency),
        amount(row.new, row.currency),
        _signed(row.change, row.currency),
        _percent(row),
        "",
    )


def _cells(slug: str, row: Row) -> tuple[object, ...]:
    if isinstance(row, NotCompared):
        return slug, row.subscription, "", "", 0, "", "", "", "", "", row.reason
    minors = (row.old, row.new, row.change)
    majors = (Money(minor, row.currency).major for minor in minors)
    monthly = Money(row.monthly, row.currency).major
    return (
        slug, row.subscription, row.version, row.currency, len(row.periods), *majors,
        _percent(row), monthly, "",
    )  # fmt: skip


def _json(slug: str, row: Row) -> dict[str, Any]:
    if isinstance(row, NotCompared):
        return {
            "customer": slug,
            "subscription": row.subscription,
            "reason": row.reason,
            "refused": row.refused,
        }
    return {
        "customer": slug,
        "subscription": row.subscription,
        "plan_version": row.version,
        "currency": row.currency,
        "old": row.old,
        "new": row.new,
        "change": row.change,
        "percent": _percent(row) or None,
        "monthly_change": row.monthly,
        "periods": [
            {
                "start": iso(one.period.start),
                "end": iso(one.period.end),
                "old": one.old,
                "new": one.new,
            }
            for one in row.periods
        ],
    }


def _sums_json(sums: Sums) -> dict[str, Any]:
    return {
        "winners": sums.winners,
        "losers": sums.losers,
        "unchanged": sums.unchanged,
        "without_period": sums.without_period,
        "refused": sums.refused,
        "above_max_increase": sums.too_much,
        "old": dict(sums.old),
        "new": dict(sums.new),
        "mrr_change": dict(sums.monthly),
    }


def _percent(row: Compared) -> str:
    if row.increase is None:
        return ""
    tenths = round_half_away(row.increase * 1000)
    return f"{Decimal(tenths).scaleb(-1):+f}"


def _signed(minor: int, currency: str) -> str:
    return f"{'+' if minor > 0 else ''}{amount(minor, currency)}"
