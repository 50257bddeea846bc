"""`manage.py void_credit`: credit that should not be there."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, living_in, now
from apps.backoffice.crediting import grant_json
from apps.core import rls
from apps.invoicing import credit, services


class Command(BaseCommand):
    """Withdraw what is left of a credit grant."""

    help = (
        "Withdraw what is left of a credit grant; what was used of it stays used. Credit that the"
        " customer paid for becomes revenue."
    )
    examples = (
        "  manage.py void_credit cg_0123456789abcdefghijklmnop --reason 'granted twice'\n"
        "  manage.py void_credit cg_0123456789abcdefghijklmnop --reason ended --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which and why."""
        parser.add_argument("grant", metavar="GRANT", help="its id")
        parser.add_argument("--reason", required=True, help="kept on the grant")

    def run(self, **options: Any) -> None:
        """Withdraw it."""
        with rls.ops_scope("void_credit: find the grant"):
            found = credit.get_grant(options["grant"])
        with living_in(found.organization_id):
            row = services.void_grant(
                found.public_id, reason=options["reason"], actor=self.actor, at=now()
            )
        if self.as_json:
            self.print_json(grant_json(row))
        else:
            self.print_table(["Grant", "Name"], [[row.public_id, row.name]])
        self.note(f"{amount(found.remaining, row.currency)} of {row.name} was withdrawn.")
