"""`manage.py apply_coupon`: a coupon or promotion code for a customer."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, now, the_subscription
from apps.engine.period import iso
from apps.invoicing import selectors as invoicing
from apps.subscriptions import services
from apps.subscriptions.selectors import DiscountFacts
from apps.tenants.models import Organization


class Command(BaseCommand):
    """Redeem a coupon, or take a discount away."""

    help = (
        "Redeem a promotion code or coupon for one subscription, or with --everything for all that"
        " the organization pays; --remove takes a discount away by its id."
    )
    examples = (
        "  manage.py apply_coupon acme LAUNCH20 --subscription gateway\n"
        "  manage.py apply_coupon acme partner --everything"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose and which."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("code", metavar="CODE", help="with --remove the discount's id")
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        what.add_argument("--everything", action="store_true", help="all of its subscriptions")
        what.add_argument("--remove", action="store_true", help="take the discount away")

    def run(self, **options: Any) -> None:
        """Redeem it, or remove it."""
        with inside(options["organization"], "apply_coupon") as organization:
            if options["remove"]:
                found = services.remove_discount(options["code"], actor=self.actor, at=now())
            else:
                found = self._redeem(organization, options)
        self._show(found)
        outcome = "counts no more" if options["remove"] else "counts from now on"
        self.note(f"{found.coupon.name} of {organization.slug} {outcome}.")

    def _redeem(self, organization: Organization, options: dict[str, Any]) -> DiscountFacts:
        chosen = ""
        if not options["everything"]:
            chosen = the_subscription(organization, options["subscription"]).public_id
        return services.apply_discount(
            organization.pk,
            code=options["code"],
            subscription_id=chosen,
            owed=invoicing.owed_next(chosen) if chosen else None,
            actor=self.actor,
            at=now(),
        )

    def _show(self, found: DiscountFacts) -> None:
        start, end = found.during
        if self.as_json:
            self.print_json(
                {
                    "id": found.public_id,
                    "coupon": found.coupon.code,
                    "promotion_code": found.promotion_code or None,
                    "from": iso(start),
                    "until": None if end is None else iso(end),
                    "removed_at": None if found.removed_at is None else iso(found.removed_at),
                }
            )
            return
        row = [found.public_id, found.coupon.code, iso(start), "open" if end is None else iso(end)]
        self.print_table(["Id", "Coupon", "From", "Until"], [row])
