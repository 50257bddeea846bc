"""`manage.py change_role`: a member may do more, or less."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside
from apps.core import clock
from apps.tenants import roles, selectors, services


class Command(BaseCommand):
    """Give a member another role."""

    help = "Give a member another role. An organization keeps at least one owner."
    examples = (
        "  manage.py change_role acme ann@acme.example BILLING_ADMIN\n"
        "  manage.py change_role acme ann@acme.example BILLING_ADMIN --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take where, who and as what."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("email", metavar="EMAIL", help="of the member")
        parser.add_argument(
            "role", metavar="ROLE", choices=roles.ROLES, help=", ".join(roles.ROLES)
        )

    def run(self, **options: Any) -> None:
        """Change it."""
        with inside(options["organization"], "change_role") as organization:
            member = selectors.get_member(organization.pk, options["email"])
            row = services.change_role(
                member.public_id, role=options["role"], actor=self.actor, at=clock.now()
            )
        shown = {"id": row.public_id, "email": member.user.email, "role": row.role}
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Id", "E-mail", "Role"], [[*shown.values()]])
        self.note(f"{member.user} is {row.role} of {organization.slug} now.")
