"""`manage.py bill_thresholds`: usage beyond a threshold is billed before its period ends."""

from __future__ import annotations

from typing import Any

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.backoffice.printing import counted
from apps.backoffice.running import print_report, report_json
from apps.invoicing import services
from apps.invoicing.services import BillingReport


class Command(BaseCommand):
    """Bill usage that has passed a threshold of its plan."""

    help = (
        "Bill the usage so far of every subscription that has passed a threshold of its plan since"
        " it was billed last; the boundary bills the rest. The scheduler does this every minute."
        " Safe to repeat and to run twice at once."
    )
    examples = "  manage.py bill_thresholds\n  manage.py bill_thresholds --format json"

    def run(self, **options: Any) -> None:
        """Bill, and say what was issued."""
        made = services.bill_thresholds(actor=self.actor, at=now())
        report = BillingReport()
        report.add(made)
        if self.as_json:
            self.print_json(report_json(report))
        else:
            print_report(self, report)
        self.note(f"{counted(len(made), 'invoice')} for usage so far.")
