"""`manage.py explain_invoice`: how the amounts came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import INVISIBLE, amount, inside_owner_of
from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.printing import counted, event_json, line_json, working_text
from apps.engine.decimals import plain
from apps.engine.period import iso
from apps.invoicing import selectors
from apps.invoicing.document import Line
from apps.invoicing.explaining import EventsOfLine, events_of_line, hours_of_line
from apps.invoicing.paper.words import FALLBACK, Words
from apps.usage.selectors import HourOfUse


class Command(BaseCommand):
    """Explain an invoice line by line."""

    help = (
        "Show the arithmetic of every line: quantity, included units, tiers, rounding, and the"
        " events counted. Reads what the invoice stored, computes nothing anew."
    )
    examples = (
        "  manage.py explain_invoice CH-000003\n"
        "  manage.py explain_invoice CH-000003 --line 2 --hours --events --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take which invoice and which line."""
        parser.add_argument("number", metavar="NUMBER", help="the invoice's number or id")
        parser.add_argument("--line", type=int, metavar="N", help="only this one, counted from 1")
        parser.add_argument("--hours", action="store_true", help="with the hours it was used in")
        parser.add_argument(
            "--events", action="store_true", help="with the events it counted, voided and late ones"
        )
        parser.add_argument("--after", default="", metavar="EVENT", help="go on after this event")
        parser.add_argument(
            "--limit", type=int, default=100, metavar="N", help="events of each line; default 100"
        )

    def run(self, **options: Any) -> None:
        """Explain it."""
        with inside_owner_of(options["number"], "explain_invoice"):
            document = selectors.document(selectors.get(options["number"]))
            lines = _chosen(document.lines, options["line"])
            used = {number: _used(line, options) for number, line in lines}
        if self.as_json:
            told = {
                "number": document.number,
                "status": document.status,
                "currency": document.currency,
                "total": document.total,
                "lines": [{"line": n, **line_json(line), **used[n].as_json()} for n, line in lines],
            }
            self.print_json(told)
        else:
            words = replace(Words.of(document), locale=FALLBACK)
            for number, line in lines:
                text = "\n".join(working_text(line, words))
                self.stdout.write(f"{number}. {INVISIBLE.sub('', text)}\n")
                self._print_usage(used[number])
        total = amount(document.total, document.currency)
        said = counted(len(document.lines), "line")
        self.note(f"{document.number or 'draft'}: {said}, {total} in all.")

    def _print_usage(self, used: _Used) -> None:
        if used.hours:
            hours = [(iso(one.hour), one.events, plain(one.total)) for one in used.hours]
            self.print_table(["Hour", ">Events", ">Sum"], hours)
        if used.page is not None and used.page.events:
            rows = [
                (
                    one.public_id,
                    iso(one.occurred_at),
                    one.source,
                    one.key,
                    "" if one.value is None else plain(one.value),
                    one.status,
                )
                for one in used.page.events
            ]
            self.print_table(["Event", "Time", "Source", "Id", ">Value", "Status"], rows)
        if used.page is not None and used.page.sealed_at is not None:
            self.note(
                f"Its events are gone by retention. It was proven from them and sealed on"
                f" {used.page.sealed_at:%Y-%m-%d}; number, sum and hash stand in the explanation."
            )
        if used.page is not None and used.page.more:
            self.note(f"There are more: --after {used.page.events[-1].public_id}")


@dataclass(frozen=True, slots=True)
class _Used:
    """What lies under a line, as far as it was asked for."""

    hours: Sequence[HourOfUse] | None = None
    page: EventsOfLine | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        told: dict[str, Any] = {}
        if self.hours is not None:
            told["hours"] = [
                {"hour": iso(one.hour), "events": one.events, "sum": plain(one.total)}
                for one in self.hours
            ]
        if self.page is not None:
            told["events"] = [event_json(one) for one in self.page.events]
            told["more"] = self.page.more
            told["sealed_at"] = None if self.page.sealed_at is None else iso(self.page.sealed_at)
        return told


def _used(line: Line, options: Mapping[str, Any]) -> _Used:
    return _Used(
        hours_of_line(line.id) if options["hours"] else None,
        events_of_line(line.id, after=options["after"], limit=options["limit"])
        if options["events"]
        else None,
    )


def _chosen(lines: tuple[Line, ...], number: int | None) -> list[tuple[int, Line]]:
    numbered = [*enumerate(lines, 1)]
    if number is None:
        return numbered
    found = [pair for pair in numbered if pair[0] == number]
    if not found:
        raise CommandError(f"There is no line {number}; the invoice has {len(lines)}.")
    return found
