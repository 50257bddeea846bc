"""Letting raw usage go whose period is billed and proven; what was billed of it is sealed before.

For each organization: decide what nobody needs any more, prove all its books from the events while
they are there, seal, and only then have the usage room delete. See docs/proof.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from apps.core import bulk, rls
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.core.faults import point
from apps.core.ids import new_id
from apps.invoicing import books, sealing
from apps.invoicing.models import InvoiceLine, LineSeal
from apps.invoicing.sealing import Plan
from apps.tenants import selectors as tenants
from apps.usage import retention
from apps.usage import selectors as usage_selectors
from apps.usage import services as usage
from apps.usage.errors import SealRefused

log = logging.getLogger(__name__)

GRACE = timedelta(days=30)  # beyond the age up to which the API takes events


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of an organization's events: `until` is where those begin that are kept.

    `lines` counts the lines and corrections that were sealed now, `events` what went; a dry run
    says what would be sealed. `reason` is given where nothing new could be sealed, and `refused`
    says that it should have been: the books do not hold, or something came between.
    """

    organization_id: int
    until: datetime | None
    lines: int = 0
    events: int = 0
    reason: str = ""
    refused: bool = False


def prune_usage(
    *,
    before: datetime,
    actor: Actor,
    at: datetime,
    organization_id: int | None = None,
    dry_run: bool = False,
    step: Callable[[int], None] = lambda _: None,
) -> list[Pruned]:
    """Let the events go that occurred and came before `before` and are needed by nothing.

    An organization whose books do not hold loses nothing and is reported. Safe to repeat, to run
    twice at once and to kill: what is sealed stays proven, and the next run goes on. Whoever lives
    by a test clock is left alone unless named. `step` is told how many events went. Opens its own
    scopes; must not be called inside a transaction. Raises Invalid where events so young are still
    accepted, and EventStoreDiffers where ClickHouse is on and does not have them.
    """
    require("manage_platform", actor=actor, organization_id=organization_id)
    _refuse_young(before, at)
    return [
        _prune(one, before=before, actor=actor, at=at, dry_run=dry_run, step=step)
        for one in _organizations(organization_id)
    ]


def _refuse_young(before: datetime, at: datetime) -> None:
    youngest = at - timedelta(days=settings.USAGE_MAX_AGE_DAYS) - GRACE
    if before > youngest:
        raise Invalid(
            f"Events are kept for {GRACE.days} days after they are refused for their age: the"
            f" latest cutoff is {youngest:%Y-%m-%d %H:%M}.",
            param="before",
        )


def _organizations(organization_id: int | None) -> Iterable[int]:
    if organization_id is not None:
        return [organization_id]
    with rls.ops_scope("retention: whose events there are"):
        clocked = tenants.clocked_organizations()
        return [one for one in retention.organizations() if one not in clocked]


def _prune(
    organization_id: int, *, before: datetime, actor: Actor, at: datetime, dry_run: bool,
    step: Callable[[int], None],
) -> Pruned:  # fmt: skip
    with rls.ops_scope("retention: what is needed"):
        plan = sealing.plan(organization_id, cutoff=before)
    if dry_run:
        return Pruned(organization_id, plan.until, len(plan.rows), reason=plan.reason)
    lines = gone = 0
    reason, refused = plan.reason, False
    try:
        if plan.until is not None:
            _seal(plan, before=before, actor=actor, at=at)
            lines = len(plan.rows)
        gone = usage.prune(organization_id, received_before=before, actor=actor, at=at, step=step)
    except SealRefused as refusal:
        reason, refused = refusal.message, True
        log.warning("retention_refused", extra={"organization": organization_id, "why": reason})
    until = plan.until if lines or not refused else None
    return Pruned(organization_id, until, lines, gone, reason, refused)


def _seal(plan: Plan, *, before: datetime, actor: Actor, at: datetime) -> None:
    """Prove, and seal what was proven. Raises SealRefused when something does not hold or moved."""
    found = books.verify(organization_id=plan.organization_id)
    if not found.hold:
        raise SealRefused(f"The books do not hold: {found.findings[0].message}")
    point("retention.proven")
    with rls.ops_scope("retention: seal"):
        if plan != sealing.plan(plan.organization_id, cutoff=before):
            raise SealRefused("Something was billed or corrected meanwhile; try again.")
        seal_id = new_id("seal")
        rows = _line_seals(plan, seal_id, at)
        bulk.insert(rows)
        usage.seal(
            plan.organization_id,
            until=plan.until or before,
            closed_until=plan.closed_until or before,
            proof=sealing.proof(rows),
            seal_id=seal_id,
            actor=actor,
            at=at,
        )
        point("retention.sealed")


def _line_seals(plan: Plan, seal_id: str, at: datetime) -> list[LineSeal]:
    counted = usage_selectors.recount_all(sealing.claims(plan.rows))
    return [
        LineSeal(
            organization_id=plan.organization_id,
            seal=seal_id,
            line_id=row.pk if isinstance(row, InvoiceLine) else None,
            correction_id=None if isinstance(row, InvoiceLine) else row.pk,
            quantity=found.quantity,
            events=found.event_count,
            values=found.value_count,
            hash=found.hash,
            sealed_at=at,
        )
        for row, found in zip(plan.rows, counted, strict=True)
    ]
