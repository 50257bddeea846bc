"""`manage.py deliver_provider_calls`: what the worker does every few seconds, now."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.core import rls
from apps.payments import selectors, services


class Command(BaseCommand):
    """Do what waits to be done at the payment provider."""

    help = (
        "Repeat calls to the payment provider that are due: those that met an outage or a crash,"
        " with the same idempotency key. Exit code 1 when calls are stuck by a mistake of ours."
    )
    examples = (
        "  manage.py deliver_provider_calls\n  manage.py deliver_provider_calls --limit 20"
        " --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take how many."""
        parser.add_argument("--limit", type=int, default=200, help="at most so many; default 200")

    def run(self, **options: Any) -> None:
        """Deliver and report."""
        tried = services.deliver_calls(limit=options["limit"])
        with rls.ops_scope("provider calls: count what waits"):
            left = selectors.call_backlog()
        shown = {"tried": tried, "pending": left.pending, "stuck": left.stuck}
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Tried", "Pending", "Stuck"], [[*shown.values()]])
        self.note(f"{tried} calls tried, {left.pending} pending, {left.stuck} stuck.")
        if left.stuck:
            sys.exit(1)
