"""How commands show what would be billed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from apps.analytics.foresight import Failed, Foreseen, Outlook, foresee_due
from apps.backoffice.commands import Command, amount
from apps.backoffice.printing import counted, invoice_json
from apps.core import rls
from apps.engine.period import iso
from apps.tenants import selectors as tenants

COLUMNS = ("Date", "Organization", "Plan", ">Lines", ">Total")


def foresee_and_show(
    command: Command,
    as_of: datetime,
    *,
    organization_ids: Collection[int] | None = None,
    lines: bool = False,
) -> None:
    """Print what billing up to `as_of` would make, by date; leave with code 1 when something would
    be set aside.
    """
    found: list[Foreseen] = []
    failed: list[Failed] = []
    with command.progress("Invoices") as advance:
        for one in foresee_due(as_of, organization_ids=organization_ids):
            if isinstance(one, Foreseen):
                found.append(one)
            else:
                failed.append(one)
            advance()
    found.sort(key=lambda one: one.document.issued_at)
    _show(command, found, failed, lines=lines)


def _show(command: Command, found: list[Foreseen], failed: list[Failed], *, lines: bool) -> None:
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
    made = counted(len(found), "invoice")
    command.note(f"{made}{said and f', {said}'} would be made; nothing was written.")
    if failed:
        command.note(f"{counted(len(failed), 'subscription')} would be set aside; see the reasons.")
        sys.exit(1)


def _slugs(organization_ids: Iterable[int]) -> dict[int, str]:
    with rls.ops_scope("preview_billing: name the organizations"):
        found = tenants.organizations(set(organization_ids))
    return {key: row.slug for key, row in found.items()}


def _print(
    command: Command,
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
