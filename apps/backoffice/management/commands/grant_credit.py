"""`manage.py grant_credit`: credit that invoices use up."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, decimal, inside, now
from apps.backoffice.crediting import add_terms, grant_json, terms_of
from apps.invoicing import credit, services
from apps.invoicing.services.grants import GIVEN


class Command(BaseCommand):
    """Give an organization credit."""

    help = (
        "Give an organization credit that its invoices use up before anything is to be paid. A"
        " promotion costs when it is used; a refund is owed from now on and lowers revenue. With a"
        " --source it is safe to repeat."
    )
    examples = (
        "  manage.py grant_credit acme 50 --name 'Welcome' --expires 2024-01-01\n"
        "  manage.py grant_credit acme 12.50 --kind refund --source TICKET-7 --prices seats"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whom, how much and on which terms."""
        parser.add_argument("organization", metavar="ORGANIZATION", help="slug or id")
        parser.add_argument("amount", metavar="AMOUNT", type=decimal, help="such as 50 or 12.50")
        parser.add_argument("--currency", default="", help="default: the organization's")
        parser.add_argument("--kind", choices=[str(kind) for kind in GIVEN], default=str(GIVEN[0]))
        parser.add_argument("--source", default="", help="the cause; of one there is one grant")
        add_terms(parser)

    def run(self, **options: Any) -> None:
        """Grant it."""
        with inside(options["organization"], "grant_credit") as organization:
            there = credit.has_grant(organization.pk, options["source"])
            row = services.grant_credit(
                organization.pk,
                amount=options["amount"],
                currency=options["currency"],
                kind=options["kind"],
                terms=terms_of(options),
                source=options["source"],
                actor=self.actor,
                at=now(),
            )
        if self.as_json:
            self.print_json(grant_json(row))
        else:
            said = [row.public_id, row.name, row.kind, amount(row.remaining, row.currency)]
            self.print_table(["Grant", "Name", "Kind", ">Left"], [said])
        if there:
            self.note(f"{row.source} was there already; nothing was granted again.")
