"""`manage.py retire_coupon`: nobody redeems it any more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.plans import services


class Command(BaseCommand):
    """Withdraw a coupon or a promotion code."""

    help = "Withdraw a coupon, or with --code one of its promotion codes. Who has it keeps it."
    examples = "  manage.py retire_coupon launch\n  manage.py retire_coupon --code LAUNCH20"

    def arguments(self, parser: CommandParser) -> None:
        """Take which."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("coupon", metavar="COUPON", nargs="?")
        which.add_argument("--code", metavar="CODE", help="a promotion code")

    def run(self, **options: Any) -> None:
        """Withdraw it."""
        with rls.ops_scope("retire_coupon"):
            retire = services.retire_promotion_code if options["code"] else services.retire_coupon
            gone = retire(options["code"] or options["coupon"], actor=self.actor, at=now())
        if self.as_json:
            self.print_json({"id": gone.public_id, "code": gone.code, "active": gone.active})
        else:
            self.stdout.write(f"{gone.code} was withdrawn after {gone.redeemed} redemptions.")
