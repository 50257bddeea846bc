"""`manage.py preview_billing`: what an instant would bill, without billing it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandParser

from apps.analytics.foresight import Failed, Foreseen, Outlook, foresee_due
from apps.backoffice.commands import Command as BaseCommand
from apps.backoffice.commands import amount, instant, now
from apps.backoffice.printing import invoice_json
from apps.core import rls
from apps.engine.period import iso
from apps.tenants import selectors as tenants

COLUMNS = ("Date", "Organization", "Plan", ">Lines", ">Total")


class Command(BaseCommand):
    """Foresee the invoices of every boundary up to an instant."""

    help = (
        "Show what billing up to --as-of would bill, past or to come, without writing anything:"
        " scheduled changes, ends of trials, discounts, taxes and credit take their turns as they"
        " would. Usage counts as it stands now. Exit code 1 when a subscription would be set aside."
    )
    examples = (
        "  manage.py preview_billing --as-of 2027-01-01T00:00:00Z\n"
        "  manage.py preview_billing --as-of 2027-01-01 --organization acme --lines --format json"
    )

    def arguments(self, parser: CommandParser) -> None:
        """Take until when, and whose."""
        parser.add_argument("--as-of", type=instant, help="default: now")
        parser.add_argument(
            "--organization", metavar="SLUG", help="only this one, on a test clock too"
        )
        parser.add_argument("--lines", action="store_true", help="every line, not the sums alone")

    def run(self, **options: Any) -> None:
        """Walk ahead and print; tell with the exit code whether anything would be set aside."""
        wanted = None
        if options["organization"]:
            with rls.ops_scope("preview_billing: find the organization"):
                wanted = [tenants.get_organization(options["organization"]).pk]
        found: list[Foreseen] = []
        failed: list[Failed] = []
        with self.progress("Invoices") as advance:
            for one in foresee_due(options["as_of"] or now(), organization_ids=wanted):
                if isinstance(one, Foreseen):
                    found.append(one)
                else:
                    failed.append(one)
                advance()
        show_outlook(self, found, failed, lines=options["lines"])


def show_outlook(
    command: BaseCommand, found: list[Foreseen], failed: list[Failed], *, lines: bool
) -> None:
    """Print what would be billed; leave with code 1 when something would be set aside."""
    everything: list[Outlook] = [*found, *failed]
    slugs = _slugs(one.organization_id for one in everything)
    sums: Counter[str] = Counter()
    for one in found:
        sums[one.document.currency] += one.document.total
    if command.as_json:
        command.print_json(_json(found, failed, slugs, sums, lines=lines))
    else:
        _print(command, found, failed, slugs, lines=lines)
    said = ", ".join(amount(minor, code) for code, minor in sums.items())
    command.note(f"{len(found)} invoices{said and f', {said}'} would be made; nothing was written.")
    if failed:
        command.note(f"{len(failed)} subscriptions would be set aside; see the reasons.")
        sys.exit(1)


def _slugs(organization_ids: Iterable[int]) -> dict[int, str]:
    with rls.ops_scope("preview_billing: name the organizations"):
        found = tenants.organizations(set(organization_ids))
    return {key: row.slug for key, row in found.items()}


def _print(
    command: BaseCommand,
    found: list[Foreseen],
    failed: list[Failed],
    slugs: dict[int, str],
    *,
    lines: bool,
) -> None:
    rows: list[tuple[object, ...]] = []
    for one in found:
        told, plans = one.document, ", ".join(dict.fromkeys(one.plans))
        total = amount(told.total, told.currency)
        who = slugs[one.organization_id]
        rows.append((iso(told.issued_at), who, plans, len(told.lines), total))
        if lines:
            rows += [
                ("", "", f"  {line.name}", line.reason, amount(line.amount, told.currency))
                for line in told.lines
            ]
    if rows:
        command.print_table(COLUMNS, rows)
    if failed:
        heads = ["Would be set aside", "Organization", "Boundary", "Reason"]
        command.print_table(
            heads,
            [
                (one.subscription, slugs[one.organization_id], iso(one.boundary_at), one.reason)
                for one in failed
            ],
        )


def _json(
    found: list[Foreseen],
    failed: list[Failed],
    slugs: dict[int, str],
    sums: Counter[str],
    *,
    lines: bool,
) -> dict[str, Any]:
    invoices = []
    for one in found:
        told = invoice_json(one.document)
        if not lines:
            told["lines"] = len(one.document.lines)
        told |= {"organization": slugs[one.organization_id], "subscriptions": one.subscriptions}
        invoices.append(told)
    aside = [
        {
            "subscription": one.subscription,
            "organization": slugs[one.organization_id],
            "boundary_at": iso(one.boundary_at),
            "reason": one.reason,
        }
        for one in failed
    ]
    return {"invoices": invoices, "set_aside": aside, "totals": dict(sums)}
