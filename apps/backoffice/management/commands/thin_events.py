"""`manage.py thin_events`: let PostgreSQL's rows go that ClickHouse answers for."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.usage import services


class Command(BaseCommand):
    """Thin block after block until none is due."""

    help = (
        "Delete from PostgreSQL the raw events that ClickHouse (CLICKHOUSE_URL) has, block by"
        " block, once their copies are compared with them. ClickHouse answers for them then, and"
        " their keys stay, so that an event which comes again is known. It may be stopped and run"
        " again at any time. Exit code 1 when writers kept it waiting. The way back is"
        " restore_events."
    )
    examples = "  manage.py thin_events --older-than 60\n  manage.py thin_events --blocks 10"

    def arguments(self, parser: CommandParser) -> None:
        """Take from when on, and how much to do."""
        parser.add_argument(
            "--older-than",
            type=_days,
            metavar="DAYS",
            default=settings.USAGE_THIN_DAYS,
            help="by when they came; default: USAGE_THIN_DAYS",
        )
        parser.add_argument("--blocks", type=int, metavar="N", help="stop after so many blocks")

    def run(self, **options: Any) -> None:
        """Thin, telling how far it is."""
        if not options["older_than"]:
            raise CommandError("Say how old with --older-than DAYS, or set USAGE_THIN_DAYS.")
        at = now()
        before = at - timedelta(days=options["older_than"])
        events, blocks, done = 0, 0, services.Thinning(block=0)
        with self.progress("Events") as step:
            while done.block is not None and not done.busy and blocks != options["blocks"]:
                done = services.thin_block(received_before=before, at=at, step=step)
                events += done.events
                blocks += done.block is not None
        self._show(events, blocks, busy=done.busy)

    def _show(self, events: int, blocks: int, *, busy: bool) -> None:
        if self.as_json:
            self.print_json({"events": events, "blocks": blocks, "busy": busy})
        else:
            self.stdout.write(f"{events:,} events of {blocks:,} blocks went; ClickHouse has them.")
        if busy:
            self.note("Events are being stored and take long; run it again to go on.")
            sys.exit(1)


def _days(text: str) -> int:
    """Read a number of days for argparse."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of days; write 60")
    return int(text)
