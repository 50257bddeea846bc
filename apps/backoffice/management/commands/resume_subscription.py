"""`manage.py resume_subscription`: a paused agreement goes on, paid by bank transfer."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, now, the_subscription
from apps.backoffice.printing import subscription_json
from apps.subscriptions import services


class Command(BaseCommand):
    """Resume a paused subscription."""

    help = "Take up a subscription that is paused; one whose trial ended is then paid by transfer."
    examples = (
        "  manage.py resume_subscription acme\n"
        "  manage.py resume_subscription acme --subscription gateway --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        parser.add_argument(
            "--keep-cycle", action="store_true", help="go on in the old cycle, not in a new one"
        )

    def run(self, **options: Any) -> None:
        """Resume it: a new cycle starts now, unless the old one is kept."""
        with inside(options["organization"], "resume_subscription") as organization:
            chosen = the_subscription(organization, options["subscription"]).public_id
            facts = services.resume(
                chosen, restart=not options["keep_cycle"], actor=self.actor, at=now()
            )
        shown = subscription_json(organization.slug, facts)
        if self.as_json:
            self.print_json(shown)
        else:
            row = [shown["id"], shown["plan"], shown["status"], shown["next_invoice_at"]]
            self.print_table(["Id", "Plan", "Status", "Next invoice"], [row])
        self.note(f"{facts.version.plan_name} of {organization.slug} goes on; bill_due bills it.")
