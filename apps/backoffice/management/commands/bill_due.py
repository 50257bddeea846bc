"""`manage.py bill_due`: issue what is due."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, instant, now
from apps.core import rls
from apps.invoicing import services
from apps.invoicing.services import BillingReport
from apps.tenants import selectors as tenants


class Command(BaseCommand):
    """Bill every subscription's boundaries up to an instant."""

    help = (
        "Issue one invoice for every subscription and period boundary up to --as-of, backdated ones"
        " too. Safe to repeat, to run twice at once and to kill. Exit code 1 when a subscription"
        " could not be billed and was set aside; release_parked lets it in again."
    )
    examples = (
        "  manage.py bill_due --as-of 2023-12-01T00:00:00Z\n"
        "  manage.py bill_due --keep-drafts --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take until when."""
        parser.add_argument("--as-of", type=instant, help="default and latest: now")
        parser.add_argument(
            "--keep-drafts", action="store_true", help="write drafts; finalize_invoice issues them"
        )

    def run(self, **options: Any) -> None:
        """Bill, report, and tell with the exit code whether anything was set aside."""
        at, started = now(), time.monotonic()
        with self.progress("Invoices") as step:
            report = services.bill_due(
                as_of=options["as_of"] or at,
                keep_drafts=options["keep_drafts"],
                actor=self.actor,
                at=at,
                step=step,
            )
        self._print(report, _slugs(report))
        sums = ", ".join(amount(minor, code) for code, minor in report.totals().items())
        seconds = time.monotonic() - started
        self.note(f"{len(report.issued)} invoices{sums and f', {sums}'} ({seconds:.1f} s).")
        if report.parked:
            self.note(f"{len(report.parked)} subscriptions were set aside; see the reasons.")
            sys.exit(1)

    def _print(self, report: BillingReport, slugs: Mapping[int, str]) -> None:
        if self.as_json:
            self.print_json(_json(report, slugs))
            return
        rows = [
            (one.number or one.id, slugs[one.organization_id], amount(one.total, one.currency))
            for one in report.issued
        ]
        if rows:
            self.print_table(["Invoice", "Organization", ">Total"], rows)
        if report.parked:
            self.print_table(["Set aside", "Reason"], report.parked)


def _slugs(report: BillingReport) -> dict[int, str]:
    with rls.ops_scope("bill_due: name the organizations"):
        known = {one.organization_id for one in report.issued}
        return {one: tenants.organization(one).slug for one in known}


def _json(report: BillingReport, slugs: Mapping[int, str]) -> dict[str, Any]:
    issued = [
        {
            "id": one.id,
            "number": one.number,
            "organization": slugs[one.organization_id],
            "total": one.total,
            "currency": one.currency,
        }
        for one in report.issued
    ]
    parked = [{"subscription": key, "reason": reason} for key, reason in report.parked]
    return {"issued": issued, "parked": parked, "totals": report.totals()}
