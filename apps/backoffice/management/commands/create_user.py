"""`manage.py create_user`: a person may sign in."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import comma_separated, now
from apps.core import rls
from apps.tenants import selectors, services
from apps.tenants.roles import ROLES, STAFF_CAPABILITIES

PASSWORD = "NEW_USER_PASSWORD"  # noqa: S105 - the variable's name


class Command(BaseCommand):
    """Create a member of an organization or a staff user."""

    help = (
        "Create a user who can sign in: a member with --organization and --role, staff with"
        f" --groups ({', '.join(STAFF_CAPABILITIES)}). The password is asked for, or read from the"
        f" environment variable {PASSWORD}; never from the command line, where others could see it."
    )
    examples = (
        "  manage.py create_user jo@acme.example --name Jo --organization acme --role OWNER\n"
        "  manage.py create_user kim@example.com --groups Finance"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take who and as what."""
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument("--name", default="")
        parser.add_argument("--organization", metavar="SLUG")
        parser.add_argument("--role", choices=ROLES, default="MEMBER", help="default MEMBER")
        parser.add_argument("--groups", type=comma_separated, default=[], metavar="A,B")

    def run(self, **options: Any) -> None:
        """Create the user, and the membership, in one transaction."""
        password = _password()
        with rls.ops_scope("create_user"):
            user = services.create_user(
                options["email"],
                password=password,
                name=options["name"],
                groups=options["groups"],
                actor=self.actor,
                at=now(),
            )
            if options["organization"]:
                services.add_member(
                    selectors.get_organization(options["organization"]).pk,
                    user_id=user.pk,
                    role=options["role"],
                    actor=self.actor,
                    at=now(),
                )
        role = options["role"] if options["organization"] else None
        shown = {"id": user.public_id, "email": user.email, "role": role}
        if self.as_json:
            self.print_json({**shown, "groups": options["groups"]})
        else:
            self.print_table(
                ["Id", "E-mail", "As"],
                [
                    [
                        user.public_id,
                        user.email,
                        role or ", ".join(options["groups"]) or "nobody yet",
                    ]
                ],
            )
        self.note(f"{user.email} can sign in.")


def _password() -> str:
    if given := os.environ.get(PASSWORD, ""):
        return given
    if not sys.stdin.isatty():
        raise CommandError(f"Set {PASSWORD}, or run this on a terminal to be asked.")
    first = getpass("Password: ")
    if first != getpass("Again: "):
        raise CommandError("The two passwords differ.")
    return first
