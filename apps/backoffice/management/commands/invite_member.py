"""`manage.py invite_member`: somebody is asked to join an organization."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside
from apps.core import clock
from apps.tenants import roles, services


class Command(BaseCommand):
    """Invite somebody by mail."""

    help = "Invite somebody by mail; the link lasts 7 days."
    examples = (
        "  manage.py invite_member acme ann@acme.example ADMIN\n"
        "  manage.py invite_member acme ann@acme.example ADMIN --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take where, who and as what."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument(
            "role", metavar="ROLE", choices=roles.ROLES, help=", ".join(roles.ROLES)
        )

    def run(self, **options: Any) -> None:
        """Invite them."""
        with inside(options["organization"], "invite_member") as organization:
            row = services.invite_member(
                organization.pk,
                email=options["email"],
                role=options["role"],
                actor=self.actor,
                at=clock.now(),
            )
        shown = {"id": row.public_id, "email": row.email, "role": row.role}
        shown["expires_at"] = row.expires_at.isoformat()
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Id", "E-mail", "Role", "Until"], [[*shown.values()]])
        self.note(f"{row.email} is invited to {organization.slug}.")
