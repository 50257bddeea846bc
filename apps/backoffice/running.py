"""How commands report a billing run: what was issued, what waits and why, what was set aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apps.backoffice.commands import Command, amount
from apps.backoffice.printing import counted
from apps.core import rls
from apps.invoicing.services import BillingReport, Issued
from apps.tenants import selectors as tenants


def print_report(command: Command, report: BillingReport) -> None:
    """Print invoices, drafts that wait, and subscriptions that were set aside, as tables.

    A long run lists its first invoices only.
    """
    slugs = _slugs(report)
    final, held, grace = parts(report)
    for head, rows in (("Invoice", final), ("In grace", grace)):
        if rows:
            shown = [(one.number or one.id, *_amount(one, slugs)) for one in rows]
            command.print_table([head, "Organization", ">Total"], shown)
    if held:
        shown_held = [(one.id, *_amount(one, slugs), one.hold_reason) for one in held]
        command.print_table(["Held", "Organization", ">Total", "Because"], shown_held)
    if report.count > len(report.issued):
        command.note(f"{report.count - len(report.issued)} more are not listed.")
    if report.parked:
        command.print_table(["Set aside", "Reason"], report.parked)


def _amount(one: Issued, slugs: Mapping[int, str]) -> tuple[str, str]:
    return slugs[one.organization_id], amount(one.total, one.currency)


def parts(report: BillingReport) -> tuple[list[Issued], list[Issued], list[Issued]]:
    """Return the listed: what is final, what is held for review, what are other drafts."""
    final = [one for one in report.issued if one.number is not None]
    drafts = [one for one in report.issued if one.number is None]
    return final, [d for d in drafts if d.hold_reason], [d for d in drafts if not d.hold_reason]


def told(report: BillingReport) -> str:
    """Return how many of each there are."""
    said = [counted(report.final, "invoice")]
    said += [f"{report.held} held for review"] if report.held else []
    said += [counted(report.drafts, "draft")] if report.drafts else []
    return ", ".join(said)


def report_json(report: BillingReport) -> dict[str, Any]:
    """Return it as JSON values; in `issued` a draft has no number, and a reason when it is held.

    `issued` lists the first invoices of a long run; `count` is how many there are.
    """
    slugs = _slugs(report)
    parked = [{"subscription": key, "reason": reason} for key, reason in report.parked]
    issued = list(_issued(report.issued, slugs))
    return {
        "issued": issued,
        "count": report.count,
        "parked": parked,
        "totals": report.totals(),
    }


def _issued(rows: Sequence[Issued], slugs: Mapping[int, str]) -> Iterable[dict[str, Any]]:
    for one in rows:
        yield {
            "id": one.id,
            "number": one.number,
            "organization": slugs[one.organization_id],
            "total": one.total,
            "currency": one.currency,
            "hold_reason": one.hold_reason or None,
        }


def _slugs(report: BillingReport) -> dict[int, str]:
    with rls.ops_scope("billing report: name the organizations"):
        known = {one.organization_id for one in report.issued}
        return {key: row.slug for key, row in tenants.organizations(known).items()}
