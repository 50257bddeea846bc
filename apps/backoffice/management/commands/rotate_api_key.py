"""`manage.py rotate_api_key`: a program gets another key, and time to take it up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.core import clock, rls
from apps.tenants import services


class Command(BaseCommand):
    """Make a key in place of another and print it, once."""

    help = (
        "Make a key that may do the same as another; the old one works on for some hours. The new"
        " key stands alone on stdout and can never be shown again."
    )
    examples = (
        "  manage.py rotate_api_key key_01jd0c…\n  manage.py rotate_api_key key_01jd0c… --overlap 0"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which, and for how long both work."""
        parser.add_argument("key", metavar="KEY", help="the id of the old one, key_…")
        parser.add_argument("--overlap", type=int, default=24, metavar="HOURS", help="0 to 168")

    def run(self, **options: Any) -> None:
        """Rotate it."""
        with rls.ops_scope("rotate_api_key"):
            made = services.rotate_api_key(
                options["key"],
                overlap=timedelta(hours=options["overlap"]),
                actor=self.actor,
                at=clock.now(),
            )
        if self.as_json:
            shown = {"id": made.row.public_id, "name": made.row.name, "key": made.secret}
            self.print_json({**shown, "scopes": made.row.scopes})
        else:
            self.stdout.write(made.secret)
        self.note(f"The old key works for {options['overlap']} more hours. Keep the new one.")
