"""`manage.py map_external_user`: what a product, or its tokens, call a member."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, now
from apps.tenants import selectors, services


class Command(BaseCommand):
    """Let an application's id for a person stand for a member of an organization."""

    help = (
        "Let an application's id for a person, such as the `sub` of its tokens, stand for a member"
        " of an organization, in that organization alone."
    )
    examples = (
        "  manage.py map_external_user acme gateway user_2bZ9 ann@acme.example\n"
        "  manage.py map_external_user acme gateway user_2bZ9 ann@acme.example --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, which application's, what and who."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("application", metavar="APPLICATION", help="the application's slug")
        parser.add_argument("external_id", metavar="EXTERNAL_ID")
        parser.add_argument("email", metavar="EMAIL", help="of the member")

    def run(self, **options: Any) -> None:
        """Map it."""
        told = {key: options[key] for key in ("application", "external_id")}
        with inside(options["organization"], "map_external_user") as organization:
            member = selectors.get_member(organization.pk, options["email"])
            row = services.map_external_user(
                organization.pk, user_id=member.user_id, actor=self.actor, at=now(), **told
            )
        shown = {"id": row.public_id, "organization": organization.slug, **told}
        shown["user"] = member.user.public_id
        if self.as_json:
            self.print_json(shown)
        else:
            heads = ["Id", "Organization", "Application", "External id", "User"]
            self.print_table(heads, [[*shown.values()]])
        self.note(f"'{told['external_id']}' of {told['application']} is {member.user}.")
