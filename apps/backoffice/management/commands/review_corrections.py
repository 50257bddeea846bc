"""`manage.py review_corrections`: what waits for a decision."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.printing import CORRECTION_HEADS, correction_json, correction_row
from apps.core import rls
from apps.invoicing import healing
from apps.tenants import selectors as tenants


class Command(BaseCommand):
    """List corrections of final lines."""

    help = (
        "List the corrections that wait for approve_correction or reject_correction: what a final"
        " line billed, what it comes to now, and the difference after its discounts."
    )
    examples = (
        "  manage.py review_corrections\n"
        "  manage.py review_corrections --organization acme --status billed --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, and which."""
        parser.add_argument("--organization", metavar="SLUG", help="of one organization only")
        parser.add_argument(
            "--status",
            choices=("waiting", "approved", "rejected", "billed", "all"),
            default="waiting",
            help="default: waiting",
        )

    def run(self, **options: Any) -> None:
        """List them."""
        slug, status = options["organization"], options["status"]
        with rls.ops_scope("review_corrections"):
            organization_id = tenants.get_organization(slug).pk if slug else None
            chosen = "" if status == "all" else status
            rows = healing.corrections(status=chosen, organization_id=organization_id)
        if self.as_json:
            self.print_json([correction_json(row) for row in rows])
        elif rows:
            self.print_table(CORRECTION_HEADS, [correction_row(row) for row in rows])
        else:
            self.note("There are none.")
