"""`manage.py rebill_invoice`: bill the period of a void invoice anew."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, inside_owner_of, now
from apps.backoffice.printing import invoice_json
from apps.invoicing import selectors, services


class Command(BaseCommand):
    """Bill what a void invoice billed, with the usage as it stands now."""

    help = "Bill the period of a void invoice anew, with the usage as it stands now."
    examples = (
        "  manage.py rebill_invoice CH-000003\n  manage.py rebill_invoice CH-000003 --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which."""
        parser.add_argument("number", metavar="NUMBER", help="the void invoice's number or id")

    def run(self, **options: Any) -> None:
        """Bill it anew."""
        with inside_owner_of(options["number"], "rebill_invoice"):
            row = services.rebill_invoice(options["number"], actor=self.actor, at=now())
            document = selectors.document(selectors.get(row.public_id))
        total = amount(document.total, document.currency)
        if self.as_json:
            self.print_json(invoice_json(document))
        else:
            self.print_table(["Invoice", "Status", ">Total"], [[row.number, row.status, total]])
        self.note(f"{row.number} bills anew what {options['number']} did: {total}.")
