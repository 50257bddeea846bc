"""`manage.py create_promotion_code`: a word for a coupon."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import instant, now
from apps.backoffice.offering import add_limits, limits_of
from apps.core import rls
from apps.plans import services
from apps.plans.offers import PromotionRules


class Command(BaseCommand):
    """Create a promotion code, or change its limits."""

    help = "Create a word that customers type for a coupon; its limits stand besides the coupon's."
    examples = (
        "  manage.py create_promotion_code LAUNCH20 launch --expires 2027-01-01\n"
        "  manage.py create_promotion_code THANKS launch --organization acme --max-redemptions 1"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take the word, the coupon and who may use it."""
        parser.add_argument("code", metavar="CODE", help="in any case")
        parser.add_argument("coupon", metavar="COUPON")
        parser.add_argument("--organization", default="", metavar="SLUG", help="for nobody else")
        parser.add_argument("--expires", type=instant, help="the first instant too late")
        add_limits(parser)

    def run(self, **options: Any) -> None:
        """Create it."""
        rules = PromotionRules(
            code=options["code"],
            coupon=options["coupon"],
            organization=options["organization"],
            expires_at=options["expires"],
            **limits_of(options),
        )
        with rls.ops_scope("create_promotion_code"):
            made, outcome = services.define_promotion_code(rules, actor=self.actor, at=now())
        if self.as_json:
            self.print_json({"id": made.public_id, "outcome": outcome, **made.as_dict()})
        else:
            row = [made.code, made.coupon, made.organization or "everybody", outcome]
            self.print_table(["Code", "Coupon", "For", "Outcome"], [row])
