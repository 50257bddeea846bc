"""`manage.py backfill_stripe_events`: what the scheduler does every hour, now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import instant
from apps.payments import services


class Command(BaseCommand):
    """Read Stripe's own list of events, for those that never arrived."""

    help = (
        "Read the events that Stripe lists since the last time and put those into the inbox that"
        " never arrived: deliveries that were lost, or that found this system down. Stripe keeps"
        " its list for 30 days. Goes on where it was when it is interrupted."
    )
    examples = (
        "  manage.py backfill_stripe_events\n"
        "  manage.py backfill_stripe_events --since 2026-01-30T00:00:00Z --handle"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take from when on, and whether to handle what was found."""
        parser.add_argument("--since", type=instant, help="from this instant on")
        parser.add_argument("--handle", action="store_true", help="handle what is due, at once")

    def run(self, **options: Any) -> None:
        """Read and report."""
        found = services.backfill_events(since=options["since"])
        handled = services.handle_events() if options["handle"] else 0
        if self.as_json:
            self.print_json({"found": found, "handled": handled})
        else:
            self.print_table(["Found", "Handled"], [[found, handled]])
        self.note(f"{found} events were new, {handled} objects were handled.")
