"""`manage.py list_seats`: who sits where, and how many seats there are."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, now
from apps.backoffice.printing import seat_json
from apps.seats import selectors


class Command(BaseCommand):
    """List an organization's seats."""

    help = "List who has a seat; idle ones are those not seen for 30 days."
    examples = "  manage.py list_seats globex\n  manage.py list_seats globex --idle --format json"

    def arguments(self, parser: CommandParser) -> None:
        """Take whose and which."""
        parser.add_argument("organization", metavar="SLUG")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--all", action="store_true", help="released ones too")
        which.add_argument("--idle", action="store_true", help="only those not seen for 30 days")

    def run(self, **options: Any) -> None:
        """Print them, and the three numbers of every pool on stderr."""
        with inside(options["organization"], "list_seats") as organization:
            if options["idle"]:
                rows = selectors.idle(organization.pk, at=now())
            else:
                rows = list(selectors.seats(organization.pk, standing=not options["all"]))
            shown = [seat_json(row) for row in rows]
            pools = selectors.pools(organization.pk, at=now())
        if self.as_json:
            self.print_json(shown)
        else:
            columns = ["id", "person", "application", "item", "status", "last_seen_at"]
            names = ["Seat", "Person", "Application", "Item", "Status", "Last seen"]
            self.print_table(names, [[one[key] or "" for key in columns] for one in shown])
        for pool in pools:
            application = pool.subscription.version.application_slug
            self.note(
                f"{application}: {pool.bought} {pool.item} bought, {pool.assigned} assigned, "
                f"{pool.used} used."
            )
