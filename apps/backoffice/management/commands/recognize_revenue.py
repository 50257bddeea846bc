"""`manage.py recognize_revenue`: earn what was billed ahead."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, month, now
from apps.backoffice.printing import counted
from apps.core import rls
from apps.invoicing import services
from apps.tenants import selectors as tenants


class Command(BaseCommand):
    """Close a month of revenue."""

    help = (
        "Book what was served until the end of a month from deferred revenue to revenue, once an"
        " invoice and month; months that were left out are booked too. Safe to repeat, to run twice"
        " at once and to kill."
    )
    examples = (
        "  manage.py recognize_revenue --month 2026-01\n"
        "  manage.py recognize_revenue --month 2026-01 --organization acme --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which month, and whose."""
        parser.add_argument("--month", type=month, required=True, metavar="YYYY-MM")
        parser.add_argument("--organization", metavar="SLUG", help="of one organization only")

    def run(self, **options: Any) -> None:
        """Earn it, and say how much."""
        slug, wanted = options["organization"], options["month"]
        with rls.ops_scope("recognize_revenue: find the organization"):
            organization_id = tenants.get_organization(slug).pk if slug else None
        with self.progress("Invoices") as step:
            done = services.recognize_revenue(
                wanted, actor=self.actor, at=now(), organization_id=organization_id, step=step
            )
        if self.as_json:
            self.print_json({"invoices": done.invoices, "totals": dict(done.totals)})
        elif done.totals:
            rows = [(code, amount(minor, code)) for code, minor in sorted(done.totals.items())]
            self.print_table(["Currency", ">Earned"], rows)
        self.note(f"{counted(done.invoices, 'invoice')}.")
