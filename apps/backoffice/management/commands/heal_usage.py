"""`manage.py heal_usage`: bill or give back what late, voided and corrected events change."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import now
from apps.backoffice.printing import CORRECTION_HEADS, correction_json, correction_row, counted
from apps.core import rls
from apps.invoicing import healing, services
from apps.tenants import selectors as tenants


class Command(BaseCommand):
    """Rate final lines anew whose events changed."""

    help = (
        "Find final invoice lines whose usage came late, was voided or corrected, and record the"
        " difference as a correction for the next invoice. The scheduler does this every ten"
        " minutes. Safe to repeat, to run twice at once and to kill. Exit code 1 when a line could"
        " not be rated."
    )
    examples = "  manage.py heal_usage\n  manage.py heal_usage --everything --format json"

    def arguments(self, parser: CommandParser) -> None:
        """Take whose, and whether to look at all lines."""
        parser.add_argument("--organization", metavar="SLUG", help="of one organization only")
        parser.add_argument(
            "--everything", action="store_true", help="look at every line, not only at what changed"
        )

    def run(self, **options: Any) -> None:
        """Heal, and show what was found."""
        slug = options["organization"]
        with rls.ops_scope("heal_usage: find the organization"):
            organization_id = tenants.get_organization(slug).pk if slug else None
        with self.progress("Lines") as step:
            report = services.heal_usage(
                actor=self.actor,
                at=now(),
                organization_id=organization_id,
                everything=options["everything"],
                step=step,
            )
        with rls.ops_scope("heal_usage: show what was found"):
            rows = healing.named([row.pk for row in report.found])
        failed = [{"line": line, "reason": reason} for line, reason in report.failed]
        if self.as_json:
            found = [correction_json(row) for row in rows]
            self.print_json({"lines": report.lines, "corrections": found, "failed": failed})
        elif rows:
            self.print_table(CORRECTION_HEADS, [correction_row(row) for row in rows])
        self.note(f"Looked at {counted(report.lines, 'line')}; {counted(len(rows), 'correction')}.")
        for one in failed:
            self.note(f"Line {one['line']} could not be rated: {one['reason']}")
        if failed:
            sys.exit(1)
