"""`manage.py revoke_seat`: take a seat away."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, now
from apps.backoffice.printing import seat_json
from apps.seats import selectors, services


class Command(BaseCommand):
    """Take a seat away, or give it to somebody else."""

    help = "Take a seat away: the next answer to the product says no."
    examples = (
        "  manage.py revoke_seat globex seat_01jd0c4v9k3m8r2t6w5x7y1z0a\n"
        "  manage.py revoke_seat globex seat_01jd0c4v9k3m8r2t6w5x7y1z0a --to other@globex.example"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose and which."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("seat", metavar="ID")
        parser.add_argument("--to", default="", metavar="PERSON", help="who gets it instead")

    def run(self, **options: Any) -> None:
        """Revoke or reassign it."""
        with inside(options["organization"], "revoke_seat") as organization:
            seat = selectors.get(options["seat"], organization_id=organization.pk).public_id
            if options["to"]:
                seat = services.reassign_seat(
                    seat, person=options["to"], actor=self.actor, at=now()
                ).public_id
            else:
                services.revoke_seat(seat, actor=self.actor, at=now())
            shown = seat_json(selectors.get(seat))
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Seat", "Person", "Status"], [
                [shown["id"], shown["person"], shown["status"]]
            ])  # fmt: skip
        self.note(f"{organization.slug}: the seat is {shown['status']}.")
