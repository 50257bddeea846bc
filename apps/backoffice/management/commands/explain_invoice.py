"""`manage.py explain_invoice`: how the amounts came about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import INVISIBLE, amount, inside_owner_of
from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.printing import line_json, working_text
from apps.invoicing import selectors
from apps.invoicing.document import Line
from apps.invoicing.paper.words import FALLBACK, Words


class Command(BaseCommand):
    """Explain an invoice line by line."""

    help = (
        "Show the arithmetic of every line: quantity, included units, tiers, rounding, and the"
        " events counted. Reads what the invoice stored, computes nothing anew."
    )
    examples = (
        "  manage.py explain_invoice CH-000003\n"
        "  manage.py explain_invoice CH-000003 --line 2 --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which invoice and which line."""
        parser.add_argument("number", metavar="NUMBER", help="the invoice's number or id")
        parser.add_argument("--line", type=int, metavar="N", help="only this one, counted from 1")

    def run(self, **options: Any) -> None:
        """Explain it."""
        with inside_owner_of(options["number"], "explain_invoice"):
            document = selectors.document(selectors.get(options["number"]))
        lines = _chosen(document.lines, options["line"])
        if self.as_json:
            told = {
                "number": document.number,
                "status": document.status,
                "currency": document.currency,
                "total": document.total,
                "lines": [{"line": n, **line_json(line)} for n, line in lines],
            }
            self.print_json(told)
        else:
            words = replace(Words.of(document), locale=FALLBACK)
            for number, line in lines:
                text = "\n".join(working_text(line, words))
                self.stdout.write(f"{number}. {INVISIBLE.sub('', text)}\n")
        total = amount(document.total, document.currency)
        self.note(f"{document.number or 'draft'}: {len(document.lines)} lines, {total} in all.")


def _chosen(lines: tuple[Line, ...], number: int | None) -> list[tuple[int, Line]]:
    numbered = [*enumerate(lines, 1)]
    if number is None:
        return numbered
    found = [pair for pair in numbered if pair[0] == number]
    if not found:
        raise CommandError(f"There is no line {number}; the invoice has {len(lines)}.")
    return found
