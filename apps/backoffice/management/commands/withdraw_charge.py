"""`manage.py withdraw_charge`: a charge that is not billed yet is taken back."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, inside, now
from apps.backoffice.printing import charge_json
from apps.invoicing import services


class Command(BaseCommand):
    """Withdraw a charge."""

    help = "Take a charge back that no invoice bears; safe to repeat."
    examples = (
        "  manage.py withdraw_charge acme charge_01jd0c8y5wek3t6n4b2m1x9zqr\n"
        "  manage.py withdraw_charge acme charge_01jd0c8y5wek3t6n4b2m1x9zqr --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose and which."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("charge", metavar="ID")

    def run(self, **options: Any) -> None:
        """Withdraw it."""
        with inside(options["organization"], "withdraw_charge") as organization:
            row = services.withdraw_charge(options["charge"], actor=self.actor, at=now())
        if self.as_json:
            self.print_json(charge_json(organization.slug, row))
        self.note(f"{row.name}, {amount(row.amount, row.currency)}, is not charged.")
