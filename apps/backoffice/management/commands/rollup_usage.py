"""`manage.py rollup_usage`: what the worker does every few seconds, now."""

from __future__ import annotations

from typing import Any

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.core import rls
from apps.usage import services


class Command(BaseCommand):
    """Roll up committed events into hourly buckets."""

    help = "Add committed events to the hourly buckets. Reads are exact before and after."
    examples = "  manage.py rollup_usage\n  manage.py rollup_usage --format json"

    def run(self, **options: Any) -> None:
        """Roll up once and report."""
        with rls.ops_scope("rollup_usage"):
            done = services.roll_up(now())
        if self.as_json:
            self.print_json(
                {
                    "events": done.events,
                    "buckets": done.buckets,
                    "skipped": done.skipped,
                    "rebuilt": done.rebuilt,
                }
            )
        elif done.skipped:
            self.stdout.write("Another roll-up is running; nothing was done.")
        elif done.rebuilt:
            self.stdout.write("The database came from a dump: all buckets were counted anew.")
        else:
            self.stdout.write(f"{done.events:,} events rolled up into {done.buckets:,} buckets.")
