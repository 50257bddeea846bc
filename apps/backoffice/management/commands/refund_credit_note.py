"""`manage.py refund_credit_note`: have the provider pay back what a credit note promised."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, living_in, now
from apps.core import rls
from apps.invoicing import credit
from apps.payments import services


class Command(BaseCommand):
    """Order what is left of a credit note's refund."""

    help = (
        "Have the provider pay back what is left of a credit note's refund, to the payments that"
        " came through it. It is ordered by itself when the note is issued: this is for one that"
        " failed. Safe to repeat."
    )
    examples = (
        "  manage.py refund_credit_note CH-CN-000001\n"
        "  manage.py refund_credit_note CH-CN-000001 --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take for what."""
        parser.add_argument("note", metavar="NUMBER", help="the credit note's number or id")

    def run(self, **options: Any) -> None:
        """Order it."""
        with rls.ops_scope("refund_credit_note: find the credit note"):
            note = credit.get_credit_note(options["note"])
        with living_in(note.organization_id):
            orders = services.refund(note.public_id, actor=self.actor, at=now())
        if self.as_json:
            shown = [
                {
                    "id": one.public_id,
                    "payment": one.payment.public_id,
                    "amount": one.amount,
                    "currency": one.currency,
                    "status": one.status,
                }
                for one in orders
            ]
            self.print_json(shown)
            return
        heads = ["Order", "Credit note", "Payment", ">Amount", "Status"]
        rows = [
            [
                one.public_id,
                note.number,
                one.payment.reference,
                amount(one.amount, one.currency),
                one.status,
            ]
            for one in orders
        ]
        self.print_table(heads, rows)
