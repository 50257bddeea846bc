"""Which usage has done its work: what is still needed of an organization's events, and what of its
lines is proven from seals.

Usage knows no subscription, so what may go is decided here. Needed are the periods that are not
billed yet, drafts, and final lines that may still be corrected: those whose period ends after the
cutoff, or with a correction that waits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, OuterRef

from apps.engine.aggregation import Aggregation
from apps.engine.invoice import windows_needed
from apps.engine.period import Period
from apps.invoicing import evidence
from apps.invoicing.models import Correction, Invoice, InvoiceLine, LineSeal
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.usage import retention
from apps.usage import selectors as usage

HOUR = timedelta(hours=1)
Metered = InvoiceLine | Correction
WAITING = (Correction.Status.WAITING, Correction.Status.APPROVED)


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be sealed: events before `until`, and these lines and corrections with them.

    `until` is None where nothing can be; `reason` says what stands in the way then.
    """

    organization_id: int
    until: datetime | None
    closed_until: datetime | None = None
    rows: Sequence[Metered] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SealedLines:
    """How many lines and corrections of an organization are proven from one seal."""

    organization_id: int
    sealed_at: datetime
    until: datetime
    lines: int


def plan(organization_id: int, *, cutoff: datetime) -> Plan:
    """Return what may be sealed of what occurred before the cutoff; needs the ops scope."""
    rows = _metered(organization_id)
    levels = _levels(organization_id, rows)
    if levels:
        said = f"'{levels}' bills a level, which is made of all events before it"
        return Plan(organization_id, None, reason=said)
    needed = [*_unbilled(organization_id), *_waiting(rows, cutoff), *_drafted(organization_id)]
    until = _hour(min([cutoff, *needed]))
    last = retention.last_seal(organization_id)
    if last is not None and until <= last.until:
        return Plan(organization_id, None, reason=f"sealed until {last.until:%Y-%m-%d} already")
    going = [row for row in rows if _window(row).start < until]
    closed = max([until, *(_window(row).end for row in going)])
    return Plan(organization_id, until, closed, going)


def _metered(organization_id: int) -> list[Metered]:
    """Return the final metered lines, also of void invoices, and the corrections of lines, as far
    as they are not sealed.
    """
    lines = InvoiceLine.objects.filter(
        organization_id=organization_id, usage_epoch__isnull=False
    ).exclude(invoice__status=Invoice.Status.DRAFT)
    corrections = Correction.objects.filter(organization_id=organization_id)
    seals = LineSeal.objects.filter(organization_id=organization_id)
    return [
        *lines.exclude(Exists(seals.filter(line_id=OuterRef("pk")))).order_by("pk"),
        *corrections.exclude(Exists(seals.filter(correction_id=OuterRef("pk")))).order_by("pk"),
    ]


def _levels(organization_id: int, rows: Iterable[Metered]) -> str:
    """Return a meter that is billed and carries a level over from everything before, if any."""
    sold = {
        item.item.meter
        for facts in subscriptions.of_organization(organization_id)
        for item in facts.items
        if item.item.meter is not None
    }
    billed = sold | {row.explanation["meter"] for row in rows}
    levels = (one.key for one in usage.meters() if one.aggregation is Aggregation.WEIGHTED_SUM)
    return min((key for key in levels if key in billed), default="")


def _unbilled(organization_id: int) -> Iterable[datetime]:
    """Return where the periods begin that are still to be billed."""
    for facts in subscriptions.of_organization(organization_id):
        if facts.is_live:
            yield from _of_next_boundary(facts)


def _of_next_boundary(facts: SubscriptionFacts) -> Iterable[datetime]:
    agreement, boundary = facts.agreement, facts.next_boundary
    yield from (window.period.start for window in windows_needed(agreement, boundary))
    ahead = agreement.ahead(boundary)
    if ahead is not None and any(item.item.meter is not None for item in facts.items):
        yield ahead.start


def _waiting(rows: Iterable[Metered], cutoff: datetime) -> Iterable[datetime]:
    for row in rows:
        window = _window(row)
        waits = isinstance(row, Correction) and row.status in WAITING
        if window.end > cutoff or waits:
            yield window.start


def _drafted(organization_id: int) -> Iterable[datetime]:
    drafts = InvoiceLine.objects.filter(
        organization_id=organization_id,
        usage_epoch__isnull=False,
        invoice__status=Invoice.Status.DRAFT,
    )
    return [_window(row).start for row in drafts]


def _window(row: Metered) -> Period:
    want = _evidence(row).claim.want
    return Period(want.start, want.end)


def _evidence(row: Metered) -> evidence.Evidence:
    return evidence.of_line(row) if isinstance(row, InvoiceLine) else evidence.of_correction(row)


def _hour(moment: datetime) -> datetime:
    return usage.ORIGIN + (moment - usage.ORIGIN) // HOUR * HOUR


# --- what is sealed ------------------------------------------------------------------------------
def name(row: Metered) -> tuple[str, int]:
    """Return what a line or a correction is looked up by."""
    return type(row).__name__, row.pk


def sealed(rows: Iterable[Metered]) -> dict[tuple[str, int], LineSeal]:
    """Return the seals of those of the lines and corrections that have one."""
    ids: dict[str, list[int]] = {"InvoiceLine": [], "Correction": []}
    for row in rows:
        ids[type(row).__name__].append(row.pk)
    lines = LineSeal.objects.filter(line_id__in=ids["InvoiceLine"])
    corrections = LineSeal.objects.filter(correction_id__in=ids["Correction"])
    return {("InvoiceLine", one.line_id or 0): one for one in lines} | {
        ("Correction", one.correction_id or 0): one for one in corrections
    }


def measured(row: Metered, seal: LineSeal) -> usage.Measured:
    """Return what a sealed line or correction had counted."""
    claim = _evidence(row).claim
    return usage.Measured(
        quantity=seal.quantity,
        event_count=seal.events,
        value_count=seal.values,
        hash=seal.hash,
        epoch=claim.epoch,
        snapshot=claim.snapshot,
        filter=claim.want.filter,
    )


def claims(rows: Iterable[Metered]) -> list[tuple[int, usage.Claim]]:
    """Return what each line or correction counted, to count it again."""
    return [(row.organization_id, _evidence(row).claim) for row in rows]


def proof(rows: Iterable[LineSeal]) -> str:
    """Return the SHA-256 over line ids, quantities and event hashes, which the seal keeps."""
    said = sorted(
        f"{row.line_id or 0} {row.correction_id or 0} {row.quantity.normalize():f}"
        f" {row.events} {row.values} {row.hash}"
        for row in rows
    )
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def altered(organization_id: int | None = None) -> list[tuple[str, str]]:
    """Return (public id, sentence) of the seals that do not hold, for the books."""
    found = retention.altered_seals(organization_id)
    for seal in retention.seals(organization_id):
        rows = LineSeal.objects.filter(organization_id=seal.organization_id, seal=seal.id)
        if proof(rows) != seal.proof:
            found.append((seal.id, f"the lines under seal {seal.id} are not those it was made for"))
    return found


def sealed_lines(organization_id: int | None = None) -> list[SealedLines]:
    """Return how many lines each seal proves; needs a scope."""
    rows = LineSeal.objects.all()
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    counts = dict(rows.values_list("seal").annotate(Count("id")).order_by())
    return [
        SealedLines(seal.organization_id, seal.sealed_at, seal.until, counts[seal.id])
        for seal in retention.seals(organization_id)
        if seal.id in counts
    ]
