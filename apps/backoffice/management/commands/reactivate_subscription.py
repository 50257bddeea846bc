"""`manage.py reactivate_subscription`: a customer comes back."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, now
from apps.backoffice.printing import subscription_json
from apps.core.errors import Conflict, NotFound
from apps.subscriptions import selectors, services
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants.models import Organization


class Command(BaseCommand):
    """Take up a canceled subscription."""

    help = (
        "Begin a canceled subscription anew, as a new one: quantities and agreed prices as they"
        " ended, the version that is published now, no trial, a cycle that begins now."
    )
    examples = (
        "  manage.py reactivate_subscription acme\n"
        "  manage.py reactivate_subscription acme --subscription gateway --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )

    def run(self, **options: Any) -> None:
        """Begin it anew."""
        with inside(options["organization"], "reactivate_subscription") as organization:
            ended = _latest_ended(organization, options["subscription"])
            facts = services.reactivate(ended.public_id, actor=self.actor, at=now())
        shown = subscription_json(organization.slug, facts)
        if self.as_json:
            self.print_json(shown)
        else:
            row = [shown["id"], shown["plan"], shown["status"], shown["next_invoice_at"]]
            self.print_table(["Id", "Plan", "Status", "Next invoice"], [row])
        self.note(f"{facts.version.plan_name} of {organization.slug} is back; bill_due bills it.")


def _latest_ended(organization: Organization, chosen: str) -> SubscriptionFacts:
    """Return the canceled subscription that was meant: of one application the latest."""
    ended = [
        one
        for one in selectors.of_organization(organization.pk)
        if not one.is_live
        and chosen in {"", one.public_id, one.version.application_slug, one.version.plan_code}
    ]
    if not ended:
        raise NotFound(f"{organization.name} has no such canceled subscription.")
    if len({one.version.application_slug for one in ended}) > 1:
        raise Conflict(f"{organization.name} had several: say --subscription.")
    return ended[0]
