"""`manage.py map_external_id`: what a product calls a customer of ours."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, now
from apps.tenants import services


class Command(BaseCommand):
    """Let an application's own id stand for an organization."""

    help = "Let an application's own id stand for an organization, as the subject of its events."
    examples = (
        "  manage.py map_external_id acme gateway cust_8817\n"
        "  manage.py map_external_id acme gateway cust_8817 --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, which application's and what."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("application", metavar="APPLICATION", help="the application's slug")
        parser.add_argument("external_id", metavar="EXTERNAL_ID")

    def run(self, **options: Any) -> None:
        """Map it."""
        told = {key: options[key] for key in ("application", "external_id")}
        with inside(options["organization"], "map_external_id") as organization:
            row = services.map_external_id(organization.pk, actor=self.actor, at=now(), **told)
        shown = {"id": row.public_id, "organization": organization.slug, **told}
        if self.as_json:
            self.print_json(shown)
        else:
            heads = ["Id", "Organization", "Application", "External id"]
            self.print_table(heads, [[*shown.values()]])
        self.note(f"'{told['external_id']}' of {told['application']} is {organization.slug}.")
