"""`manage.py show_invoice`: an invoice as a table, as JSON or as PDF."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser, OutputWrapper

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, inside, now, the_subscription
from apps.backoffice.printing import counted, invoice_json, kept_json
from apps.backoffice.wishing import sums
from apps.engine.decimals import plain
from apps.engine.period import iso
from apps.invoicing import pdf, selectors
from apps.invoicing.document import Document
from apps.invoicing.models import Invoice
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
            document, row = _found(organization, options)
        if self.output_format == "pdf":
            self._write(pdf.render(document), options["output"])
        elif options["output"] is not None:
            with options["output"].open("w", encoding="utf-8") as out:
                self.stdout = OutputWrapper(out)
                self._print(document, row)
        else:
            self._print(document, row)
        self.note(
            f"{document.number or document.status}: {counted(len(document.lines), 'line')},"
            f" {amount(document.total, document.currency)}."
        )

    def _print(self, document: Document, row: Invoice | None) -> None:
        draft = kept_json(row) if row is not None and document.status == "draft" else {}
        if self.as_json:
            self.print_json({**invoice_json(document), **draft})
            return
        kept = [(name.replace("_", " ").capitalize(), why) for name, why in draft.items() if why]
        self.print_table(["Invoice", ""], [*_facts(document), *kept])
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
        below = sums(document)
        if len(below) > 1:
            self.print_table(["Sum", "", ">Amount"], below)

    def _write(self, content: bytes, output: Path | None) -> None:
        if output is not None:
            output.write_bytes(content)
            return
        raw = getattr(self.stdout, "buffer", None)  # bytes go past the text wrapper
        if raw is None or sys.stdout.isatty():
            raise CommandError("A PDF is no text for a terminal; say --output FILE or use a pipe.")
        raw.write(content)
        raw.flush()


def _found(organization: Organization, options: dict[str, Any]) -> tuple[Document, Invoice | None]:
    """Return the document and, but for an upcoming one, its row."""
    if options["upcoming"]:
        chosen = the_subscription(organization, options["subscription"])
        found = selectors.upcoming(chosen.public_id, at=now())
        if found is None:
            raise CommandError("The next boundary of this subscription bills nothing.")
        return found, None
    if options["number"]:
        row = selectors.get(options["number"], organization_id=organization.pk)
    else:
        row = selectors.latest(organization.pk, draft=options["draft"])
    return selectors.document(row), row


def _facts(document: Document) -> list[tuple[str, str]]:
    currency = document.currency
    facts = [
        ("Number", document.number or "–"),
        ("Status", document.status),
        ("Customer", str(document.parties["customer"]["name"])),
        ("Period", f"{iso(document.period.start)} – {iso(document.period.end)}"),
        ("Date", iso(document.issued_at)),
        ("Due", iso(document.due_at)),
        ("Total", amount(document.total, currency)),
        ("Paid", amount(document.amount_paid, currency)),
    ]
    facts += [("Credited", amount(document.credited, currency))] if document.credited else []
    facts += [("Still due", amount(document.amount_due, currency))]
    return [*facts, ("Void because", document.void_reason)] if document.void_reason else facts
