"""`manage.py show_invoice`: an invoice as a table, as JSON or as PDF."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, inside, now, the_subscription
from apps.backoffice.printing import invoice_json
from apps.engine.decimals import plain
from apps.engine.period import iso
from apps.invoicing import pdf, selectors
from apps.invoicing.document import Document
from apps.tenants.models import Organization


class Command(BaseCommand):
    """Show an organization's invoice."""

    help = (
        "Show an organization's invoice: the latest final one unless another is named. Amounts in"
        " JSON are whole minor units; a quantity is a number when it is whole, else a string."
    )
    examples = (
        "  manage.py show_invoice acme --latest --format json\n"
        "  manage.py show_invoice acme --number CH-000003 --format pdf --output invoice.pdf"
    )
    formats = ("table", "json", "pdf")

    def arguments(self, parser: CommandParser) -> None:
        """Take whose and which."""
        parser.add_argument("organization", metavar="SLUG")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--number", metavar="N", help="its number or id")
        which.add_argument("--latest", action="store_true", help="the newest one (the default)")
        which.add_argument("--draft", action="store_true", help="the newest draft")
        which.add_argument("--upcoming", action="store_true", help="what comes next, as of now")
        parser.add_argument(
            "--subscription", default="", metavar="ID", help="whose next invoice --upcoming shows"
        )
        parser.add_argument("--output", type=Path, metavar="FILE", help="default: stdout")

    def run(self, **options: Any) -> None:
        """Find and print it."""
        with inside(options["organization"], "show_invoice") as organization:
            document = _document(organization, options)
        if self.output_format == "pdf":
            self._write(pdf.render(document), options["output"])
        elif options["output"] is not None:
            with options["output"].open("w", encoding="utf-8") as out:
                self.stdout = OutputWrapper(out)
                self._print(document)
        else:
            self._print(document)
        self.note(
            f"{document.number or document.status}: {len(document.lines)} lines,"
            f" {amount(document.total, document.currency)}."
        )

    def _print(self, document: Document) -> None:
        if self.as_json:
            self.print_json(invoice_json(document))
            return
        self.print_table(["Invoice", ""], _facts(document))
        self.print_table(
            ["Line", "Name", "Period", ">Quantity", ">Amount"],
            [
                (
                    line.key,
                    line.name,
                    f"{iso(line.period.start)} – {iso(line.period.end)}",
                    plain(line.quantity),
                    amount(line.amount, document.currency),
                )
                for line in document.lines
            ],
        )

    def _write(self, content: bytes, output: Path | None) -> None:
        if output is not None:
            output.write_bytes(content)
            return
        raw = getattr(self.stdout, "buffer", None)  # bytes go past the text wrapper
        if raw is None or sys.stdout.isatty():
            raise CommandError("A PDF is no text for a terminal; say --output FILE or use a pipe.")
        raw.write(content)
        raw.flush()


def _document(organization: Organization, options: dict[str, Any]) -> Document:
    if options["upcoming"]:
        chosen = the_subscription(organization, options["subscription"])
        found = selectors.upcoming(chosen.public_id, at=now())
        if found is None:
            raise CommandError("The next boundary of this subscription bills nothing.")
        return found
    if options["number"]:
        row = selectors.get(options["number"], organization_id=organization.pk)
    else:
        row = selectors.latest(organization.pk, draft=options["draft"])
    return selectors.document(row)


def _facts(document: Document) -> list[tuple[str, str]]:
    facts = [
        ("Number", document.number or "–"),
        ("Status", document.status),
        ("Customer", str(document.parties["customer"]["name"])),
        ("Period", f"{iso(document.period.start)} – {iso(document.period.end)}"),
        ("Date", iso(document.issued_at)),
        ("Due", iso(document.due_at)),
        ("Total", amount(document.total, document.currency)),
        ("Paid", amount(document.amount_paid, document.currency)),
        ("Still due", amount(document.amount_due, document.currency)),
    ]
    return [*facts, ("Void because", document.void_reason)] if document.void_reason else facts
