"""`manage.py record_payment`: money came in."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, decimal, inside_owner_of, instant, now
from apps.engine.period import iso
from apps.invoicing import selectors
from apps.payments import services


class Command(BaseCommand):
    """Record a payment received outside the system."""

    help = (
        "Record a payment on an invoice, also a partial one. A reference counts once an invoice, so"
        " entering the same bank line again is refused; so is more than is due, unless it is kept."
    )
    examples = (
        "  manage.py record_payment CH-000003 --amount 262.99 --reference 'SEPA 2023-12-05/17'\n"
        "  manage.py record_payment CH-000003 --amount 100 --received 2023-12-05"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take what was paid."""
        parser.add_argument("number", metavar="NUMBER", help="the invoice's number or id")
        parser.add_argument("--amount", type=decimal, required=True, help="such as 262.99")
        parser.add_argument("--reference", default="", metavar="TEXT", help="the bank's reference")
        parser.add_argument(
            "--keep-excess", action="store_true", help="keep what is more than is due as credit"
        )
        parser.add_argument("--received", type=instant, help="when it came; default now")

    def run(self, **options: Any) -> None:
        """Record it."""
        with inside_owner_of(options["number"], "record_payment"):
            payment = services.record_payment(
                options["number"],
                amount=options["amount"],
                reference=options["reference"],
                received_at=options["received"],
                keep_excess=options["keep_excess"],
                actor=self.actor,
                at=now(),
            )
            invoice = selectors.get(options["number"])
        shown = {
            "id": payment.public_id,
            "invoice": invoice.number,
            "amount": payment.amount,
            "excess": payment.excess,
            "currency": payment.currency,
            "reference": payment.reference,
            "received_at": iso(payment.received_at),
            "invoice_status": invoice.status,
            "amount_due": invoice.amount_due,
        }
        paid, due = (amount(n, payment.currency) for n in (payment.amount, invoice.amount_due))
        if self.as_json:
            self.print_json(shown)
        else:
            row = [payment.public_id, invoice.number, paid, payment.reference, invoice.status, due]
            heads = ["Payment", "Invoice", ">Amount", "Reference", "Status", ">Still due"]
            self.print_table(heads, [row])
        self.note(f"{paid} recorded on {invoice.number}; {due} still due.")
