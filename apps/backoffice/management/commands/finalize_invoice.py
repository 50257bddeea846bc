"""`manage.py finalize_invoice`: issue a draft."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, inside_owner_of, now
from apps.backoffice.printing import invoice_json
from apps.invoicing import selectors, services


class Command(BaseCommand):
    """Give a draft its number; from then on it never changes."""

    help = "Issue a draft that bill_due --keep-drafts wrote: it gets its number and stays as it is."
    examples = (
        "  manage.py finalize_invoice inv_01jd0c8y5wek3t6n4b2m1x9zqr\n"
        "  manage.py finalize_invoice inv_01jd0c8y5wek3t6n4b2m1x9zqr --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which."""
        parser.add_argument("invoice", metavar="ID", help="the draft's id; show_invoice --draft")

    def run(self, **options: Any) -> None:
        """Issue it."""
        with inside_owner_of(options["invoice"], "finalize_invoice"):
            row = services.finalize_invoice(options["invoice"], actor=self.actor, at=now())
            document = selectors.document(selectors.get(row.public_id))
        total = amount(document.total, document.currency)
        if self.as_json:
            self.print_json(invoice_json(document))
        else:
            self.print_table(["Invoice", "Status", ">Total"], [[row.number, row.status, total]])
        self.note(f"{row.number} is issued: {total}.")
