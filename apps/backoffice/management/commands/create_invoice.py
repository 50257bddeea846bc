"""`manage.py create_invoice`: an invoice of its own, for single amounts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, charge_item, inside, now
from apps.backoffice.printing import counted, invoice_json
from apps.engine.money import InvalidAmount, Money, UnknownCurrency
from apps.invoicing import selectors, services
from apps.invoicing.services import NewCharge
from apps.tenants.models import Organization


class Command(BaseCommand):
    """Bill single amounts at once."""

    help = (
        "Issue an invoice for single amounts: charges that wait (--charge), and new ones (--item)."
        " --draft keeps it for review."
    )
    examples = (
        "  manage.py create_invoice acme --item 'Training day=950.00' --item 'Travel=120.40'\n"
        "  manage.py create_invoice acme --charge charge_01jd0c8y5wek3t6n4b2m1x9zqr --draft"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whom, what, and the terms."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("--charge", action="append", default=[], metavar="ID")
        parser.add_argument(
            "--item", action="append", default=[], type=charge_item, metavar="NAME=AMOUNT"
        )
        parser.add_argument("--currency", default="", help="of new ones; default: the customer's")
        parser.add_argument("--due-in-days", type=int, metavar="N", help="default: as usual")
        parser.add_argument("--memo", default="", help="printed on the invoice")
        parser.add_argument("--draft", action="store_true", help="keep it as a draft")

    def run(self, **options: Any) -> None:
        """Issue it."""
        if not options["charge"] and not options["item"]:
            raise CommandError("Say what is billed: --charge ID or --item NAME=AMOUNT.")
        with inside(options["organization"], "create_invoice") as organization:
            with transaction.atomic():
                row = services.invoice_charges(
                    [*options["charge"], *self._charged(organization, options)],
                    due_in_days=options["due_in_days"],
                    memo=options["memo"],
                    draft=options["draft"],
                    actor=self.actor,
                    at=now(),
                )
            document = selectors.document(selectors.get(row.public_id))
        total = amount(document.total, document.currency)
        name = document.number or document.id
        if self.as_json:
            self.print_json(invoice_json(document))
        else:
            self.print_table(["Invoice", "Status", ">Total"], [[name, document.status, total]])
        held = f" It is held: {row.hold_reason}" if row.is_held else ""
        self.note(f"{name}: {counted(len(document.lines), 'line')}, {total}.{held}")

    def _charged(self, organization: Organization, options: dict[str, Any]) -> list[str]:
        currency = options["currency"].upper()
        for name, price in options["item"]:
            _refuse_finer(name, price, currency or organization.currency)
        made = [
            services.add_charge(
                organization.pk,
                new=NewCharge(name=name, unit_amount=price, currency=currency),
                actor=self.actor,
                at=now(),
            )
            for name, price in options["item"]
        ]
        return [row.public_id for row in made]


def _refuse_finer(name: str, price: Decimal, currency: str) -> None:
    """Refuse what nobody can pay: an item is an amount, not a rate that is rounded."""
    try:
        Money.of(price, currency)
    except (InvalidAmount, UnknownCurrency) as error:
        raise CommandError(f"{name}: {error}.") from error
