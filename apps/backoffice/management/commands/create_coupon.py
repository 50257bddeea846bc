"""`manage.py create_coupon`: something comes off."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import comma_separated, decimal, instant, now
from apps.backoffice.offering import add_limits, amounts, limits_of, worth
from apps.core import rls
from apps.plans import services
from apps.plans.offers import CouponRules


class Command(BaseCommand):
    """Create a coupon, or change its name and limits."""

    help = (
        "Create a coupon. Doing it again changes its name, place and limits in number and time;"
        " what it takes off stays."
    )
    examples = (
        '  manage.py create_coupon launch --name "Launch offer" --percent 20 --months 3\n'
        "  manage.py create_coupon seat --amounts USD=10,EUR=9 --prices seats --max-redemptions 99"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take what comes off, of what, for how long and for whom."""
        parser.add_argument("code", metavar="CODE")
        parser.add_argument("--name", help="as the invoice says it; default: the code")
        worth_of = parser.add_mutually_exclusive_group(required=True)
        worth_of.add_argument("--percent", type=decimal, metavar="20")
        worth_of.add_argument("--amounts", type=amounts, default={}, metavar="USD=10,…")
        lasts = parser.add_mutually_exclusive_group()
        lasts.add_argument("--months", type=int, help="for so many months; default: once")
        lasts.add_argument("--forever", action="store_true", help="for good")
        parser.add_argument("--plans", type=comma_separated, default=[], metavar="A,B")
        parser.add_argument("--prices", type=comma_separated, default=[], metavar="A,B")
        parser.add_argument("--redeem-by", type=instant, help="the first instant too late")
        parser.add_argument("--alone", action="store_true", help="not beside other coupons")
        parser.add_argument("--position", type=int, default=0, help="lower ones come off first")
        add_limits(parser)

    def run(self, **options: Any) -> None:
        """Create it."""
        with rls.ops_scope("create_coupon"):
            made, outcome = services.define_coupon(_rules(options), actor=self.actor, at=now())
        if self.as_json:
            self.print_json({"id": made.public_id, "outcome": outcome, **made.as_dict()})
        else:
            row = [made.code, worth(made.percent, made.amounts), made.duration, outcome]
            self.print_table(["Coupon", "Takes off", "Runs", "Outcome"], [row])


def _rules(options: dict[str, Any]) -> CouponRules:
    once = "repeating" if options["months"] is not None else "once"
    return CouponRules(
        code=options["code"],
        name=options["name"] or options["code"],
        percent=options["percent"],
        amounts=options["amounts"],
        duration="forever" if options["forever"] else once,
        months=options["months"],
        plans=tuple(options["plans"]),
        prices=tuple(options["prices"]),
        redeem_by=options["redeem_by"],
        stackable=not options["alone"],
        position=options["position"],
        **limits_of(options),
    )
