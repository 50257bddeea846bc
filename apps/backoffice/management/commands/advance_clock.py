"""`manage.py advance_clock`: a sandbox's customers through renewals, trials and changes."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, instant, now
from apps.backoffice.printing import counted
from apps.backoffice.spans import later, span
from apps.backoffice.time_machine import Stop, advance
from apps.core import rls
from apps.core.errors import NotFound
from apps.engine.period import iso
from apps.tenants import selectors as tenants


class Command(BaseCommand):
    """Set a test clock forward, stopping wherever something comes due."""

    help = (
        "Take a test clock forward and run, at every instant at which something comes due for the"
        " organizations that live by it, what the scheduler would run: scheduled changes, ends of"
        " trials, renewals, drafts whose grace is over, expiring credit, dunning, mails. Nobody"
        " else is touched. May be interrupted and repeated. Exit code 1 when a subscription was set"
        " aside."
    )
    examples = (
        "  manage.py advance_clock clk_01jnabc --to 2027-01-01T00:00:00Z\n"
        "  manage.py advance_clock clk_01jnabc --by '3 months' --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which clock, and how far."""
        parser.add_argument("clock", metavar="CLOCK", help="its id; test_clock makes one")
        parser.add_argument("--to", type=instant, help="until when")
        parser.add_argument("--by", type=span, metavar="SPAN", help="or how far: 14d, 1 month")

    def run(self, **options: Any) -> None:
        """Go there, and report every stop at which something happened."""
        if (options["to"] is None) == (options["by"] is None):
            raise CommandError("Say either --to or --by.")
        to = options["to"] or later(_shown(options["clock"]), options["by"])
        stops: list[Stop] = []
        with self.progress("Stops") as step:
            for stop in advance(options["clock"], to=to, actor=self.actor, at=now()):
                stops.append(stop)
                step()
        self._print([stop for stop in stops if stop.is_eventful], to)
        issued = counted(sum(len(stop.issued) for stop in stops), "invoice")
        self.note(f"The clock shows {iso(to)}: {counted(len(stops), 'stop')}, {issued}.")
        if any(stop.parked for stop in stops):
            self.note("Some subscriptions were set aside; see the reasons.")
            sys.exit(1)

    def _print(self, stops: list[Stop], to: datetime) -> None:
        slugs = _slugs(stops)
        if self.as_json:
            self.print_json({"now": iso(to), "stops": [_json(stop, slugs) for stop in stops]})
            return
        rows = [row for stop in stops for row in _rows(stop, slugs)]
        if rows:
            self.print_table(["When", "What", "Organization", ">Total"], rows)


def _shown(clock: str) -> datetime:
    with rls.ops_scope("advance_clock: read the clock"):
        row = tenants.find_test_clock(clock)
    if row is None:
        raise NotFound(f"There is no test clock '{clock}'.")
    return row.now


def _slugs(stops: list[Stop]) -> dict[int, str]:
    with rls.ops_scope("advance_clock: name the organizations"):
        found = tenants.organizations({o.organization_id for stop in stops for o in stop.issued})
    return {key: row.slug for key, row in found.items()}


def _rows(stop: Stop, slugs: dict[int, str]) -> list[tuple[object, ...]]:
    when = iso(stop.at)
    rows: list[tuple[object, ...]] = [
        (
            when,
            f"invoice {one.number or one.id}",
            slugs[one.organization_id],
            amount(one.total, one.currency),
        )
        for one in stop.issued
    ]
    if stop.changes:
        rows.append((when, f"{stop.changes} scheduled changes", "", ""))
    if stop.expired:
        rows.append((when, f"{stop.expired} credit grants expired", "", ""))
    if stop.asked:
        rows.append((when, f"{stop.asked} steps of dunning", "", ""))
    return [*rows, *((when, f"set aside: {why}", key, "") for key, why in stop.parked)]


def _json(stop: Stop, slugs: dict[int, str]) -> dict[str, Any]:
    return {
        "at": iso(stop.at),
        "changes": stop.changes,
        "expired_grants": stop.expired,
        "dunning_steps": stop.asked,
        "issued": [
            {
                "id": one.id,
                "number": one.number,
                "organization": slugs[one.organization_id],
                "total": one.total,
                "currency": one.currency,
            }
            for one in stop.issued
        ],
        "parked": [{"subscription": key, "reason": why} for key, why in stop.parked],
    }
