"""`manage.py remove_member`: somebody loses access to an organization."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside
from apps.core import clock
from apps.tenants import selectors, services


class Command(BaseCommand):
    """Remove a member."""

    help = "Remove a member: tokens and sessions open nothing there from now on. The account stays."
    examples = (
        "  manage.py remove_member acme ann@acme.example\n"
        "  manage.py remove_member acme ann@acme.example --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take where, who."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("email", metavar="EMAIL", help="of the member")

    def run(self, **options: Any) -> None:
        """Remove them."""
        with inside(options["organization"], "remove_member") as organization:
            member = selectors.get_member(organization.pk, options["email"])
            services.remove_member(member.public_id, actor=self.actor, at=clock.now())
        shown = {"id": member.public_id, "email": member.user.email, "role": member.role}
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Id", "E-mail", "Role"], [[*shown.values()]])
        self.note(f"{member.user} is no member of {organization.slug} any more.")
