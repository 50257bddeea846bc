"""`manage.py collect_invoice`: charge an invoice through the provider."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, inside_owner_of, now
from apps.payments import services


class Command(BaseCommand):
    """Charge what is due on an invoice now."""

    help = (
        "Charge what is due on an invoice to a saved payment method. A refused card is an answer:"
        " the attempt says why. Where the provider does not answer, it goes on by itself."
    )
    examples = (
        "  manage.py collect_invoice CH-000003\n"
        "  manage.py collect_invoice CH-000003 --method pmt_01h455vb4pex5vsknk084sn02q"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take what is charged, and to what."""
        parser.add_argument("number", metavar="NUMBER", help="the invoice's number or id")
        parser.add_argument("--method", default="", metavar="ID", help="default: the default one")

    def run(self, **options: Any) -> None:
        """Charge it."""
        with inside_owner_of(options["number"], "collect_invoice"):
            at = now()
        attempt = services.charge_now(
            options["number"], method=options["method"], actor=self.actor, at=at
        )
        shown = {
            "id": attempt.public_id,
            "number": attempt.number,
            "amount": attempt.amount,
            "currency": attempt.currency,
            "status": attempt.status,
            "decline_code": attempt.decline_code,
            "decline_class": attempt.decline_class,
            "message": attempt.message,
        }
        if self.as_json:
            self.print_json(shown)
            return
        charged = amount(attempt.amount, attempt.currency)
        heads = ["Attempt", "Invoice", ">Amount", "Status", "Refused with", "Message"]
        row = [attempt.public_id, options["number"], charged, attempt.status]
        self.print_table(heads, [[*row, attempt.decline_code, attempt.message]])
