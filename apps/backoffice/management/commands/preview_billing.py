"""`manage.py preview_billing`: what an instant would bill, without billing it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import instant, now
from apps.backoffice.foreseeing import foresee_and_show
from apps.core import rls
from apps.tenants import selectors as tenants


class Command(BaseCommand):
    """Foresee the invoices of every boundary up to an instant."""

    help = (
        "Show what billing up to --as-of would bill, past or to come, without writing anything:"
        " scheduled changes, ends of trials, discounts, taxes and credit take their turns as they"
        " would. Usage counts as it stands now. Exit code 1 when a subscription would be set aside."
    )
    examples = (
        "  manage.py preview_billing --as-of 2027-01-01T00:00:00Z\n"
        "  manage.py preview_billing --as-of 2027-01-01 --organization acme --lines --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take until when, and whose."""
        parser.add_argument("--as-of", type=instant, help="default: now")
        parser.add_argument(
            "--organization", metavar="SLUG", help="only this one, on a test clock too"
        )
        parser.add_argument("--lines", action="store_true", help="every line, not the sums alone")

    def run(self, **options: Any) -> None:
        """Walk ahead and print; tell with the exit code whether anything would be set aside."""
        wanted = None
        if options["organization"]:
            with rls.ops_scope("preview_billing: find the organization"):
                wanted = [tenants.get_organization(options["organization"]).pk]
        as_of = options["as_of"] or now()
        foresee_and_show(self, as_of, organization_ids=wanted, lines=options["lines"])
