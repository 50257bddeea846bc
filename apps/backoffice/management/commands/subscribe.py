"""`manage.py subscribe`: an organization takes a plan."""

from __future__ import annotations

import argparse
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import decimal, inside, instant, now
from apps.backoffice.printing import subscription_json
from apps.subscriptions import services
from apps.subscriptions.selectors import SubscriptionFacts


class Command(BaseCommand):
    """Subscribe an organization to a plan."""

    help = (
        "Subscribe an organization to a plan. Cuts no invoice: bill_due does, also for a start in"
        " the past."
    )
    examples = (
        "  manage.py subscribe acme gateway --seats 5 --start 2023-11-01T00:00:00Z\n"
        "  manage.py subscribe acme enterprise --price base=1250.00"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take who, what, since when and how many."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("plan", metavar="PLAN", help="the plan's code")
        parser.add_argument("--seats", type=int, metavar="N", help="in all, included ones too")
        parser.add_argument("--start", type=instant, help="default: now")
        parser.add_argument("--currency", default="", help="one of the plan's; default: theirs")
        parser.add_argument("--collection", default="manual", help="how it is paid; default manual")
        parser.add_argument(
            "--price",
            type=agreed_price,
            action="append",
            default=[],
            metavar="KEY=AMOUNT",
            help="an amount agreed with this customer, for plans priced per customer; repeatable",
        )

    def run(self, **options: Any) -> None:
        """Subscribe."""
        with inside(options["organization"], "subscribe") as organization:
            at = now()
            facts = services.subscribe(
                organization.pk,
                plan=options["plan"],
                start=options["start"] or at,
                seats=options["seats"],
                collection=options["collection"],
                agreed=dict(options["price"]),
                begin=services.Begin(currency=options["currency"].upper()),
                actor=self.actor,
                at=at,
            )
        self._print(organization.slug, facts)

    def _print(self, slug: str, facts: SubscriptionFacts) -> None:
        shown = subscription_json(slug, facts)
        if self.as_json:
            self.print_json(shown)
        else:
            keys = ("id", "plan", "plan_version", "status", "start", "next_invoice_at")
            heads = ["Id", "Plan", ">Version", "Status", "Start", "Next invoice"]
            self.print_table(heads, [[shown[key] for key in keys]])
        self.note(f"{slug} is subscribed to {facts.version.plan_name}; no invoice was cut.")


def agreed_price(text: str) -> tuple[str, Decimal]:
    """Read KEY=AMOUNT for argparse."""
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise argparse.ArgumentTypeError(f"'{text}' is no price; write base=1250.00")
    return key, decimal(value)
