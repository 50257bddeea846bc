"""Late and wrong usage heals itself: final lines are rated anew, the difference is billed.

Nothing final is touched. What a line comes to now is found by the composition that billed it; the
difference to what was billed waits as a correction, for the next invoice or a credit note.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.audit import services as audit
from apps.core import outbox, rls
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.core.faults import point
from apps.engine.money import Money
from apps.engine.rating import ratio
from apps.invoicing import healing
from apps.invoicing.composition import (
    Composed,
    given_back,
    progressed_before,
    recomposed,
)
from apps.invoicing.errors import CorrectionDecided, NotCreditable, UnknownCorrection
from apps.invoicing.events import CorrectionFound
from apps.invoicing.models import Correction, CreditNote, HealingMark, InvoiceLine
from apps.invoicing.services.charges import bill_waiting
from apps.invoicing.services.notes import NoteLine, issue_credit_note
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.tenants.models import BillingEntity

log = logging.getLogger(__name__)

Status = Correction.Status
LEFT_ALONE, GIVEN_BACK = "reject", "credit_note"
NOTHING_OWED = "It comes to the same amount."
SUPERSEDED = "More usage changed; revision {} has all of it."


@dataclass(slots=True)
class HealingReport:
    """What a run looked at and did. Corrections and lines by public id."""

    lines: int = 0
    found: list[Correction] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def heal_usage(
    *,
    actor: Actor,
    at: datetime,
    organization_id: int | None = None,
    everything: bool = False,
    step: Callable[[int], None] = lambda _: None,
) -> HealingReport:
    """Find final metered lines whose events changed, and record what they come to now.

    A difference up to the issuer's limit is approved at once, a larger one waits for a decision;
    an issuer whose policy is `reject` gets none. Safe to repeat, to double and to kill: each
    organization is one transaction, and a line is corrected once for the same events. A line that
    cannot be rated is reported and tried again by the next run. What is found is dated `at`, in
    organizations on a test clock by that. Emits CorrectionFound. Opens its
    own scopes; must not be called inside a transaction. Raises UsageNotReady.
    """
    require("manage_invoices", actor=actor, organization_id=organization_id)
    with rls.ops_scope("healing: what may have changed"):
        look = healing.to_look_at(organization_id=organization_id, everything=everything)
    report = HealingReport()
    waiting = iter(look.lines)
    while chunk := list(islice(waiting, healing.CHUNK)):
        _heal_chunk(chunk, report, actor=actor, at=at)
        report.lines += len(chunk)
        step(len(chunk))
    if organization_id is None and not report.failed:
        _remember(look, at)
    return report


def _heal_chunk(
    line_ids: Sequence[int], report: HealingReport, *, actor: Actor, at: datetime
) -> None:
    with rls.ops_scope("healing: lines whose events changed"):
        late = healing.changed(line_ids)
    mine: defaultdict[int, list[int]] = defaultdict(list)
    for one in late:
        mine[one.organization_id].append(one.line_id)
    for organization_id, ids in mine.items():
        with rls.tenant_scope(organization_id):
            _heal(organization_id, ids, report, actor=actor, at=at)
            point("healing.before_commit")


def _heal(
    organization_id: int, line_ids: Sequence[int], report: HealingReport, *, actor: Actor,
    at: datetime,
) -> None:  # fmt: skip
    """Correct the lines of one organization, which is locked; they are measured once more."""
    tenants.lock(organization_id)
    organization = tenant_selectors.organization(organization_id)
    entity, at = organization.billing_entity, organization.time(at)
    if entity.late_usage == LEFT_ALONE:
        return
    rows = healing.final_lines([one.line_id for one in healing.changed(line_ids)])
    facts = subscription_selectors.by_ids([_subscription(row) for row in rows])
    found: list[Correction] = []
    for row in rows:
        try:
            with transaction.atomic():
                found += _correct(row, facts[_subscription(row)], entity, actor=actor, at=at)
        except Exception as error:  # one line that cannot be rated must not stop the others
            log.exception("healing_failed", extra={"line": row.public_id})
            report.failed.append((row.public_id, f"{type(error).__name__}: {error}"[:500]))
    report.found += found
    _settle([row for row in found if row.status == Status.APPROVED], actor=actor, at=at)


def _subscription(row: InvoiceLine) -> int:
    return 0 if row.item is None else row.item.subscription_id


def _correct(
    row: InvoiceLine, facts: SubscriptionFacts, entity: BillingEntity, *, actor: Actor,
    at: datetime,
) -> list[Correction]:  # fmt: skip
    now = _after_discounts(row, _as_it_would_be(row, facts))
    earlier = list(row.corrections.order_by("revision"))
    billed = [one for one in earlier if one.status in (Status.APPROVED, Status.BILLED)]
    revision = len(earlier) + 1
    correction = Correction(
        organization_id=row.organization_id,
        line=row,
        revision=revision,
        currency=now.amount.currency,
        quantity_before=billed[-1].quantity if billed else _quantity(row),
        quantity=now.quantity,
        amount_before=billed[-1].amount if billed else row.amount,
        amount=now.amount.minor,
        explanation=now.explanation,
        usage_epoch=now.usage_epoch or 0,
        usage_snapshot=now.usage_snapshot,
        found_at=at,
    )
    refused = [one for one in earlier if one.status == Status.REJECTED and one.decided_by]
    doubtful = bool(row.credited or refused) or _gives_back_twice(row, correction)
    correction.status = _status(correction, entity, doubtful=doubtful)
    if correction.status == Status.BILLED:
        correction.reason = NOTHING_OWED
    correction.save(force_insert=True)
    _supersede([one for one in earlier if one.status == Status.WAITING], correction)
    _tell(correction, actor=actor, at=at)
    return [correction]


def _status(correction: Correction, entity: BillingEntity, *, doubtful: bool) -> str:
    """Small differences are approved by themselves, but not where somebody has decided before, or
    where a credit note took part of the line back.
    """
    owed = Money(correction.net_difference, correction.currency)
    if not owed:
        return Status.BILLED
    return Status.WAITING if doubtful or entity.must_review(owed) else Status.APPROVED


def _supersede(waiting: Sequence[Correction], by: Correction) -> None:
    for row in waiting:
        row.status, row.reason = Status.REJECTED, SUPERSEDED.format(by.revision)
        row.save(update_fields=["status", "reason"])


def _as_it_would_be(row: InvoiceLine, facts: SubscriptionFacts) -> Composed:
    """Return the line as its boundary would bill it now, less what progressive invoices billed."""
    boundary = facts.agreement.cycle.index_at(row.during.lower) + 1
    found = [line for line in recomposed(facts, boundary) if line.item_id == row.item_id]
    if len(found) != 1:
        raise LookupError(f"the agreement no longer calls for {row.key} of {row.during}")
    now, said = found[0], row.explanation
    if said.get("rule") != "difference":
        return now
    before, share = said["before_minor"], said.get("net_of_discounts")
    part = None if share is None else Fraction(share)
    return given_back(now, before, part, said.get("paid_minor"))


def _after_discounts(row: InvoiceLine, now: Composed) -> Composed:
    """Return the line with what discounts left of its progressive part, where that differs."""
    said = now.explanation
    if said.get("rule") != "difference" or "net_of_discounts" in said:
        return now
    billed = progressed_before(row, invoice=row.invoice)
    if billed.share == row.net_share:
        return now
    return replace(now, explanation=said | {"net_of_billed_before": ratio(billed.share)})


def _gives_back_twice(row: InvoiceLine, found: Correction) -> bool:
    """Tell whether it gives back of progressive invoices what a credit note may have given back."""
    if found.net_difference >= 0 or row.explanation.get("rule") != "difference":
        return False
    return progressed_before(row).credited > 0


def _quantity(row: InvoiceLine) -> Decimal:
    return Decimal(row.quantity)


def _tell(row: Correction, *, actor: Actor, at: datetime) -> None:
    waits = row.status == Status.WAITING
    _record(row, "correction.found", actor, at, status=row.status, amount=row.net_difference)
    fact = CorrectionFound(row.public_id, row.organization_id, review=waits)
    outbox.emit(fact, at=at, organization_id=row.organization_id)


def _remember(look: healing.Look, at: datetime) -> None:
    with rls.ops_scope("healing: remember how far"):
        HealingMark.objects.update_or_create(
            place=1,
            defaults={
                "epoch": look.mark.epoch,
                "snapshot": look.mark.snapshot,
                "line": look.settled,
                "looked_at": at,
            },
        )


def _settle(rows: Sequence[Correction], *, actor: Actor, at: datetime) -> None:
    """Settle approved corrections of one organization that no boundary is to take along: what an
    issuer gives back by credit notes, and those of subscriptions that have ended.
    """
    if not rows:
        return
    entity = tenant_selectors.organization(rows[0].organization_id).billing_entity
    if entity.late_usage == GIVEN_BACK:
        for row in rows:
            _give_back(row, actor=actor, at=at)
    left = {_subscription(row.line) for row in rows if row.status == Status.APPROVED}
    for facts in subscription_selectors.by_ids(left).values():
        if not facts.is_live:
            bill_waiting(facts.id, actor=actor, at=at, everything=True)


def _give_back(row: Correction, *, actor: Actor, at: datetime) -> None:
    """Take less usage back with a credit note on the line; where less is left of that than it would
    take, the next invoice has it.
    """
    if row.net_difference >= 0:
        return
    taken = NoteLine(line=row.line.public_id, amount=Money(-row.difference, row.currency).major)
    try:
        with transaction.atomic():
            issue_credit_note(
                str(row.line.invoice.number),
                lines=[taken],
                reason=CreditNote.Reason.USAGE_CORRECTED,
                memo=row.public_id,
                actor=actor,
                at=at,
            )
    except NotCreditable:
        log.info("correction_not_credited", extra={"correction": row.public_id})
        return
    row.status = Status.BILLED
    row.save(update_fields=["status"])


@transaction.atomic
def approve_correction(
    correction_id: str, *, reason: str, actor: Actor, at: datetime
) -> Correction:
    """Let a waiting correction go on the next invoice. Raises UnknownCorrection, CorrectionDecided,
    and Invalid without a reason.
    """
    row = _waiting(correction_id, actor=actor)
    _decide(row, Status.APPROVED, reason, actor=actor, at=at)
    _settle([row], actor=actor, at=at)
    row.refresh_from_db()
    return row


@transaction.atomic
def reject_correction(correction_id: str, *, reason: str, actor: Actor, at: datetime) -> Correction:
    """Leave a line as it was billed; when its usage changes again, somebody is asked again.

    Raises UnknownCorrection, CorrectionDecided, and Invalid without a reason.
    """
    row = _waiting(correction_id, actor=actor)
    _decide(row, Status.REJECTED, reason, actor=actor, at=at)
    return row


def _waiting(correction_id: str, *, actor: Actor) -> Correction:
    row = Correction.objects.filter(public_id=correction_id).first()
    if row is None or actor.organization_id not in (None, row.organization_id):
        raise UnknownCorrection(f"There is no correction '{correction_id}'.")
    require("manage_invoices", actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    row = Correction.objects.select_for_update().get(pk=row.pk)
    if row.status != Status.WAITING:
        raise CorrectionDecided(f"This correction is {row.status} and waits for no decision.")
    return row


def _decide(row: Correction, status: str, reason: str, *, actor: Actor, at: datetime) -> None:
    if not reason.strip():
        raise Invalid("Say why: whoever looks at the correction later will ask.", param="reason")
    row.status, row.decided_at, row.decided_by = status, at, actor.id
    row.reason = reason.strip()[:200]
    row.save(update_fields=["status", "decided_at", "decided_by", "reason"])
    _record(row, f"correction.{status}", actor, at, reason=row.reason)


def _record(row: Correction, action: str, actor: Actor, at: datetime, **after: Any) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after=after | {"line": row.line.public_id, "currency": row.currency},
    )
