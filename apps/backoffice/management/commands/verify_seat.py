"""`manage.py verify_seat`: what a product is answered about a person."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.core import clock
from apps.seats.verifying import SENTENCES, verify


class Command(BaseCommand):
    """Ask whether a person may use an application now; exit 1 when they may not."""

    help = "Ask whether a person may use an application now, as products do. Exit 1: they may not."
    examples = (
        "  manage.py verify_seat hospital_456 user_123 --application healos\n"
        "  manage.py verify_seat hospital_456 user_123 --application healos --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, whom and what."""
        parser.add_argument(
            "organization", metavar="ORGANIZATION", help="public id, or the application's own id"
        )
        parser.add_argument(
            "person", metavar="PERSON", help="public id, or the application's own id"
        )
        parser.add_argument("--application", required=True, metavar="SLUG")

    def run(self, **options: Any) -> None:
        """Print the answer."""
        found = verify(
            options["person"],
            application=options["application"],
            organization=options["organization"],
            caller=None,
            at=clock.now(),
            seen=False,
        )
        shown = {
            "has_access": found.has_access,
            "reason": found.reason.value,
            "seat_id": found.seat_id,
            "subscription_status": found.subscription_status,
            "expires_at": found.expires_at,
        }
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["", ""], [[name, str(value)] for name, value in shown.items()])
        self.note(SENTENCES[found.reason])
        if not found.has_access:
            raise SystemExit(1)
