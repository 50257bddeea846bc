"""`manage.py restore_events`: bring thinned events back from ClickHouse."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from apps.backoffice.commands import Command as BaseCommand
from apps.usage import services


class Command(BaseCommand):
    """Restore page after page until PostgreSQL is whole again."""

    help = (
        "Copy the events that were thinned back from ClickHouse (CLICKHOUSE_URL) into PostgreSQL,"
        " each as it was: the way back, for whoever wants to do without ClickHouse. It may be"
        " stopped and run again at any time; PostgreSQL is whole when it has said so."
    )
    examples = "  manage.py restore_events\n  manage.py restore_events --format json"

    def run(self, **options: Any) -> None:
        """Restore, telling how far it is."""
        if settings.USAGE_THIN_DAYS:
            raise CommandError("USAGE_THIN_DAYS is set: what came back would go again. Unset it.")
        with self.progress("Events") as step:
            events = services.restore_events(step=step)
        if self.as_json:
            self.print_json({"events": events})
        else:
            self.stdout.write(f"{events:,} events are back; PostgreSQL has all of them.")
