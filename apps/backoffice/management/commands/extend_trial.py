"""`manage.py extend_trial`: more time to try."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, instant, now, the_subscription
from apps.backoffice.printing import subscription_json
from apps.subscriptions import services


class Command(BaseCommand):
    """Let a trial last longer."""

    help = "Let a trial last until a later instant, within a year; billing begins then."
    examples = (
        "  manage.py extend_trial acme --until 2030-02-01T00:00:00Z\n"
        "  manage.py extend_trial acme --subscription dialer --until 2030-02-01 --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose and until when."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        parser.add_argument("--until", type=instant, required=True, help="the trial's new end")

    def run(self, **options: Any) -> None:
        """Extend it."""
        with inside(options["organization"], "extend_trial") as organization:
            chosen = the_subscription(organization, options["subscription"])
            facts = services.extend_trial(
                chosen.public_id, until=options["until"], actor=self.actor, at=now()
            )
        shown = subscription_json(organization.slug, facts)
        if self.as_json:
            self.print_json(shown)
        else:
            row = [shown["id"], shown["plan"], shown["trial_end"]]
            self.print_table(["Id", "Plan", "Trial ends"], [row])
        self.note(f"The trial of {organization.slug} lasts until {shown['trial_end']}.")
