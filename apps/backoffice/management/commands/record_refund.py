"""`manage.py record_refund`: money went back."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, decimal, instant, living_in, now
from apps.core import rls
from apps.engine.period import iso
from apps.invoicing import credit
from apps.payments import services


class Command(BaseCommand):
    """Record that money was paid back which a credit note promised."""

    help = (
        "Record money that was paid back for a credit note, also a part of it; without --amount all"
        " that is left. A reference counts once a note."
    )
    examples = (
        "  manage.py record_refund CH-CN-000001 --reference 'SEPA 2023-12-07/3'\n"
        "  manage.py record_refund CH-CN-000001 --amount 10 --paid 2023-12-07"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take for what, and how much."""
        parser.add_argument("note", metavar="NUMBER", help="the credit note's number or id")
        parser.add_argument("--amount", type=decimal, help="such as 11.90")
        parser.add_argument("--reference", default="", metavar="TEXT", help="the bank's reference")
        parser.add_argument("--payment", default="", help="id of the payment that is paid back")
        parser.add_argument("--paid", type=instant, help="when; default now")

    def run(self, **options: Any) -> None:
        """Record it."""
        with rls.ops_scope("record_refund: find the credit note"):
            note = credit.get_credit_note(options["note"])
        with living_in(note.organization_id):
            row = services.record_refund(
                note.public_id,
                amount=options["amount"],
                reference=options["reference"],
                payment=options["payment"],
                refunded_at=options["paid"],
                actor=self.actor,
                at=now(),
            )
        if self.as_json:
            self.print_json(
                {
                    "id": row.public_id,
                    "credit_note": note.number,
                    "amount": row.amount,
                    "currency": row.currency,
                    "reference": row.reference,
                    "refunded_at": iso(row.refunded_at),
                }
            )
            return
        paid = amount(row.amount, row.currency)
        heads = ["Refund", "Credit note", ">Amount", "Reference"]
        self.print_table(heads, [[row.public_id, note.number, paid, row.reference]])
