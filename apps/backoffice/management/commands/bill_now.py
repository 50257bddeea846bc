"""`manage.py bill_now`: what waits on a subscription is billed before its boundary."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, inside, now, the_subscription
from apps.backoffice.printing import counted, invoice_json
from apps.invoicing import selectors, services


class Command(BaseCommand):
    """Bill what waits on a subscription."""

    help = (
        "Bill what waits on a subscription without waiting for its boundary: changes up to now,"
        " charges and corrections. Usage is billed by bill_due and bill_thresholds."
    )
    examples = (
        "  manage.py bill_now acme\n  manage.py bill_now acme --subscription gateway --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )

    def run(self, **options: Any) -> None:
        """Bill it."""
        with inside(options["organization"], "bill_now") as organization:
            chosen = the_subscription(organization, options["subscription"])
            row = services.bill_now(chosen.public_id, actor=self.actor, at=now())
            document = selectors.document(selectors.get(row.public_id))
        total = amount(document.total, document.currency)
        name = document.number or document.id
        if self.as_json:
            self.print_json(invoice_json(document))
        else:
            self.print_table(["Invoice", "Status", ">Total"], [[name, document.status, total]])
        held = f" It is held: {row.hold_reason}" if row.is_held else ""
        self.note(f"{name}: {counted(len(document.lines), 'line')}, {total}.{held}")
