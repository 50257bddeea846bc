"""`manage.py run_dunning`: ask who has not paid."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.backoffice.printing import counted
from apps.core import rls
from apps.dunning import services
from apps.tenants import selectors as tenants


class Command(BaseCommand):
    """Take the steps of dunning that are due."""

    help = (
        "Begin runs of overdue invoices, take up those whose pause is over, and take the steps that"
        " are due: reminders, and what follows for the subscription. The scheduler does that every"
        " minute. Safe to repeat, to run twice at once and to kill. Customers on a test clock are"
        " left to advance_clock. Exit code 1 when something failed; it is tried again next time."
    )
    examples = (
        "  manage.py run_dunning\n  manage.py run_dunning --organization pied-piper --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take whose."""
        parser.add_argument("--organization", metavar="SLUG", help="of one organization only")

    def run(self, **options: Any) -> None:
        """Run, and say what was done."""
        slug, at, mine = options["organization"], now(), None
        if slug:
            with rls.ops_scope("run_dunning: find the organization"):
                row = tenants.get_organization(slug)
                mine, at = [row.pk], tenants.now_for(row.pk, at)
        done = services.run_dunning(actor=self.actor, at=at, organization_ids=mine)
        if self.as_json:
            failed = [{"id": key, "error": said} for key, said in done.failed]
            told = {"begun": done.begun, "resumed": done.resumed, "steps": done.steps}
            self.print_json({**told, "failed": failed})
        elif done.failed:
            self.print_table(["Failed", "Because"], done.failed)
        runs, steps = counted(done.begun, "run"), counted(done.steps, "step")
        self.note(f"{runs} begun, {done.resumed} taken up again, {steps} taken.")
        if done.failed:
            sys.exit(1)
