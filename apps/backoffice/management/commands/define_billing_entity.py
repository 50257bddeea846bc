"""`manage.py define_billing_entity`: who issues invoices, and by which rules."""

from __future__ import annotations

import argparse
import json
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.tenants import services


class Command(BaseCommand):
    """Define an issuer of invoices, or bring it up to date."""

    help = (
        "Define an issuer of invoices with number series of its own, or bring it up to date; safe"
        " to repeat. --set takes any of its fields, with a value in JSON or in plain words: city,"
        " postcode, region, address, email, bank_details, credit_note_prefix, payment_terms_days,"
        " grace_days, tax_rounding, inclusive_rounding, tax_registrations, late_usage,"
        " correction_limits, hold_factor, max_items_per_day, max_months_ahead."
    )
    examples = (
        "  manage.py define_billing_entity emea --name 'Acme EMEA' --prefix EM --country IE\n"
        "  manage.py define_billing_entity emea --name 'Acme EMEA' --prefix EM --set grace_days=2"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which, and its fields."""
        parser.add_argument("slug", metavar="SLUG", help="its short name")
        parser.add_argument("--name", required=True, help="its legal name")
        parser.add_argument("--prefix", required=True, help="starts every invoice number")
        parser.add_argument("--country", type=str.upper, help="ISO 3166")
        parser.add_argument("--tax-id", help="as it stands on invoices")
        parser.add_argument(
            "--set", type=setting, action="append", default=[], metavar="FIELD=VALUE"
        )

    def run(self, **options: Any) -> None:
        """Define it."""
        told = {key: options[key] for key in ("country", "tax_id") if options[key] is not None}
        with rls.ops_scope("define_billing_entity"):
            row = services.define_billing_entity(
                options["slug"],
                actor=self.actor,
                at=now(),
                **{
                    "legal_name": options["name"],
                    "invoice_prefix": options["prefix"],
                    **told,
                    **dict(options["set"]),
                },
            )
        shown = {
            "id": row.public_id,
            "slug": row.slug,
            "legal_name": row.legal_name,
            "invoice_prefix": row.invoice_prefix,
            "credit_note_prefix": row.credit_note_prefix,
            "country": row.country,
        }
        if self.as_json:
            self.print_json(shown)
        else:
            heads = ["Id", "Slug", "Legal name", "Invoices", "Credit notes", "Country"]
            self.print_table(heads, [[*shown.values()]])
        self.note(f"set_billing_terms SLUG --issuer {row.slug} lets it bill an organization.")


def setting(text: str) -> tuple[str, Any]:
    """Read FIELD=VALUE for argparse; what is no JSON is taken as it is written."""
    field, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' sets nothing; write FIELD=VALUE")
    try:
        return field, json.loads(value, parse_float=str)
    except ValueError:
        return field, value
