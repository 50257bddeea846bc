"""`manage.py void_event`: an event that should not have been."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside
from apps.core import clock
from apps.usage import services


class Command(BaseCommand):
    """Take an event back by a later one."""

    help = (
        "Take a usage event back: everything is measured as if it had never come. Both events stay"
        " on record; an invoice that is final does not change."
    )
    examples = (
        "  manage.py void_event acme req-8842 --source gateway-eu-1 --reason 'load test'\n"
        "  manage.py void_event acme uev_1d0c0f3b7a0e4d5f8b9a6c7d8e9f0a1b --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, which and why."""
        parser.add_argument("organization", metavar="ORGANIZATION", help="slug or id")
        parser.add_argument("event", metavar="EVENT", help="public id, or id within --source")
        parser.add_argument("--source", default="", help="the event's source")
        parser.add_argument("--reason", default="", help="kept in the record")

    def run(self, **options: Any) -> None:
        """Void it."""
        with inside(options["organization"], "void_event") as organization:
            made = services.void_event(
                organization.pk,
                event=options["event"],
                source=options["source"],
                reason=options["reason"],
                actor=self.actor,
                at=clock.now(),
            )
        if self.as_json:
            self.print_json({"event": made.public_id, "voids": options["event"]})
        else:
            self.stdout.write(f"{options['event']} is void, by {made.public_id}.")
