"""`manage.py set_tax_rate`: what a place takes from a day on."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import decimal, now
from apps.backoffice.offering import day
from apps.core import rls
from apps.engine.decimals import plain
from apps.plans import services
from apps.plans.models import TaxRate
from apps.plans.offers import TaxRules


class Command(BaseCommand):
    """Set a tax rate from a day on."""

    help = (
        "Set what a place takes from a day on. A later day with the same code ends the rate before;"
        " what was set stays known."
    )
    examples = (
        "  manage.py set_tax_rate de-vat 19 --country DE --name USt. --from 2021-01-01\n"
        "  manage.py set_tax_rate qst 9.975 --kind sales --country CA --region QC --from 2013-01-01"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take how much, where and from when."""
        parser.add_argument("code", metavar="CODE", help="the same over time")
        parser.add_argument("percent", type=decimal, metavar="PERCENT")
        parser.add_argument("--country", required=True, metavar="DE")
        parser.add_argument("--region", default="", metavar="QC", help="ISO 3166-2; default: all")
        parser.add_argument("--kind", choices=TaxRate.Kind.values, default=TaxRate.Kind.VAT)
        parser.add_argument("--name", help="as the invoice says it; default: the kind")
        parser.add_argument("--from", dest="start", type=day, required=True, metavar="DAY")
        parser.add_argument("--inclusive", action="store_true", help="prices contain it already")

    def run(self, **options: Any) -> None:
        """Set it."""
        rules = TaxRules(
            code=options["code"],
            name=options["name"] or str(TaxRate.Kind(options["kind"]).label),
            kind=options["kind"],
            percent=options["percent"],
            country=options["country"],
            region=options["region"],
            valid_from=options["start"],
            inclusive=options["inclusive"],
        )
        with rls.ops_scope("set_tax_rate"):
            made, outcome = services.set_tax_rate(rules, actor=self.actor, at=now())
        if self.as_json:
            self.print_json({"id": made.public_id, "outcome": outcome, **made.as_dict()})
        else:
            row = [made.code, made.jurisdiction, f"{plain(made.percent)} %", made.valid_from]
            self.print_table(["Tax rate", "Place", "Takes", "From", "Outcome"], [[*row, outcome]])
