"""`manage.py reverse_payment`: a payment that never was."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, living_in, now
from apps.core import rls
from apps.invoicing import selectors
from apps.payments import selectors as payment_selectors
from apps.payments import services


class Command(BaseCommand):
    """Take a payment back that was recorded by mistake."""

    help = (
        "Take a payment back that was recorded by mistake: what it paid is due again. Both rows"
        " stay. Refused when its money went back already, or what it bought is used."
    )
    examples = (
        "  manage.py reverse_payment pay_0123456789abcdefghijklmnop --reason 'wrong invoice'\n"
        "  manage.py reverse_payment pay_0123456789abcdefghijklmnop --reason typo --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which and why."""
        parser.add_argument("payment", metavar="PAYMENT", help="its id")
        parser.add_argument("--reason", required=True, help="kept beside it")

    def run(self, **options: Any) -> None:
        """Take it back."""
        with rls.ops_scope("reverse_payment: find the payment"):
            found = payment_selectors.get(options["payment"])
        with living_in(found.organization_id):
            row = services.reverse_payment(
                found.public_id, reason=options["reason"], actor=self.actor, at=now()
            )
            invoice = selectors.get(row.invoice.public_id)
        shown = {
            "id": row.public_id,
            "reverses": found.public_id,
            "invoice": invoice.number,
            "amount": row.amount,
            "currency": row.currency,
            "invoice_status": invoice.status,
            "amount_due": invoice.amount_due,
        }
        if self.as_json:
            self.print_json(shown)
            return
        sums = [amount(part, row.currency) for part in (row.amount, invoice.amount_due)]
        heads = ["Payment", "Invoice", ">Amount", "Status", ">Due"]
        self.print_table(heads, [[row.public_id, invoice.number, sums[0], invoice.status, sums[1]]])
