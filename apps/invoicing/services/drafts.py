"""The life of a draft: kept back for review or grace, approved, refreshed, issued or discarded.

A draft that is issued late keeps its date, which decides the taxes, but the days to pay count from
the issue: nobody can pay what they have not seen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import transaction

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Invalid
from apps.invoicing import selectors
from apps.invoicing.bounds import reasons_to_hold
from apps.invoicing.composition import (
    Boundary,
    Composed,
    compose_all,
    progressive_lines,
    restored,
)
from apps.invoicing.errors import HeldForReview, NotADraft, NotHeld
from apps.invoicing.models import Charge, Invoice
from apps.invoicing.reckoning import Customer, conditions_of, reckon
from apps.invoicing.services.drafting import Drafted, keep, rewrite
from apps.invoicing.services.finding import find_and_lock, lock, record
from apps.invoicing.services.issuing import issue
from apps.invoicing.services.reports import Issued, issued
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscriptions
from apps.subscriptions.facts import DiscountFacts, SubscriptionFacts
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants


def keep_back(drafted: Sequence[Drafted], *, at: datetime, grace: bool = True) -> list[Drafted]:
    """Hold what is out of bounds, give the rest its grace, and return what can be issued now.

    What is held or waits is stored as a draft.
    """
    reasons = reasons_to_hold([(draft.row, draft.lines) for draft in drafted], at=at)
    ready: list[Drafted] = []
    kept: list[Drafted] = []
    for draft, reason in zip(drafted, reasons, strict=True):
        row = draft.row
        days = timedelta(days=row.billing_entity.grace_days if grace else 0)
        row.hold_reason = reason[:500]
        row.grace_until = row.issued_at + days if days else None
        waits = row.grace_until is not None and row.grace_until > at
        (kept if row.hold_reason or waits else ready).append(draft)
    keep(kept)
    return ready


def finish_due(
    *,
    as_of: datetime,
    actor: Actor,
    at: datetime,
    organization_ids: Collection[int] | None = None,
) -> Iterator[Issued]:
    """Issue the drafts whose grace is over, with the usage that came in meanwhile, as they are
    asked for; one transaction each. Held ones stay. `organization_ids` as for `bill_due`.
    """
    with rls.ops_scope("billing: drafts whose grace is over"):
        rows = Invoice.objects.filter(
            status=Invoice.Status.DRAFT, hold_reason="", grace_until__lte=as_of
        ).order_by("issued_at", "id")
        if organization_ids is None:
            rows = rows.filter(organization__test_clock=None)
        else:
            rows = rows.filter(organization_id__in=list(organization_ids))
        waiting = list(rows.values_list("organization_id", "pk"))
    for one in waiting:
        made = _finish(*one, actor=actor, at=at)
        if made is not None:
            yield made


def _finish(organization_id: int, invoice_id: int, *, actor: Actor, at: datetime) -> Issued | None:
    with rls.tenant_scope(organization_id):
        tenants.lock(organization_id)
        row = lock(invoice_id)
        if row.status != Invoice.Status.DRAFT or row.hold_reason:
            return None
        draft = refreshed(row, actor=actor, at=at)
        if draft is None:
            return None
        _issue(draft, actor=actor, at=at)
        return issued(row)


def _issue(draft: Drafted, *, actor: Actor, at: datetime) -> None:
    """Issue a locked draft, due as many days after `at` as it was after the date that it bears."""
    row = draft.row
    if at > row.issued_at:
        row.due_at += at - row.issued_at
        row.save(update_fields=["due_at"])
    issue([draft], actor=actor, at=at)


def refreshed(row: Invoice, *, actor: Actor, at: datetime) -> Drafted | None:
    """Compose a locked draft anew, with usage, discounts and credit as they stand now.

    None, and the draft is gone, when nothing is left to be billed. Charges and changes stay as they
    are, and usage so far does once its period is over: the boundary has billed what was beyond it.
    """
    facts = _under_way(row)
    if row.kind != Invoice.Kind.RECURRING and facts is None:
        return as_it_stands(row)
    lines = _composed_again(row) if facts is None else _counted_again(row, facts)
    if not lines:
        _discard(row, actor=actor, at=at)
        return None
    return _reckoned_again(row, lines)


def _composed_again(row: Invoice) -> list[Composed]:
    boundaries = boundaries_of(row)
    row.lines.all().delete()
    return [line for found in compose_all(boundaries) for line in found]


def _under_way(row: Invoice) -> SubscriptionFacts | None:
    """Return the subscription whose period under way a draft for usage so far bills, if it does."""
    if row.kind != Invoice.Kind.PROGRESSIVE or row.subscription_id is None:
        return None
    facts = subscription_selectors.by_id(row.subscription_id)
    is_open = facts.next_boundary and row.period.lower >= facts.billed_until
    return facts if is_open else None


def _counted_again(row: Invoice, facts: SubscriptionFacts) -> list[Composed]:
    """Count usage so far anew; a line keeps its place among those of its item and period."""
    places = {(line.item_id, line.during.lower): line.revision for line in row.lines.all()}
    row.lines.all().delete()
    return [
        replace(line, revision=places.get((line.item_id, line.period.start), line.revision))
        for line in progressive_lines(facts)
        if line.amount.minor > 0
    ]


def as_it_stands(row: Invoice) -> Drafted:
    """Return a locked draft with its lines as they are, and the credit that is there now."""
    return _reckoned_again(row, [restored(line) for line in row.lines.order_by("position")])


def boundaries_of(row: Invoice) -> list[Boundary]:
    """Return which boundaries of which subscriptions the invoice bills."""
    found = subscription_selectors.by_ids(selectors.agreements_on(row))
    if row.boundary_at is None:
        return []
    return [
        (
            facts,
            facts.agreement.cycle.index_at(row.boundary_at)
            if row.boundary_index is None
            else row.boundary_index,
        )
        for facts in found.values()
    ]


def _reckoned_again(row: Invoice, lines: Sequence[Composed]) -> Drafted:
    counted = frozenset(row.discounts.values_list("discount", flat=True))
    customer = Customer(
        tenant_selectors.organization(row.organization_id),
        row.currency,
        row.issued_at,
        _discounts_of(row, lines),
        counted,
    )
    (conditions,) = conditions_of([customer])
    return rewrite(row, reckon(lines, conditions))


def _discounts_of(row: Invoice, lines: Sequence[Composed]) -> list[DiscountFacts]:
    """Return the organization's own discounts, and those of the subscriptions that are billed."""
    charged = Charge.objects.filter(pk__in=[line.charge_id for line in lines if line.charge_id])
    mine = {None, row.subscription_id, *(line.subscription_id for line in lines)}
    mine.update(charged.values_list("subscription_id", flat=True))
    found = subscription_selectors.discounts_of(row.organization_id)
    return [facts for facts in found if facts.subscription_id in mine]


@transaction.atomic
def finalize_invoice(reference: str, *, actor: Actor, at: datetime) -> Invoice:
    """Issue a draft as it stands, grace or not; the days to pay begin now.

    Raises NotADraft (of two who try, one wins), and HeldForReview for one that somebody has to
    approve first.
    """
    row = _draft(reference, actor=actor)
    if row.is_held:
        raise HeldForReview(f"This draft waits for approval: {row.hold_reason}")
    _issue(as_it_stands(row), actor=actor, at=at)
    return row


@transaction.atomic
def approve_invoice(reference: str, *, reason: str, actor: Actor, at: datetime) -> Invoice:
    """Approve a held draft and issue it; the days to pay begin now.

    Raises NotADraft, NotHeld and Invalid.
    """
    row = _draft(reference, actor=actor)
    if not row.is_held:
        raise NotHeld("This draft waits for nobody; issue it with finalize_invoice.")
    row.approved_by, row.approved_at = actor.id, at
    row.approval_reason = _said(reason)
    row.save(update_fields=["approved_by", "approved_at", "approval_reason"])
    record(row, "invoice.approved", actor, at, after={"reason": row.approval_reason})
    _issue(as_it_stands(row), actor=actor, at=at)
    return row


@transaction.atomic
def hold_invoice(reference: str, *, reason: str, actor: Actor, at: datetime) -> Invoice:
    """Hold a draft until somebody approves it. Raises NotADraft, and Invalid without a reason."""
    row = _draft(reference, actor=actor)
    row.hold_reason = _said(reason)
    row.save(update_fields=["hold_reason"])
    record(row, "invoice.held", actor, at, after={"reason": row.hold_reason})
    return row


@transaction.atomic
def refresh_draft(reference: str, *, actor: Actor, at: datetime) -> Invoice | None:
    """Compute a draft anew from what stands now; None when nothing is left to be billed."""
    row = _draft(reference, actor=actor)
    draft = refreshed(row, actor=actor, at=at)
    record(row, "invoice.refreshed", actor, at)
    return None if draft is None else row


@transaction.atomic
def discard_draft(reference: str, *, reason: str, actor: Actor, at: datetime) -> None:
    """Throw a draft away. What it billed waits for the next invoice, or for `bill_now`."""
    row = _draft(reference, actor=actor)
    record(row, "invoice.discarded", actor, at, after={"reason": _said(reason)})
    _discard(row, actor=actor, at=at)


def _discard(row: Invoice, *, actor: Actor, at: datetime) -> None:
    used = row.discounts.values_list("discount", flat=True)
    subscriptions.restore_discounts(used, actor=actor, at=at)
    for parts in (row.lines, row.taxes, row.discounts):
        parts.all().delete()
    row.delete()


def _draft(reference: str, *, actor: Actor) -> Invoice:
    row = find_and_lock(reference, actor=actor, capability="manage_invoices")
    if row.status != Invoice.Status.DRAFT:
        raise NotADraft(f"Invoice {row} is final already.")
    return row


def _said(reason: str) -> str:
    if not reason.strip():
        raise Invalid("Say why: whoever looks at the invoice later will ask.", param="reason")
    return reason.strip()[:200]
