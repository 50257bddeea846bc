"""`manage.py add_charge`: a single amount for the next invoice."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, decimal, inside, instant, now, the_subscription
from apps.backoffice.printing import charge_json
from apps.core.errors import Invalid
from apps.engine.period import Period
from apps.invoicing import selectors, services


class Command(BaseCommand):
    """Charge a single amount."""

    help = (
        "Put a single amount on the organization's next invoice, or on that of one subscription;"
        " a negative one is an allowance. create_invoice bills charges at once."
    )
    examples = (
        "  manage.py add_charge acme 'Training day' 950.00 --quantity 2\n"
        "  manage.py add_charge acme Goodwill -25.00 --subscription gateway --source ticket-4711"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whom, what and how much."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("name", metavar="NAME", help="as the invoice says it")
        parser.add_argument("unit_amount", type=decimal, metavar="AMOUNT", help="of one")
        parser.add_argument("--quantity", type=decimal, default=Decimal(1), metavar="N")
        parser.add_argument("--currency", default="", help="default: the customer's")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="or its application or plan"
        )
        parser.add_argument("--start", type=instant, help="of the service; with --end")
        parser.add_argument("--end", type=instant, help="the first instant after it")
        parser.add_argument("--source", default="", help="of the same one only one is charged")

    def run(self, **options: Any) -> None:
        """Charge it."""
        with inside(options["organization"], "add_charge") as organization:
            wanted = options["subscription"]
            chosen = the_subscription(organization, wanted).public_id if wanted else ""
            new = services.NewCharge(
                name=options["name"],
                unit_amount=options["unit_amount"],
                quantity=options["quantity"],
                currency=options["currency"].upper(),
                subscription=chosen,
                period=_period(options),
                source=options["source"],
            )
            there = selectors.has_charge(organization.pk, options["source"])
            row = services.add_charge(organization.pk, new=new, actor=self.actor, at=now())
        if self.as_json:
            self.print_json(charge_json(organization.slug, row))
        else:
            total = amount(row.amount, row.currency)
            self.print_table(["Charge", "Name", ">Amount"], [[row.public_id, row.name, total]])
        if there:
            self.note(f"{row.source} was there already; nothing was charged again.")
        else:
            self.note("The next invoice bears it; create_invoice bills it at once.")


def _period(options: dict[str, Any]) -> Period | None:
    start, end = options["start"], options["end"]
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise Invalid("Say --start and --end, or neither of them for today.")
    if start >= end:
        raise Invalid("The service ends before it starts: --end is the first instant after it.")
    return Period(start, end)
