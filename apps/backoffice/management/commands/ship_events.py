"""`manage.py ship_events`: bring rolled-up events to ClickHouse, and check what is there."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.usage import services


class Command(BaseCommand):
    """Ship one block, or compare all of them."""

    help = (
        "Ship the next block of rolled-up events to ClickHouse (CLICKHOUSE_URL), as the worker does"
        " every ten seconds. With --verify it ships nothing: it compares every block there with"
        " what was shipped, names what differs and exits with 1."
    )
    examples = "  manage.py ship_events\n  manage.py ship_events --verify"

    def arguments(self, parser: CommandParser) -> None:
        """Take what to do."""
        parser.add_argument("--verify", action="store_true", help="compare, ship nothing")

    def run(self, **options: Any) -> None:
        """Ship or compare, and report."""
        if options["verify"]:
            self._verify()
            return
        with rls.ops_scope("ship_events"):
            done = services.ship_events(now())
        if self.as_json:
            self.print_json(
                {"events": done.events, "complete": done.complete, "skipped": done.skipped}
            )
        elif done.skipped:
            self.stdout.write("Another run is shipping, or the buckets wait for a rebuild.")
        else:
            left = "" if done.complete else " There is more to ship."
            self.stdout.write(f"{done.events:,} events shipped.{left}")

    def _verify(self) -> None:
        with rls.ops_scope("ship_events"):
            found = services.verify_shipments()
        if self.as_json:
            self.print_json({"differences": [str(one) for one in found]})
        else:
            for one in found:
                self.stdout.write(str(one))
            self.stdout.write(
                f"{len(found):,} blocks differ." if found else "Every block is whole."
            )
        if found:
            sys.exit(1)
