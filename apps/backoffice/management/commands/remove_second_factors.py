"""`manage.py remove_second_factors`: help somebody who has lost them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.tenants import securing, services


class Command(BaseCommand):
    """Remove second factors."""

    help = (
        "Remove somebody's authenticator app, passkeys and recovery codes, when they have lost them"
        " all. Make sure first that it is they: whoever has the password comes in afterwards. They"
        " are told by mail."
    )
    examples = (
        "  manage.py remove_second_factors ann@acme.example\n"
        "  manage.py remove_second_factors ann@acme.example --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose."""
        parser.add_argument("email", metavar="EMAIL", help="of the account")

    def run(self, **options: Any) -> None:
        """Remove them and print how many there were."""
        with rls.ops_scope("remove_second_factors"):
            user = securing.find_user(options["email"])
            if user is None:
                raise CommandError(f"There is no account for {options['email']}.")
            count = services.remove_second_factors(user.public_id, actor=self.actor, at=now())
        if self.as_json:
            self.print_json({"id": user.public_id, "email": user.email, "removed": count})
        else:
            self.print_table(["Id", "E-mail", ">Removed"], [[user.public_id, user.email, count]])
