"""`manage.py transfer_ownership`: an owner hands over."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside
from apps.core import clock
from apps.tenants import selectors, services


class Command(BaseCommand):
    """Make another member owner in place of one."""

    help = "Make another member owner in place of one, who becomes billing admin."
    examples = (
        "  manage.py transfer_ownership acme ann@acme.example bob@acme.example\n"
        "  manage.py transfer_ownership acme ann@acme.example bob@acme.example --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take where, who and to whom."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("owner", metavar="OWNER", help="e-mail of who hands over")
        parser.add_argument("successor", metavar="SUCCESSOR", help="e-mail of who becomes owner")

    def run(self, **options: Any) -> None:
        """Hand over."""
        with inside(options["organization"], "transfer_ownership") as organization:
            owner, heir = (
                selectors.get_member(organization.pk, options[name])
                for name in ("owner", "successor")
            )
            row = services.transfer_ownership(
                owner.public_id, successor=heir.public_id, actor=self.actor, at=clock.now()
            )
        shown = {"id": row.public_id, "email": heir.user.email, "role": row.role}
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Id", "E-mail", "Role"], [[*shown.values()]])
        self.note(f"{heir.user} is owner of {organization.slug} now, {owner.user} billing admin.")
