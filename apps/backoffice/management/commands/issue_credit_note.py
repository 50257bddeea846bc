"""`manage.py issue_credit_note`: taking back part of an invoice."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, decimal, inside_owner_of, now
from apps.backoffice.crediting import note_json
from apps.invoicing import credit, services
from apps.invoicing.models import CreditNote
from apps.invoicing.services import NoteLine, Split


class Command(BaseCommand):
    """Take back part of a final invoice, or all that is left of it."""

    help = (
        "Issue a credit note. Without --line and --total it takes back what is left. What is due"
        " is lowered first, the rest becomes the customer's credit; --refund promises to pay back,"
        " which record_refund records."
    )
    examples = (
        "  manage.py issue_credit_note CH-000003 --reason other --total 23.80\n"
        "  manage.py issue_credit_note CH-000003 --reason order_change --line 2=10 --refund 11.90"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take what of which invoice, why, and where it goes."""
        parser.add_argument("number", metavar="NUMBER", help="the invoice's number or id")
        parser.add_argument("--reason", choices=CreditNote.Reason.values, required=True)
        parser.add_argument(
            "--line",
            type=_line,
            action="append",
            default=[],
            metavar="2=10.00",
            help="position or id of a line, and how much before discount and tax; without: all",
        )
        parser.add_argument("--total", type=decimal, help="with its tax, spread over the lines")
        parser.add_argument("--memo", default="", help="printed on the note")
        parser.add_argument("--offset", type=decimal, help="so much lowers what is due")
        parser.add_argument("--credit", type=decimal, help="so much becomes credit")
        parser.add_argument("--refund", type=decimal, help="so much is to be paid back")

    def run(self, **options: Any) -> None:
        """Issue it."""
        number = options["number"]
        with inside_owner_of(number, "issue_credit_note"):
            note = services.issue_credit_note(
                number,
                reason=options["reason"],
                lines=_named(number, options["line"]),
                total=options["total"],
                memo=options["memo"],
                split=Split(
                    offset=options["offset"], credit=options["credit"], refund=options["refund"]
                ),
                actor=self.actor,
                at=now(),
            )
            row = credit.get_credit_note(note.public_id)
            shown = note_json(row)
        if self.as_json:
            self.print_json(shown)
            return
        parts = (row.total, row.offset_amount, row.credited_amount, row.refunded_amount)
        heads = ["Credit note", "Invoice", ">Total", ">Offset", ">Credit", ">To pay back"]
        sums = [amount(part, row.currency) for part in parts]
        self.print_table(heads, [[row.number, row.invoice.number, *sums]])


def _line(text: str) -> tuple[str, Any]:
    which, _, how_much = text.partition("=")
    if not which:
        raise argparse.ArgumentTypeError(f"'{text}' names no line; write 2=10.00")
    return which, decimal(how_much) if how_much else None


def _named(number: str, lines: list[tuple[str, Any]]) -> list[NoteLine]:
    """Return the lines by their ids; people count them."""
    known = credit.line_ids(number) if lines else {}
    return [NoteLine(line=known.get(which, which), amount=how_much) for which, how_much in lines]
