"""`manage.py correct_event`: an event that said something wrong."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import inside, instant
from apps.core import clock
from apps.usage import selectors, services


class Command(BaseCommand):
    """Put a right event in the place of a wrong one."""

    help = (
        "Put a right usage event in the place of a wrong one: with other data, another time, or"
        " both. Both events stay on record; an invoice that is final does not change."
    )
    examples = (
        "  manage.py correct_event acme req-8842 --source gateway-eu-1 --data '{\"tokens\": 81}'\n"
        "  manage.py correct_event acme uev_1d0c0f3b7a0e4d5f8b9a6c7d8e9f0a1b"
        " --time 2026-01-31T23:59:59Z"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, which, what is right and why."""
        parser.add_argument("organization", metavar="ORGANIZATION", help="slug or id")
        parser.add_argument("event", metavar="EVENT", help="public id, or id within --source")
        parser.add_argument("--source", default="", help="the event's source")
        parser.add_argument("--data", type=_data, metavar="JSON", help="what it should have said")
        parser.add_argument("--time", type=instant, help="when it happened")
        parser.add_argument("--reason", default="", help="kept in the record")

    def run(self, **options: Any) -> None:
        """Correct it."""
        if options["data"] is None and options["time"] is None:
            raise CommandError("Say what is right: --data, --time or both.", returncode=2)
        with inside(options["organization"], "correct_event") as organization:
            made = services.correct_event(
                organization.pk,
                event=options["event"],
                source=options["source"],
                data=options["data"],
                occurred_at=options["time"],
                reason=options["reason"],
                actor=self.actor,
                at=clock.now(),
            )
        if self.as_json:
            self.print_json({"event": made.public_id, "voids": options["event"]})
        else:
            self.stdout.write(f"{made.public_id} counts in the place of {options['event']}.")


def _data(text: str) -> Mapping[str, Any]:
    try:
        return selectors.read_data(text)
    except ValueError:
        raise argparse.ArgumentTypeError("this is no JSON object") from None
