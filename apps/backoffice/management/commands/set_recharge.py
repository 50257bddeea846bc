"""`manage.py set_recharge`: credit that buys itself."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, decimal, inside, now
from apps.core.errors import Invalid
from apps.invoicing import credit, services
from apps.invoicing.models import RechargeRule


class Command(BaseCommand):
    """Buy credit whenever little is left, or stop doing so."""

    help = (
        "Buy credit whenever an invoice, an expiry or a withdrawal leaves less than the threshold,"
        " once a cause and not while bought credit is still to be paid. Replaces the rule before."
    )
    examples = (
        "  manage.py set_recharge acme --threshold 20 --amount 100 --monthly-cap 500\n"
        "  manage.py set_recharge acme --off"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, when and how much."""
        parser.add_argument("organization", metavar="ORGANIZATION", help="slug or id")
        parser.add_argument("--threshold", type=decimal, help="buy when less is left")
        parser.add_argument("--amount", type=decimal, help="how much to buy")
        parser.add_argument("--monthly-cap", type=decimal, help="at most in a calendar month")
        parser.add_argument("--currency", default="", help="default: the organization's")
        parser.add_argument("--off", action="store_true", help="buy no more by itself")

    def run(self, **options: Any) -> None:
        """Set it."""
        said = options["threshold"] is not None and options["amount"] is not None
        if options["off"] == said:
            raise Invalid("Say --threshold and --amount, or --off.")
        with inside(options["organization"], "set_recharge") as organization:
            who = {"currency": options["currency"], "actor": self.actor, "at": now()}
            if options["off"]:
                services.stop_recharge(organization.pk, **who)
            else:
                services.set_recharge(
                    organization.pk,
                    threshold=options["threshold"],
                    amount=options["amount"],
                    monthly_cap=options["monthly_cap"],
                    **who,
                )
            rules = credit.recharge_rules(organization.pk)
        for rule in rules:
            if 0 < rule.monthly_cap < rule.amount:
                cap = amount(rule.monthly_cap, rule.currency)
                self.note(f"The cap is below one recharge: it buys {cap} a month and no more.")
        self._print(rules)

    def _print(self, rules: Any) -> None:
        if self.as_json:
            self.print_json([_json(rule) for rule in rules])
            return
        heads = ["Currency", ">Below", ">Buys", ">A month at most"]
        self.print_table(
            heads,
            [
                (
                    rule.currency,
                    amount(rule.threshold, rule.currency),
                    amount(rule.amount, rule.currency),
                    amount(rule.monthly_cap, rule.currency) if rule.monthly_cap else "",
                )
                for rule in rules
            ],
        )


def _json(rule: RechargeRule) -> dict[str, Any]:
    return {
        "id": rule.public_id,
        "currency": rule.currency,
        "threshold": rule.threshold,
        "amount": rule.amount,
        "monthly_cap": rule.monthly_cap or None,
    }
