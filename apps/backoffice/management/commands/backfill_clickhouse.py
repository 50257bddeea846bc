"""`manage.py backfill_clickhouse`: bring all events that are stored to ClickHouse."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.usage import services


class Command(BaseCommand):
    """Ship block after block until nothing is left."""

    help = (
        "Make the tables in ClickHouse (CLICKHOUSE_URL) and ship every rolled-up event, block by"
        " block. Events are read from PostgreSQL until it is through. It may be stopped and run"
        " again at any time, and goes on where it was."
    )
    examples = "  manage.py backfill_clickhouse\n  manage.py backfill_clickhouse --blocks 10"

    def arguments(self, parser: CommandParser) -> None:
        """Take how much to do."""
        parser.add_argument("--blocks", type=int, metavar="N", help="stop after so many blocks")

    def run(self, **options: Any) -> None:
        """Ship each block in a transaction of its own, telling how far it is."""
        events, blocks, done = 0, 0, services.Shipped()
        while not done.complete and not done.skipped and blocks != options["blocks"]:
            with rls.ops_scope("backfill_clickhouse"):
                done = services.ship_events(now())
            events += done.events
            blocks += 1
            self.note(f"{events:,} events shipped")
        if self.as_json:
            self.print_json({"events": events, "complete": done.complete, "skipped": done.skipped})
        elif done.skipped:
            self.stdout.write("Another run is shipping, or the buckets wait for a rebuild.")
        elif done.complete:
            self.stdout.write(f"{events:,} events shipped; ClickHouse has all that is rolled up.")
        else:
            self.stdout.write(f"{events:,} events shipped. Run the command again to go on.")
