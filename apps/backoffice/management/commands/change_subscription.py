"""`manage.py change_subscription`: another plan, quantity, add-on or price, billed as said."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, inside, instant, now, the_subscription
from apps.backoffice.printing import change_json, subscription_json
from apps.backoffice.wishing import add_wishes, told, wish_of
from apps.engine.money import Money
from apps.engine.period import iso
from apps.invoicing import services
from apps.invoicing.services import Changed, Confirmed
from apps.subscriptions.changes import Behaviour
from apps.subscriptions.facts import SubscriptionFacts


class Command(BaseCommand):
    """Change a subscription, and bill at once what is owed at once."""

    help = (
        "Change a subscription. With --quoted and --quoted-at, the `amount` and `at` that"
        " preview_change printed, nothing is done when it would cost something else by now."
    )
    examples = (
        "  manage.py change_subscription acme --add support --behaviour now\n"
        "  manage.py change_subscription acme --price base=450.00 --from 2030-01-01"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, what, how, and what was quoted."""
        add_wishes(parser)
        parser.add_argument("--quoted", type=int, metavar="MINOR", help="in minor units")
        parser.add_argument("--quoted-at", type=instant, metavar="INSTANT")
        parser.add_argument("--reason", default="", help="kept with the change")

    def run(self, **options: Any) -> None:
        """Change it."""
        if (options["quoted"] is None) != (options["quoted_at"] is None):
            raise CommandError("Say --quoted and --quoted-at, or neither.")
        with inside(options["organization"], "change_subscription") as organization:
            chosen = the_subscription(organization, options["subscription"])
            changed = services.change_subscription(
                chosen.public_id,
                wish=wish_of(chosen, options),
                behaviour=Behaviour(options["behaviour"]),
                effective_at=options["start"],
                confirmed=_confirmed(chosen, options),
                reason=options["reason"],
                actor=self.actor,
                at=now(),
            )
        self._show(organization.slug, changed)

    def _show(self, slug: str, changed: Changed) -> None:
        shown, invoice = subscription_json(slug, changed.facts), changed.invoice
        waiting = changed.facts.scheduled
        if self.as_json:
            bill = None if invoice is None else invoice.public_id
            to_come = [change_json(one) for one in waiting]
            self.print_json({**shown, "scheduled": to_come, "invoice": bill})
        else:
            to_come_at = ", ".join(iso(one.effective_at) for one in waiting) or "–"
            row = [shown["id"], shown["plan"], to_come_at, shown["next_invoice_at"]]
            self.print_table(["Id", "Plan", "Changes to come", "Next invoice"], [row])
        cut = ""
        if invoice is not None:
            cut = f" Invoice {invoice} of {amount(invoice.total, invoice.currency)} was cut."
        self.note(told(changed.quoted) + cut)


def _confirmed(facts: SubscriptionFacts, options: dict[str, Any]) -> Confirmed | None:
    if options["quoted"] is None:
        return None
    return Confirmed(Money(options["quoted"], facts.currency), options["quoted_at"])
