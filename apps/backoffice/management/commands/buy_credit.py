"""`manage.py buy_credit`: credit that is paid in advance."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, decimal, inside, now
from apps.backoffice.crediting import add_terms, terms_of
from apps.backoffice.printing import invoice_json
from apps.invoicing import selectors, services
from apps.invoicing.models import Invoice
from apps.invoicing.services.recharging import SOLD


class Command(BaseCommand):
    """Sell an organization credit."""

    help = (
        "Issue an invoice over credit. The credit is there when the invoice is paid, and bears no"
        " tax before it pays for something. With a --source it is safe to repeat."
    )
    examples = (
        "  manage.py buy_credit acme 500\n"
        "  manage.py buy_credit acme 12000 --kind commitment --expires 2025-01-01 --source DEAL-9"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take who, how much and on which terms."""
        parser.add_argument("organization", metavar="ORGANIZATION", help="slug or id")
        parser.add_argument("amount", metavar="AMOUNT", type=decimal, help="such as 500")
        parser.add_argument("--currency", default="", help="default: the organization's")
        parser.add_argument("--kind", choices=[str(kind) for kind in SOLD], default=str(SOLD[0]))
        parser.add_argument("--source", default="", help="the cause; of one there is one purchase")
        parser.add_argument("--due-in-days", type=int, help="default: the issuer's terms")
        add_terms(parser)

    def run(self, **options: Any) -> None:
        """Sell it."""
        with inside(options["organization"], "buy_credit") as organization:
            row = services.buy_credit(
                organization.pk,
                amount=options["amount"],
                currency=options["currency"],
                kind=options["kind"],
                terms=terms_of(options),
                source=options["source"],
                due_in_days=options["due_in_days"],
                actor=self.actor,
                at=now(),
            )
            document = selectors.document(selectors.get(row.public_id))
        if self.as_json:
            self.print_json(invoice_json(document))
        else:
            name = document.number or document.id
            total = amount(document.total, document.currency)
            self.print_table(["Invoice", "Status", ">Total"], [[name, document.status, total]])
        self.note(_told(row))


def _told(row: Invoice) -> str:
    if not row.is_held:
        return "The credit is there when this is paid."
    why = row.hold_reason.rstrip(".")
    return (
        f"It is held, not issued: {why}. Run approve_invoice {row.public_id} to issue it;"
        " the credit is there when it is paid."
    )
