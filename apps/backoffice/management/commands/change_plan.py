"""`manage.py change_plan`: another plan, now or later, or only what it would cost."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, inside, instant, now, the_subscription
from apps.backoffice.printing import invoice_json, subscription_json
from apps.engine.period import iso
from apps.invoicing import selectors as invoices
from apps.invoicing import services as invoicing
from apps.invoicing.document import Document
from apps.plans import selectors as plans
from apps.subscriptions import selectors
from apps.subscriptions.changes import Behaviour, ChangePlan
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization


class Command(BaseCommand):
    """Change a subscription's plan."""

    help = (
        "Change to the published version of another plan. By default the next invoice carries the"
        " proration; --dry-run shows that invoice and changes nothing."
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
        at = now()
        seen = selectors.preview(
            chosen.public_id,
            ChangePlan(plans.current_version(options["plan"]).public_id),
            behaviour=Behaviour(options["behaviour"]),
            at=at,
            effective_at=options["start"],
        )
        document = invoices.upcoming_of(seen.after)
        if self.as_json:
            self.print_json(None if document is None else invoice_json(document))
        elif document is not None:
            self.print_table(["Line", "Reason", ">Amount"], _lines(document))
        total = "nothing" if document is None else amount(document.total, document.currency)
        self.note(f"From {iso(seen.effective_at)} on; the next invoice would be {total}.")

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
        told = f"invoice {bill} was cut" if bill is not None else "no invoice was cut"
        self.note(f"{organization.slug} is subscribed to {facts.version.plan_name}; {told}.")


def _lines(document: Document) -> list[tuple[str, str, str]]:
    return [
        (line.key, line.reason, amount(line.amount, document.currency)) for line in document.lines
    ]
