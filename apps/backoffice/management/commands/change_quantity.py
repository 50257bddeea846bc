"""`manage.py change_quantity`: more seats, or fewer."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, instant, now, the_subscription
from apps.backoffice.printing import subscription_json
from apps.subscriptions import services


class Command(BaseCommand):
    """Set the quantity of a licensed item."""

    help = "Set how many are bought in all, from now on; the next invoice carries the proration."
    examples = (
        "  manage.py change_quantity acme 8\n"
        "  manage.py change_quantity acme 8 --subscription gateway --item seats"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose and how many."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("quantity", type=int, metavar="N", help="in all, included ones too")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        parser.add_argument("--item", default="", metavar="KEY", help="when there are several")
        parser.add_argument(
            "--behaviour",
            choices=[one.value for one in services.Behaviour],
            default=services.Behaviour.NEXT_INVOICE.value,
            help="how the change is billed",
        )
        parser.add_argument("--at", type=instant, help="since when; default now, never later")

    def run(self, **options: Any) -> None:
        """Change it."""
        with inside(options["organization"], "change_quantity") as organization:
            at = min(options["at"] or now(), now())
            chosen = the_subscription(organization, options["subscription"])
            facts = services.change_quantity(
                chosen.public_id,
                quantity=options["quantity"],
                key=options["item"],
                behaviour=services.Behaviour(options["behaviour"]),
                actor=self.actor,
                at=at,
            )
        shown = subscription_json(organization.slug, facts)
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Item", ">Quantity"], [*shown["quantities"].items()])
        self.note(
            f"{facts.version.plan_name} of {organization.slug}: quantity set; no invoice cut."
        )
