"""`manage.py prune_usage`: let raw usage go that is billed, proven and sealed."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import instant
from apps.core import clock, rls
from apps.invoicing import services
from apps.invoicing.services import Pruned
from apps.tenants import selectors as tenants


class Command(BaseCommand):
    """Seal and delete."""

    help = (
        "Delete raw usage events whose period is billed. What was billed of them is proven from"
        " the events and sealed first; buckets, and the keys that recognise an event which comes"
        " again, stay. What an open period, a draft or a waiting correction needs is kept, and so"
        " is all of an organization whose books do not hold. Safe to repeat and to kill. Exit"
        " code 1 when something was refused."
    )
    examples = (
        "  manage.py prune_usage --older-than 400 --dry-run\n"
        "  manage.py prune_usage --before 2026-01-01 --organization acme --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take up to when, whose, and whether to look only."""
        when = parser.add_mutually_exclusive_group(required=True)
        when.add_argument("--older-than", type=_days, metavar="DAYS", help="by when they occurred")
        when.add_argument("--before", type=instant, metavar="DATE", help="2026-01-31 is midnight")
        parser.add_argument("--organization", metavar="SLUG", help="only this one's events")
        parser.add_argument("--dry-run", action="store_true", help="say what would be sealed")

    def run(self, **options: Any) -> None:
        """Prune, and say for each organization what went or why not."""
        at = clock.now()
        before: datetime = options["before"] or at - timedelta(days=options["older_than"])
        with self.progress("Events") as step:
            done = services.prune_usage(
                before=before,
                organization_id=_chosen(options["organization"]),
                dry_run=options["dry_run"],
                actor=self.actor,
                at=at,
                step=step,
            )
        self._show(done)
        if options["dry_run"]:
            self.note("Nothing was changed.")
        if any(one.refused for one in done):
            sys.exit(1)

    def _show(self, done: list[Pruned]) -> None:
        slugs = _slugs(done)
        if self.as_json:
            self.print_json([_as_json(one, slugs[one.organization_id]) for one in done])
            return
        rows = [
            (slugs[one.organization_id], _until(one), one.lines, one.events, one.reason)
            for one in done
        ]
        heads = ["Organization", "Sealed until", ">Lines sealed", ">Events gone", "Kept because"]
        self.print_table(heads, rows)


def _days(text: str) -> int:
    """Read a number of days for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of days; write 400")
    return int(text)


def _chosen(reference: str | None) -> int | None:
    if reference is None:
        return None
    with rls.ops_scope("prune_usage: find the organization"):
        return tenants.get_organization(reference).pk


def _slugs(done: list[Pruned]) -> dict[int, str]:
    with rls.ops_scope("prune_usage: whose"):
        found = tenants.organizations({one.organization_id for one in done})
        return {key: row.slug for key, row in found.items()}


def _until(one: Pruned) -> str:
    return "" if one.until is None else one.until.isoformat()


def _as_json(one: Pruned, slug: str) -> dict[str, object]:
    return {
        "organization": slug,
        "sealed_until": _until(one) or None,
        "lines": one.lines,
        "events": one.events,
        "reason": one.reason,
        "refused": one.refused,
    }
