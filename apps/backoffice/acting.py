"""Commands that do one thing to one invoice, and show what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command, amount, inside_owner_of, now
from apps.backoffice.printing import invoice_json
from apps.invoicing import selectors
from apps.invoicing.models import Invoice


class ActOnInvoice(Command):
    """Subclasses say what is done in `act` and what to tell in `told`, or in `gone` where no
    invoice is left. `why` asks for a reason.
    """

    why = ""
    gone = ""

    def arguments(self, parser: CommandParser) -> None:
        """Take which, and why where that is asked."""
        parser.add_argument("invoice", metavar="INVOICE", help="its number or id")
        if self.why:
            parser.add_argument("--reason", required=True, help=self.why)

    def run(self, **options: Any) -> None:
        """Do it, and show the invoice as it is then."""
        reference = options["invoice"]
        with inside_owner_of(reference, type(self).__module__.rsplit(".", 1)[-1]):
            row = self.act(reference, at=now(), reason=options.get("reason", ""))
            document = None if row is None else selectors.document(selectors.get(row.public_id))
        if self.as_json:
            self.print_json(None if document is None else invoice_json(document))
        elif document is not None:
            total = amount(document.total, document.currency)
            name = document.number or document.id
            self.print_table(["Invoice", "Status", ">Total"], [[name, document.status, total]])
        self.note(self.gone if row is None else self.told(row))

    def act(self, reference: str, *, at: datetime, reason: str) -> Invoice | None:
        """Do it; return the invoice, or None when none is left."""
        raise NotImplementedError

    def told(self, row: Invoice) -> str:
        """Return the sentence that ends the command."""
        return f"{row} is {row.status}."
