"""`manage.py export_usage`: what an organization used, as a file."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import comma_separated, inside, instant
from apps.core import clock
from apps.core.errors import Invalid
from apps.usage import selectors, table
from apps.usage.breakdown import Question, break_down

GRAINS = ("hour", "day", "month")


class Command(BaseCommand):
    """Write usage as CSV."""

    help = (
        "Write what an organization used as CSV on stdout: one row for each cell of the series, in"
        " the organization's time zone, and for each combination of values of the dimensions."
    )
    examples = (
        "  manage.py export_usage acme --from 2026-01-01 --to 2026-02-01 > january.csv\n"
        "  manage.py export_usage acme --from 2026-01-01 --meter api_calls --grain month"
        " --group-by region,model --where region=eu --format json"
    )
    formats = ("csv", "json")

    def arguments(self, parser: CommandParser) -> None:
        """Take whose usage, of when, and how finely."""
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("--from", type=instant, dest="start", required=True)
        parser.add_argument("--to", type=instant, dest="end", help="default: now")
        parser.add_argument("--meter", action="append", default=[], metavar="KEY", help="all")
        parser.add_argument("--grain", choices=GRAINS, default="day")
        parser.add_argument(
            "--group-by", type=comma_separated, default=[], metavar="NAMES", help="dimensions"
        )
        parser.add_argument(
            "--where", action="append", type=_value, default=[], metavar="NAME=VALUE"
        )

    def run(self, **options: Any) -> None:
        """Measure meter by meter and write."""
        start, end = options["start"], options["end"] or clock.now()
        if start >= end:
            raise Invalid("--from is not before --to: there is nothing between them.")
        columns = table.columns_of(options["group_by"])
        with inside(options["organization"], "export_usage") as organization:
            keys = options["meter"] or [meter.key for meter in selectors.meters()]
            zone = organization.timezone
            rows = [
                row
                for key in keys
                for row in table.rows_of(
                    break_down(
                        organization.pk, _question(key, start, end, zone, options), limit=None
                    )
                )
            ]
        if self.as_json:
            self.print_json([dict(zip(columns, row, strict=True)) for row in rows])
            return
        self.stdout.write(table.csv_text(columns, rows), ending="")


def _question(
    key: str, start: datetime, end: datetime, zone: str, options: dict[str, Any]
) -> Question:
    where: dict[str, list[str]] = {}
    for name, value in options["where"]:
        where.setdefault(name, []).append(value)
    by, grain = tuple(options["group_by"]), options["grain"]
    return Question(key, start, end, by, where, grain, zone)


def _value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"'{text}' is no filter; write region=eu")
    return name, value
