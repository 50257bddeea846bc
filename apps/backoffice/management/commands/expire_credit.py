"""`manage.py expire_credit`: credit that has ended."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import instant, now
from apps.backoffice.printing import counted
from apps.invoicing import services


class Command(BaseCommand):
    """Take out what is left of credit that has expired."""

    help = (
        "Take out what is left of credit grants that have expired. The scheduler does so every five"
        " minutes; safe to repeat, to run twice at once and to kill."
    )
    examples = (
        "  manage.py expire_credit\n  manage.py expire_credit --as-of 2024-01-01 --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take until when."""
        parser.add_argument("--as-of", type=instant, help="default and latest: now")

    def run(self, **options: Any) -> None:
        """Expire it."""
        at = now()
        found = services.expire_grants(
            as_of=min(options["as_of"] or at, at), actor=self.actor, at=at
        )
        if self.as_json:
            self.print_json({"expired": found})
        self.note(f"{counted(found, 'grant')} expired.")
