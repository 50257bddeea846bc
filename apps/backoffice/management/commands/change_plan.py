"""`manage.py change_plan`: another plan, now or later, or only what it would cost."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, instant, now, the_subscription
from apps.backoffice.printing import invoice_json, subscription_json
from apps.backoffice.wishing import show_quote, told
from apps.engine.period import iso
from apps.invoicing import quoting
from apps.invoicing import services as invoicing
from apps.plans import selectors as plans
from apps.subscriptions.changes import Behaviour, ChangePlan
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization


class Command(BaseCommand):
    """Change a subscription's plan."""

    help = (
        "Change to the published version of another plan. By default the next invoice carries the"
        " proration. --dry-run changes nothing and shows the invoices that it would make or alter;"
        " as JSON the first of them, and preview_change has them all."
    )
    examples = (
        "  manage.py change_plan acme large --behaviour next_period\n"
        "  manage.py change_plan acme large --behaviour reset --dry-run --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, which and how."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("plan", metavar="PLAN", help="code or id")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        parser.add_argument(
            "--behaviour",
            choices=[one.value for one in Behaviour],
            default=Behaviour.NEXT_INVOICE.value,
            help="how the change is billed",
        )
        parser.add_argument("--from", dest="start", type=instant, help="schedule it for then")
        parser.add_argument("--reason", default="", help="kept with the change")
        parser.add_argument("--dry-run", action="store_true", help="show what it would bill")

    def run(self, **options: Any) -> None:
        """Preview it, or change it and bill what is to be billed now."""
        with inside(options["organization"], "change_plan") as organization:
            chosen = the_subscription(organization, options["subscription"])
            if options["dry_run"]:
                self._preview(chosen, options)
            else:
                self._change(organization, chosen, options)

    def _preview(self, chosen: SubscriptionFacts, options: dict[str, Any]) -> None:
        quoted = quoting.quote_change(
            chosen.public_id,
            wish=ChangePlan(plans.current_version(options["plan"]).public_id),
            behaviour=Behaviour(options["behaviour"]),
            at=now(),
            effective_at=options["start"],
        )
        if self.as_json:
            first = quoted.now if quoted.bills_now else quoted.upcoming
            self.print_json(None if first is None else invoice_json(first))
        else:
            show_quote(self, quoted)
        self.note(told(quoted))

    def _change(
        self, organization: Organization, chosen: SubscriptionFacts, options: dict[str, Any]
    ) -> None:
        changed = invoicing.change_subscription(
            chosen.public_id,
            wish=ChangePlan(plans.current_version(options["plan"]).public_id),
            behaviour=Behaviour(options["behaviour"]),
            effective_at=options["start"],
            reason=options["reason"],
            actor=self.actor,
            at=now(),
        )
        facts, bill = changed.facts, changed.invoice
        shown = subscription_json(organization.slug, facts)
        if self.as_json:
            self.print_json(shown)
        else:
            waiting = ", ".join(iso(one.effective_at) for one in facts.scheduled)
            row = [shown["id"], shown["plan"], waiting or "–", shown["next_invoice_at"]]
            self.print_table(["Id", "Plan", "Changes to come", "Next invoice"], [row])
        cut = f"invoice {bill} was cut" if bill is not None else "no invoice was cut"
        self.note(f"{organization.slug} is subscribed to {facts.version.plan_name}; {cut}.")
