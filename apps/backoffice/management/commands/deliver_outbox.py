"""`manage.py deliver_outbox`: what the worker does every few seconds, now."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.core import outbox


class Command(BaseCommand):
    """Deliver the facts that are due, such as mails."""

    help = (
        "Hand due facts to their handlers, each in a transaction of its own. Exit code 1 when"
        " deliveries are dead: they have failed too often and wait for --retry-dead."
    )
    examples = "  manage.py deliver_outbox\n  manage.py deliver_outbox --retry-dead --format json"

    def arguments(self, parser: CommandParser) -> None:
        """Take how many, and whether dead ones get another chance."""
        parser.add_argument("--limit", type=int, default=500, help="at most so many; default 500")
        parser.add_argument("--retry-dead", action="store_true", help="try dead deliveries again")

    def run(self, **options: Any) -> None:
        """Deliver and report."""
        retried = outbox.retry_dead() if options["retry_dead"] else 0
        tried = outbox.deliver_due(limit=options["limit"])
        backlog = outbox.backlog()
        shown = {
            "tried": tried,
            "retried": retried,
            "pending": backlog.pending,
            "dead": backlog.dead,
        }
        if self.as_json:
            self.print_json(shown)
        else:
            self.print_table(["Tried", "Retried", "Pending", "Dead"], [[*shown.values()]])
        self.note(f"{tried} deliveries tried, {backlog.pending} pending, {backlog.dead} dead.")
        if backlog.dead:
            sys.exit(1)
