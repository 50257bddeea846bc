"""`manage.py check_tax_id`: is a customer's tax id a good one?"""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.tenants import selectors, services
from apps.tenants.models import Organization


class Command(BaseCommand):
    """Check an organization's tax id now."""

    help = (
        "Check an organization's tax id now: by its form and, when VIES_URL is set and it is an"
        " EU number, in the EU's register. Exit code 1 when it is invalid."
    )
    examples = (
        "  manage.py check_tax_id acme\n"  #
        "  manage.py check_tax_id acme --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose."""
        parser.add_argument("organization", metavar="SLUG")

    def run(self, **options: Any) -> None:
        """Check it."""
        with rls.ops_scope("check_tax_id: find the organization"):
            found = selectors.get_organization(options["organization"])
        row = services.verify_tax_id(found.pk, actor=self.actor, at=now())
        shown = {
            "organization": row.slug,
            "country": row.country,
            "tax_id": row.tax_id,
            "status": str(row.tax_id_status),
            "checked_at": row.tax_id_checked_at and row.tax_id_checked_at.isoformat(),
        }
        if self.as_json:
            self.print_json(shown)
        else:
            words = [value if value is not None else "" for value in shown.values()]
            heads = ["Organization", "Country", "Tax id", "Status", "Checked"]
            self.print_table(heads, [words])
        if row.tax_id_status == Organization.TaxIdStatus.INVALID:
            self.note("Invoices to consumers and businesses without a valid id bear tax.")
            sys.exit(1)
