"""`verify_books`: recompute every final invoice from stored facts; exit 1 on any difference."""

from __future__ import annotations

import sys
import time
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as Base
from apps.backoffice.commands import add_jobs
from apps.backoffice.printing import counted
from apps.core import rls
from apps.engine.decimals import plain
from apps.invoicing import books
from apps.tenants import selectors as tenants


class Command(Base):
    """Prove the books."""

    help = (
        "Recompute every final invoice from stored facts, check events, buckets, corrections, "
        "credit, ledger, deferred revenue, numbers and audit chains. Exit code 1 and one line per "
        "finding when anything differs."
    )
    examples = (
        "  manage.py verify_books --jobs 4\n"
        "  manage.py verify_books --organization acme --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Add the choice of one organization."""
        parser.add_argument("--organization", metavar="SLUG", help="prove one organization only")
        add_jobs(parser)

    def run(self, **options: Any) -> None:
        """Verify, print and say with the exit code whether the books hold."""
        organization_id, total = self._scope(options["organization"])
        started = time.monotonic()
        with self.progress("invoices", total) as step:
            found = books.verify(organization_id=organization_id, step=step, jobs=options["jobs"])
        with rls.ops_scope("books: late usage"):
            late = books.late_usage(organization_id=organization_id)
            sealed = books.sealed_lines(organization_id)
            slugs = tenants.organizations({one.organization_id for one in sealed})
        if self.as_json:
            self.print_json(
                {
                    "ok": found.hold,
                    "invoices": found.invoices,
                    "lines": found.lines,
                    "late_usage": [
                        {
                            "invoice": one.invoice,
                            "organization": one.organization,
                            "key": one.key,
                            "events": one.events,
                            "quantity": plain(one.quantity),
                        }
                        for one in late
                    ],
                    "sealed": [
                        {
                            "organization": slugs[one.organization_id].slug,
                            "sealed_at": one.sealed_at.isoformat(),
                            "until": one.until.isoformat(),
                            "lines": one.lines,
                        }
                        for one in sealed
                    ],
                    "findings": [
                        {"kind": f.kind, "target": f.target, "message": f.message}
                        for f in found.findings
                    ],
                }
            )
        else:
            for finding in found.findings:
                self.stdout.write(finding.message)
        for one in late:
            self.note(
                f"Not billed: {one.events} late events ({plain(one.quantity)} of {one.key}) of "
                f"{one.organization}, after {one.invoice} was final. heal_usage bills them, unless "
                "the issuer's late usage is rejected."
            )
        for seal in sealed:
            self.note(
                f"Sealed on {seal.sealed_at:%Y-%m-%d}: {counted(seal.lines, 'line')} of"
                f" {slugs[seal.organization_id].slug}, proven from the seal; their events may be"
                " gone by retention."
            )
        seconds = time.monotonic() - started
        verdict = "the books hold" if found.hold else counted(len(found.findings), "finding")
        seen = f"{counted(found.invoices, 'invoice')}, {counted(found.lines, 'line')}"
        self.note(f"{seen}: {verdict} ({seconds:.1f} s)")
        if not found.hold:
            sys.exit(1)

    def _scope(self, slug: str | None) -> tuple[int | None, int]:
        with rls.ops_scope("books: count"):
            organization_id = tenants.get_organization(slug).pk if slug else None
            return organization_id, books.count(organization_id)
