"""`manage.py export_ledger`: the general ledger as a file."""

from __future__ import annotations

import argparse
import csv
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import instant
from apps.core import rls
from apps.core.errors import Invalid
from apps.invoicing import general_ledger
from apps.tenants import selectors as tenants


class Command(BaseCommand):
    """Write the ledger's entries as CSV."""

    help = (
        "Write every entry of the ledger as CSV on stdout: date, movement, account, debit, credit,"
        " currency, cause, organization. Sums by account are the ledger's balances."
    )
    examples = (
        "  manage.py export_ledger --from 2026-01-01 --to 2026-02-01 > january.csv\n"
        "  manage.py export_ledger --organization acme --account revenue=8400 --format csv"
    )
    formats = ("csv", "json")

    def arguments(self, parser: CommandParser) -> None:
        """Take from when to when, whose, and how accounts are called."""
        parser.add_argument("--from", type=instant, dest="start", help="booked at this or later")
        parser.add_argument("--to", type=instant, dest="end", help="booked before this")
        parser.add_argument("--organization", metavar="SLUG", help="of one organization only")
        parser.add_argument(
            "--account",
            action="append",
            type=_code,
            default=[],
            metavar="NAME=CODE",
            help=f"the code of an account; names: {', '.join(general_ledger.CODES)}",
        )

    def run(self, **options: Any) -> None:
        """Write them, one at a time."""
        start, end = options["start"], options["end"]
        if start is not None and end is not None and start >= end:
            raise Invalid("--from is not before --to: there is nothing between them.")
        slug = options["organization"]
        with rls.ops_scope("export_ledger: find the organization"):
            organization_id = tenants.get_organization(slug).pk if slug else None
        found = general_ledger.postings(
            start,
            end,
            organization_id=organization_id,
            accounts=general_ledger.codes(dict(options["account"])),
        )
        rows = (one.cells() for one in found)
        if self.as_json:
            self.print_json([dict(zip(general_ledger.COLUMNS, row, strict=True)) for row in rows])
            return
        written = csv.writer(self.stdout, lineterminator="\n")
        written.writerow(general_ledger.COLUMNS)
        written.writerows(rows)


def _code(text: str) -> tuple[str, str]:
    name, equals, code = text.partition("=")
    if not (name and equals and code):
        raise argparse.ArgumentTypeError(f"'{text}' is no account; write revenue=8400")
    return name, code
