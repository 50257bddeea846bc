"""`manage.py check_access`: may it be used now, and how much is left."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import decimal, inside, now
from apps.backoffice.printing import exact_money
from apps.core.errors import Invalid
from apps.engine.decimals import plain
from apps.engine.period import iso
from apps.entitlements import selectors
from apps.entitlements.selectors import Decision


class Command(BaseCommand):
    """Ask what products ask before something is used."""

    help = (
        "Say whether an organization may use so much of a feature now, why not, what is left of it,"
        " and what it would cost. Changes nothing. Exit code 1 when it may not."
    )
    examples = (
        "  manage.py check_access acme atlas_reports\n"
        "  manage.py check_access acme atlas_reports --amount 25 --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, what and how much."""
        parser.add_argument("organization", metavar="ORGANIZATION", help="slug or id")
        parser.add_argument("feature", metavar="FEATURE", help="its key")
        parser.add_argument("--amount", type=decimal, default=Decimal(1), help="usual: 1")

    def run(self, **options: Any) -> None:
        """Ask and tell."""
        if options["amount"] < 0:
            raise Invalid("Ask for nothing or more.", param="amount")
        with inside(options["organization"], "check_access") as organization:
            found = selectors.decide(
                organization.pk, options["feature"], options["amount"], at=now()
            )
        if self.as_json:
            self.print_json(_json(found))
        else:
            heads = ["Feature", "Allowed", "Reason", ">Limit", ">Used", ">Reserved", ">Left"]
            self.print_table([*heads, "Counts anew", ">Would cost"], [_row(found)])
        if not found.allowed:
            raise SystemExit(1)


def _row(found: Decision) -> list[object]:
    numbers = (found.limit, found.used, found.reserved, found.remaining)
    price = found.price
    return [
        found.feature,
        "yes" if found.allowed else "no",
        found.sentence,
        *("" if number is None else plain(number) for number in numbers),
        "" if found.resets_at is None else iso(found.resets_at),
        "" if price is None else exact_money(price.exact, price.currency),
    ]


def _json(found: Decision) -> dict[str, Any]:
    numbers = {
        "limit": found.limit,
        "used": found.used,
        "reserved": found.reserved,
        "remaining": found.remaining,
    }
    price = found.price
    return {
        "feature": found.feature,
        "allowed": found.allowed,
        "reason": str(found.reason),
        "value": found.value,
        **{key: None if number is None else plain(number) for key, number in numbers.items()},
        "resets_at": None if found.resets_at is None else iso(found.resets_at),
        "warnings": [str(one) for one in found.warnings],
        "price": None
        if price is None
        else {"currency": price.currency, "amount": price.amount, "exact": price.exact},
    }
