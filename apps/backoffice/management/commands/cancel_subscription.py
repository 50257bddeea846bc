"""`manage.py cancel_subscription`: an agreement ends with its period."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, instant, now, the_subscription
from apps.backoffice.printing import subscription_json
from apps.subscriptions import services
from apps.subscriptions.changes import NOW, PERIOD_END


class Command(BaseCommand):
    """Cancel a subscription, or take that back."""

    help = "End a subscription when its current period (or trial) does; --undo takes that back."
    examples = (
        '  manage.py cancel_subscription acme --reason "moved to another product"\n'
        "  manage.py cancel_subscription acme --subscription gateway --undo"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose and why."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        parser.add_argument("--reason", default="", help="kept with the subscription")
        when = parser.add_mutually_exclusive_group()
        when.add_argument("--undo", action="store_true", help="go on after all")
        when.add_argument("--now", action="store_true", help="end now, not with the period")
        when.add_argument("--on", type=instant, help="end at that instant")
        parser.add_argument(
            "--no-proration", action="store_true", help="give nothing back of what was paid"
        )

    def run(self, **options: Any) -> None:
        """Cancel it, or not."""
        with inside(options["organization"], "cancel_subscription") as organization:
            chosen = the_subscription(organization, options["subscription"]).public_id
            if options["undo"]:
                facts = services.uncancel(chosen, actor=self.actor, at=now())
            else:
                facts = services.cancel(
                    chosen,
                    when=options["on"] or (NOW if options["now"] else PERIOD_END),
                    prorate=not options["no_proration"],
                    reason=options["reason"],
                    actor=self.actor,
                    at=now(),
                )
        shown = subscription_json(organization.slug, facts)
        if self.as_json:
            self.print_json(shown)
        else:
            row = [shown["id"], shown["plan"], shown["status"], shown["cancel_at"] or "never"]
            self.print_table(["Id", "Plan", "Status", "Ends"], [row])
        self.note(f"{facts.version.plan_name} of {organization.slug} {_outcome(shown)}.")


def _outcome(shown: dict[str, Any]) -> str:
    if shown["status"] == "canceled":
        return "has ended"
    return f"ends {shown['cancel_at']}" if shown["cancel_at"] else "goes on"
