"""`manage.py set_billing_terms`: how a customer is billed."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.tenants import selectors, services

TOLD = {
    "issuer": "billing_entity",
    "payer": "parent",
    "exemption": "tax_exemption",
    "reason": "tax_exemption_reason",
    "grouping": "invoice_grouping",
    "hold": "invoice_hold",
}


class Command(BaseCommand):
    """Change how an organization is billed, from its next invoice on."""

    help = "Change how an organization is billed, from its next invoice on. What is left out stays."
    examples = (
        "  manage.py set_billing_terms acme --issuer emea --grouping consolidated\n"
        "  manage.py set_billing_terms acme-lab --payer acme --hold --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose and which."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("--issuer", metavar="ENTITY", help="the billing entity's slug")
        parser.add_argument("--payer", metavar="SLUG", help="who pays; '' for itself")
        parser.add_argument("--exemption", metavar="none|exempt|reverse_charge")
        parser.add_argument("--reason", help="of the exemption: a VATEX code or words")
        parser.add_argument("--grouping", metavar="per_application|consolidated")
        parser.add_argument(
            "--hold",
            action=argparse.BooleanOptionalAction,
            default=None,
            help="whether every draft waits for a review",
        )

    def run(self, **options: Any) -> None:
        """Change them."""
        changes = {TOLD[key]: options[key] for key in TOLD if options[key] is not None}
        with rls.ops_scope("set_billing_terms"):
            found = selectors.get_organization(options["organization"])
            services.change_billing_terms(found.pk, changes=changes, actor=self.actor, at=now())
            row = selectors.organization(found.pk)
            shown = {
                "organization": row.slug,
                "issuer": row.billing_entity.slug,
                "payer": row.parent.slug if row.parent else None,
                "exemption": row.tax_exemption,
                "grouping": row.invoice_grouping,
                "hold": row.invoice_hold,
            }
        if self.as_json:
            self.print_json(shown)
        else:
            words = [value if value is not None else "itself" for value in shown.values()]
            heads = ["Organization", "Issuer", "Payer", "Exemption", "Grouping", "Hold"]
            self.print_table(heads, [words])
