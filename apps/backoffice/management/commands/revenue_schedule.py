"""`manage.py revenue_schedule`: what each month earns."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, month
from apps.core import rls
from apps.core.errors import Invalid
from apps.invoicing import recognition
from apps.tenants import selectors as tenants


class Command(BaseCommand):
    """Show earned and deferred revenue by month."""

    help = (
        "Show what final invoices earn in each month by the days of their service, and what is"
        " billed and not earned when the month is over. Writes nothing."
    )
    examples = (
        "  manage.py revenue_schedule --from 2026-01 --to 2026-12\n"
        "  manage.py revenue_schedule --from 2026-01 --to 2026-03 --organization acme --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take from when to when, and whose."""
        parser.add_argument("--from", type=month, required=True, dest="first", metavar="YYYY-MM")
        parser.add_argument("--to", type=month, required=True, dest="last", metavar="YYYY-MM")
        parser.add_argument("--organization", metavar="SLUG", help="of one organization only")

    def run(self, **options: Any) -> None:
        """Show it."""
        if options["first"] > options["last"]:
            raise Invalid("--from is after --to: say the first month, then the last.")
        slug = options["organization"]
        with rls.ops_scope("revenue_schedule: find the organization"):
            organization_id = tenants.get_organization(slug).pk if slug else None
        found = recognition.revenue_schedule(
            options["first"], options["last"], organization_id=organization_id
        )
        names = [f"{one.month.year:04d}-{one.month.month:02d}" for one in found]
        if self.as_json:
            told = zip(found, names, strict=True)
            self.print_json(
                [
                    {
                        "month": name,
                        "currency": one.currency,
                        "earned": one.earned,
                        "deferred": one.deferred,
                    }
                    for one, name in told
                ]
            )
        else:
            rows = [
                (name, amount(one.earned, one.currency), amount(one.deferred, one.currency))
                for one, name in zip(found, names, strict=True)
            ]
            self.print_table(["Month", ">Earned", ">Deferred at its end"], rows)
