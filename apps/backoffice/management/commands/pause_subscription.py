"""`manage.py pause_subscription`: billing rests, for a while or until somebody resumes it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, instant, now, the_subscription
from apps.backoffice.printing import subscription_json
from apps.engine.period import iso
from apps.subscriptions import services
from apps.subscriptions.changes import NOW, PERIOD_END


class Command(BaseCommand):
    """Pause a subscription."""

    help = "Pause a subscription when its period ends, or now; resume_subscription takes it up."
    examples = (
        "  manage.py pause_subscription acme --until 2030-09-01T00:00:00Z\n"
        "  manage.py pause_subscription acme --subscription gateway --now --no-proration"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, since when and until when."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        parser.add_argument("--now", action="store_true", help="and not when the period ends")
        parser.add_argument("--until", type=instant, help="go on by itself then, with a new cycle")
        parser.add_argument(
            "--no-proration", action="store_true", help="give nothing back of what was paid"
        )
        parser.add_argument("--reason", default="", help="kept with the subscription")

    def run(self, **options: Any) -> None:
        """Pause it."""
        with inside(options["organization"], "pause_subscription") as organization:
            facts = services.pause(
                the_subscription(organization, options["subscription"]).public_id,
                when=NOW if options["now"] else PERIOD_END,
                until=options["until"],
                prorate=not options["no_proration"],
                reason=options["reason"],
                actor=self.actor,
                at=now(),
            )
        shown = subscription_json(organization.slug, facts)
        pauses = "now" if facts.pause_at is None else iso(facts.pause_at)
        if self.as_json:
            self.print_json(shown | {"pause_at": facts.pause_at and iso(facts.pause_at)})
        else:
            row = [shown["id"], shown["plan"], shown["status"], pauses]
            self.print_table(["Id", "Plan", "Status", "Pauses"], [row])
        self.note(f"{facts.version.plan_name} of {organization.slug} pauses {pauses}.")
