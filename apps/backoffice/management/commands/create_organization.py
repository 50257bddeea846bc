"""`manage.py create_organization`: a customer comes in."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.tenants import services


class Command(BaseCommand):
    """Create an organization."""

    help = "Create an organization, the customer that subscribes and pays."
    examples = (
        '  manage.py create_organization acme --name "Acme Corporation"\n'
        "  manage.py create_organization initech --name Initech --currency JPY"
        " --timezone Asia/Tokyo --country JP"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take what an organization is."""
        parser.add_argument("slug", metavar="SLUG", help="its short name: letters, digits, hyphens")
        parser.add_argument("--name", required=True, help="its name on invoices")
        parser.add_argument("--currency", default="USD", help="ISO 4217; default USD")
        parser.add_argument("--timezone", default="UTC", help="IANA zone; default UTC")
        parser.add_argument("--country", default="US", help="ISO 3166; default US")
        parser.add_argument("--email", default="", help="where invoices are mailed")
        parser.add_argument("--industry", default="", help="which plans it is offered")

    def run(self, **options: Any) -> None:
        """Create it."""
        told = ("name", "currency", "timezone", "country", "email", "industry")
        with rls.ops_scope("create_organization"):
            row = services.create_organization(
                options["slug"], actor=self.actor, at=now(), **{key: options[key] for key in told}
            )
        shown = {
            "id": row.public_id,
            "slug": row.slug,
            "name": row.name,
            "currency": row.currency,
            "timezone": row.timezone,
            "country": row.country,
        }
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(
                ["Id", "Slug", "Name", "Currency", "Time zone"], [[*shown.values()][:5]]
            )
        self.note(f"{row.name} is there; subscribe {row.slug} PLAN comes next.")
