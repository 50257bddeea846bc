"""`manage.py assign_seat`: give somebody a seat."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, now, the_subscription
from apps.backoffice.printing import seat_json
from apps.seats import selectors, services


class Command(BaseCommand):
    """Give a member, or whoever an address belongs to, a seat."""

    help = "Give somebody a seat; an address without an account is mailed a link to claim it."
    examples = (
        "  manage.py assign_seat globex nurse@globex.example\n"
        "  manage.py assign_seat globex user_123 --subscription healos --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose and whom."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument(
            "person", metavar="PERSON", help="e-mail, public id, or the application's own id"
        )
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        parser.add_argument("--item", default="", metavar="KEY", help="when there are several")

    def run(self, **options: Any) -> None:
        """Assign it."""
        with inside(options["organization"], "assign_seat") as organization:
            chosen = the_subscription(organization, options["subscription"])
            made = services.assign_seat(
                chosen.public_id,
                person=options["person"],
                item=options["item"],
                actor=self.actor,
                at=now(),
            )
            shown = seat_json(selectors.get(made.public_id))
            pool = selectors.pool(organization.pk, chosen.public_id, item=shown["item"], at=now())
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Seat", "Person", "Status"], [
                [shown["id"], shown["person"], shown["status"]]
            ])  # fmt: skip
        self.note(f"{pool.assigned} of {pool.bought} {pool.item} are assigned.")
