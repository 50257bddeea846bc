"""`manage.py bill_due`: issue what is due."""

from __future__ import annotations

import sys
import time
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import add_jobs, amount, instant, now
from apps.backoffice.foreseeing import foresee_and_show
from apps.backoffice.printing import counted
from apps.backoffice.running import print_report, report_json, told
from apps.invoicing import services


class Command(BaseCommand):
    """Bill every subscription's boundaries up to an instant."""

    help = (
        "Issue one invoice for every subscription and period boundary up to --as-of, backdated ones"
        " too, and the drafts whose grace is over. Drafts out of bounds are held for review, with"
        " the reason; approve_invoice issues them. Safe to repeat, to run twice at once (runs share"
        " the work) and to kill. Exit code 1 when a subscription could not be billed and was set"
        " aside; release_parked lets it in again. The first thousand invoices are listed, all are"
        " counted and summed. --dry-run shows what would be billed, also at an"
        " instant to come, and writes nothing."
    )
    examples = (
        "  manage.py bill_due --as-of 2023-12-01T00:00:00Z --jobs 4\n"
        "  manage.py bill_due --as-of 2027-01-01 --dry-run --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take until when."""
        parser.add_argument("--as-of", type=instant, help="default and latest: now")
        parser.add_argument(
            "--keep-drafts", action="store_true", help="write drafts; finalize_invoice issues them"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="show it only; see preview_billing for more"
        )

        add_jobs(parser)

    def run(self, **options: Any) -> None:
        """Bill, report, and tell with the exit code whether anything was set aside."""
        at, started = now(), time.monotonic()
        if options["dry_run"]:
            foresee_and_show(self, options["as_of"] or at)
            return
        with self.progress("Chunks") as step:
            report = services.bill_due(
                as_of=options["as_of"] or at,
                keep_drafts=options["keep_drafts"],
                actor=self.actor,
                at=at,
                step=step,
                jobs=options["jobs"],
            )
        if self.as_json:
            self.print_json(report_json(report))
        else:
            print_report(self, report)
        sums = ", ".join(amount(minor, code) for code, minor in report.totals().items())
        seconds = time.monotonic() - started
        self.note(f"{told(report)}{sums and f', {sums}'} ({seconds:.1f} s).")
        if report.parked:
            aside = counted(len(report.parked), "subscription")
            self.note(f"Set aside: {aside}; see the reasons.")
            sys.exit(1)
