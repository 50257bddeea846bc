"""What the commands about coupons, promotion codes and tax rates share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import comma_separated, decimal
from apps.engine.decimals import plain
from apps.plans.offers import Amounts


def amounts(text: str) -> dict[str, Decimal]:
    """Read `USD=10,EUR=9.50` for argparse: major units by currency."""
    found: dict[str, Decimal] = {}
    for part in comma_separated(text):
        code, equals, amount = part.partition("=")
        if not equals or code in found:
            raise argparse.ArgumentTypeError(f"'{part}' is no amount; write USD=10,EUR=9.50")
        found[code] = decimal(amount)
    return found


def day(text: str) -> date:
    """Read a day for argparse: 2027-01-31."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no day; write 2027-01-31") from None


def add_limits(parser: CommandParser) -> None:
    """Take who may redeem, and how often."""
    parser.add_argument("--max-redemptions", type=int, metavar="N", help="by everybody together")
    parser.add_argument("--max-per-organization", type=int, metavar="N")
    parser.add_argument("--first-time-only", action="store_true", help="for who never paid before")
    parser.add_argument(
        "--minimum", type=amounts, default={}, metavar="USD=50,…", help="the least to be owed"
    )


def limits_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was said of the limits, as the rules call it."""
    return {
        "max_redemptions": options["max_redemptions"],
        "max_per_organization": options["max_per_organization"],
        "first_time_only": options["first_time_only"],
        "minimum_amounts": options["minimum"],
    }


def worth(percent: Decimal | None, fixed: Amounts) -> str:
    """Return what a coupon takes off, for people: `20 %`, `10 USD or 9 EUR`."""
    if percent is not None:
        return f"{plain(percent)} %"
    return " or ".join(f"{plain(amount)} {code}" for code, amount in fixed.items())
