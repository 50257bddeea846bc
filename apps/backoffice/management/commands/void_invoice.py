"""`manage.py void_invoice`: an invoice that should not have been."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside_owner_of, now
from apps.backoffice.printing import invoice_json, waiting_again
from apps.invoicing import selectors, services
from apps.invoicing.models import Invoice


class Command(BaseCommand):
    """Declare an unpaid invoice void."""

    help = (
        "Declare an unpaid invoice void. It keeps its number; its period is billed again only by"
        " rebill_invoice. Single charges wait for the next invoice; withdraw_charge takes them"
        " back."
    )
    examples = (
        "  manage.py void_invoice CH-000003 --reason 'wrong price agreed'\n"
        "  manage.py void_invoice CH-000003 --reason duplicate --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which and why."""
        parser.add_argument("number", metavar="NUMBER", help="the invoice's number or id")
        parser.add_argument("--reason", required=True, help="kept on the invoice")

    def run(self, **options: Any) -> None:
        """Void it."""
        with inside_owner_of(options["number"], "void_invoice"):
            row = services.void_invoice(
                options["number"], reason=options["reason"], actor=self.actor, at=now()
            )
            document = selectors.document(selectors.get(row.public_id))
            said = _told(row)
        if self.as_json:
            self.print_json(invoice_json(document))
        else:
            self.print_table(["Invoice", "Status"], [[row.number, row.status]])
        self.note(said)


def _told(row: Invoice) -> str:
    """Return what becomes of what was billed; only a boundary's invoice can be billed anew."""
    anew = f"; rebill_invoice {row.number} bills its period anew"
    first = f"{row.number} is void{'' if row.boundary_at is None else anew}."
    return " ".join([first, *waiting_again(row, selectors.charges_on(row))])
