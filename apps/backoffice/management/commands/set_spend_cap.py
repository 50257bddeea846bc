"""`manage.py set_spend_cap`: how much usage may cost in a billing period."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, decimal, inside, now, the_subscription
from apps.core.errors import Invalid
from apps.engine.entitlements import Behaviour
from apps.entitlements import selectors, services
from apps.entitlements.selectors import CapStanding
from apps.tenants.models import Organization


class Command(BaseCommand):
    """Bound what usage may cost, or no more."""

    help = (
        "Let an organization's usage cost at most so much in a billing period, or warn beyond it:"
        " of one subscription, or of all in a currency. Replaces the cap before."
    )
    examples = (
        "  manage.py set_spend_cap acme 200 --subscription atlas --warn\n"
        "  manage.py set_spend_cap acme --off"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, how much and of what."""
        parser.add_argument("organization", metavar="ORGANIZATION", help="slug or id")
        parser.add_argument("amount", metavar="AMOUNT", type=decimal, nargs="?", help="500.00")
        parser.add_argument("--subscription", default="", help="id, application or plan")
        parser.add_argument("--currency", default="", help="default: the organization's")
        parser.add_argument("--warn", action="store_true", help="warn, and block nothing")
        parser.add_argument("--off", action="store_true", help="remove the cap")

    def run(self, **options: Any) -> None:
        """Set or remove it, and show those in force."""
        if options["off"] == (options["amount"] is not None):
            raise Invalid("Say an amount, or --off.")
        with inside(options["organization"], "set_spend_cap") as organization:
            self._change(organization, options)
            caps = selectors.cap_standings(organization.pk, at=now())
        self._print(caps)

    def _change(self, organization: Organization, options: dict[str, Any]) -> None:
        chosen = options["subscription"]
        subscription = the_subscription(organization, chosen).public_id if chosen else ""
        if options["off"]:
            self._remove(organization, subscription, options["currency"])
            return
        services.set_spend_cap(
            organization.pk,
            amount=options["amount"],
            on_limit=Behaviour.WARN if options["warn"] else Behaviour.BLOCK,
            subscription_id=subscription,
            currency=options["currency"],
            actor=self.actor,
            at=now(),
        )

    def _remove(self, organization: Organization, subscription: str, currency: str) -> None:
        for one in selectors.cap_standings(organization.pk, at=now()):
            meant = one.currency == (currency or organization.currency) or subscription
            if meant and (one.subscription or "") == subscription:
                services.remove_spend_cap(one.public_id, actor=self.actor, at=now())

    def _print(self, caps: list[CapStanding]) -> None:
        if self.as_json:
            self.print_json([_json(one) for one in caps])
            return
        heads = ["Subscription", "At the cap", ">Cap", ">Spent", ">Reserved", ">Left"]
        self.print_table(heads, [_row(one) for one in caps])


def _row(one: CapStanding) -> list[object]:
    sums = (one.amount, one.spent, one.reserved, one.remaining)
    return [one.subscription or "all", one.on_limit, *(amount(s, one.currency) for s in sums)]


def _json(one: CapStanding) -> dict[str, Any]:
    return {
        "id": one.public_id,
        "subscription": one.subscription,
        "currency": one.currency,
        "amount": one.amount,
        "on_limit": one.on_limit,
        "spent": one.spent,
        "reserved": one.reserved,
        "remaining": one.remaining,
    }
