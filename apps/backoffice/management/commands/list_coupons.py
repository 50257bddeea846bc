"""`manage.py list_coupons`: what comes off, by which words, how often."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.offering import worth
from apps.core import rls
from apps.plans import selectors
from apps.plans.selectors import CouponTerms, PromotionTerms


class Command(BaseCommand):
    """List the coupons with their promotion codes."""

    help = "List the coupons, in the order in which they come off, with their promotion codes."
    examples = "  manage.py list_coupons\n  manage.py list_coupons --all --format json"

    def arguments(self, parser: CommandParser) -> None:
        """Take --all."""
        parser.add_argument("--all", action="store_true", help="withdrawn ones too")

    def run(self, **options: Any) -> None:
        """List them."""
        with rls.ops_scope("list_coupons"):
            found = selectors.coupons(active=None if options["all"] else True)
            codes = selectors.promotion_codes()
        if self.as_json:
            self.print_json([_facts(one, _of(one, codes)) for one in found])
        else:
            columns = ["Coupon", "Takes off", "Runs", ">Redeemed", "Active", "Codes"]
            self.print_table(columns, [_row(one, _of(one, codes)) for one in found])


def _of(coupon: CouponTerms, codes: list[PromotionTerms]) -> list[PromotionTerms]:
    return [code for code in codes if code.terms.id == coupon.id]


def _facts(coupon: CouponTerms, codes: list[PromotionTerms]) -> dict[str, Any]:
    said = [{**one.as_dict(), "active": one.active, "redeemed": one.redeemed} for one in codes]
    own = {"id": coupon.public_id, "active": coupon.active, "redeemed": coupon.redeemed}
    return {**own, **coupon.as_dict(), "promotion_codes": said}


def _row(coupon: CouponTerms, codes: list[PromotionTerms]) -> tuple[object, ...]:
    runs = f"{coupon.months} months" if coupon.months else coupon.duration
    most = "" if coupon.max_redemptions is None else f" of {coupon.max_redemptions}"
    return (
        coupon.code,
        worth(coupon.percent, coupon.amounts),
        runs,
        f"{coupon.redeemed}{most}",
        "yes" if coupon.active else "no",
        ", ".join(one.code for one in codes),
    )
