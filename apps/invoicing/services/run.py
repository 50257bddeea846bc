"""The invoice run: everything that is due, in chunks, whoever else is running.

A chunk is one transaction over many organizations. It takes those that no other run holds, bills
the oldest boundary that each of their subscriptions has due, and writes it all in a fixed number of
statements. When anything in it fails, nothing of it stands, and its subscriptions are billed one at
a time: only those that cannot be billed are parked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError, OperationalError, transaction

from apps.audit import services as audit
from apps.core import collector, outbox, processes, rls
from apps.core.actor import Actor, require
from apps.core.errors import NotFound
from apps.core.faults import point
from apps.invoicing import selectors
from apps.invoicing.composition import Boundary, Composed, compose_all
from apps.invoicing.errors import FutureBilling
from apps.invoicing.events import SubscriptionParked
from apps.invoicing.models import Invoice, Parked
from apps.invoicing.reckoning import Conditions, Customer, conditions_of, reckon
from apps.invoicing.services import drafts
from apps.invoicing.services.drafting import Bill, Drafted, keep, write
from apps.invoicing.services.issuing import issue
from apps.invoicing.services.reports import BillingReport, Issued, issued
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscriptions
from apps.subscriptions import states
from apps.subscriptions.selectors import Due, Share
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from apps.usage.errors import UsageNotReady

if TYPE_CHECKING:
    from apps.subscriptions.models import Subscription
    from apps.tenants.models import Organization

log = logging.getLogger(__name__)

CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Run:
    """What a run was asked to do."""

    as_of: datetime
    actor: Actor
    at: datetime
    scheduled: bool
    keep_drafts: bool
    chunk: int
    organization_ids: Collection[int] | None = None
    share: Share | None = None


def bill_due(  # noqa: PLR0913 - the ways in which a run may differ
    *,
    as_of: datetime,
    actor: Actor,
    at: datetime,
    scheduled: bool = False,
    keep_drafts: bool = False,
    chunk: int = CHUNK,
    step: Callable[[], None] = lambda: None,
    organization_ids: Collection[int] | None = None,
    jobs: int = 1,
) -> BillingReport:
    """Bill every subscription and boundary up to `as_of`, oldest first: numbers follow time, at
    least those of one process.

    A run may be repeated, doubled or killed at any point: the cursor moves in the transaction that
    writes the invoice, the database refuses a second one, and runs share the work. Drafts whose
    grace is over are issued; what is out of bounds is held as a draft. A subscription that fails is
    parked with the reason and left out until it is released. `scheduled` runs leave backdated
    boundaries alone, and all leave alone who lives by a test clock, unless `organization_ids` names
    who is meant: then `at` is that clock's time. What is more than a chunk is shared among `jobs`
    processes, which needs `core.processes.pool`'s conditions. `step` is called after every chunk.
    Opens its own scopes; must not be called inside a transaction. Raises FutureBilling.
    """
    require("manage_invoices", actor=actor)
    if as_of > at:
        raise FutureBilling(
            f"Nothing is billed ahead of time: --as-of is after {at:%Y-%m-%d %H:%M}."
        )
    run = Run(as_of, actor, at, scheduled, keep_drafts, chunk, organization_ids)
    report = BillingReport()
    subscriptions.apply_changes_due(
        as_of=as_of, actor=actor, at=at, organization_ids=organization_ids
    )
    if jobs > 1 and len(_waiting(run, limit=chunk + 1)) > chunk:
        _bill_shares(run, report, jobs=jobs, step=step)
    while _bill_chunk(run, report):
        step()
    if not keep_drafts:
        report.add(
            drafts.finish_due(as_of=as_of, actor=actor, at=at, organization_ids=organization_ids)
        )
    return report


def _bill_shares(run: Run, report: BillingReport, *, jobs: int, step: Callable[[], None]) -> None:
    """Have each process bill the chunks of its own share of the organizations, in their order."""
    with processes.pool(jobs) as pool:
        shares = [replace(run, share=Share(number, jobs)) for number in range(jobs)]
        under_way = {pool.submit(_bill_apart, share): share for share in shares}
        while under_way:
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for one in done:
                share, made = under_way.pop(one), one.result()
                if made is not None:
                    under_way[pool.submit(_bill_apart, share)] = share
                    report.take_over(made)
                    step()


def _bill_apart(run: Run) -> BillingReport | None:
    """Bill one chunk in a process of its own; None when there is no more."""
    report = BillingReport()
    return report if _bill_chunk(run, report) else None


def _waiting(run: Run, *, limit: int) -> list[Due]:
    with rls.ops_scope("billing: what is due"):
        return _due(run, limit=limit, organization_ids=run.organization_ids, share=run.share)


def _due(run: Run, **among: Any) -> list[Due]:
    return subscription_selectors.due(
        run.as_of,
        scheduled=run.scheduled,
        leave_out=selectors.parked_subscriptions(),
        **among,
    )


def _bill_chunk(run: Run, report: BillingReport) -> bool:
    """Bill one chunk; tell whether there may be more."""
    waiting = _waiting(run, limit=run.chunk)
    if not waiting:
        return False
    try:
        with collector.held_back(), rls.ops_scope("billing: a chunk"):
            made = _bill(_hold(waiting, run), run)
            point("billing.before_commit")
    except (OperationalError, InterfaceError, UsageNotReady):
        raise  # the database is away, busy or just restored: nobody's fault, the next run goes on
    except Exception:  # whoever is at fault is found by billing one at a time
        log.exception("billing_chunk_failed", extra={"subscriptions": len(waiting)})
        for due in earliest(waiting):
            _bill_or_park(due, run, report)
    else:
        report.add(made)
    point("billing.committed")
    return True


def _hold(waiting: Sequence[Due], run: Run) -> list[Due]:
    """Lock what no other run holds of the organizations, and return what they have due.

    When others hold all of it, wait for the oldest: what they leave over is then ours.
    """
    wanted = sorted({due.organization_id for due in waiting})
    held = tenants.lock_free(wanted)
    if not held:
        oldest = waiting[0].organization_id
        tenants.lock(oldest)
        held = {oldest}
    return earliest(_due(run, organization_ids=held))


def earliest(dues: Sequence[Due]) -> list[Due]:
    """Return each organization's earliest instant only, of what comes oldest first.

    A customer's invoices come about in the order of time, or credit would pay the wrong one.
    """
    first: dict[int, datetime | None] = {}
    for due in dues:
        first.setdefault(due.organization_id, due.at)
    return [due for due in dues if due.at == first[due.organization_id]]


def _bill_or_park(due: Due, run: Run, report: BillingReport) -> None:
    try:
        report.add(
            bill_boundary(
                due, as_of=run.as_of, actor=run.actor, at=run.at, keep_draft=run.keep_drafts
            )
        )
    except (OperationalError, InterfaceError, UsageNotReady):
        raise
    except Exception as error:
        log.exception("billing_parked", extra={"subscription": due.subscription_id})
        report.parked.append(_park(due, error, actor=run.actor, at=run.at))


def bill_boundary(
    due: Due, *, as_of: datetime, actor: Actor, at: datetime, keep_draft: bool = False
) -> list[Issued]:
    """Bill the subscription's next boundary, when it is still due; one transaction.

    Returns nothing when somebody else was faster, when there is nothing to bill, or when a trial
    ended with nobody to charge.
    """
    with rls.tenant_scope(due.organization_id):
        tenants.lock(due.organization_id)
        made = bill_held(due, as_of=as_of, actor=actor, at=at, keep_draft=keep_draft)
        point("billing.before_commit")
    return made


def bill_held(
    due: Due, *, as_of: datetime, actor: Actor, at: datetime, keep_draft: bool = False
) -> list[Issued]:
    """Bill a subscription's boundary in the running transaction, which holds its organization."""
    run = Run(as_of, actor, at, scheduled=False, keep_drafts=keep_draft, chunk=1)
    return _bill([due], run)


def _bill(dues: Sequence[Due], run: Run) -> list[Issued]:
    """Bill the next boundary of each in the running transaction; the organizations are locked."""
    rows = subscriptions.lock_many([due.subscription_id for due in dues])
    point("billing.locked")
    subscriptions.apply_all_due(rows, as_of=run.as_of, actor=run.actor, at=run.at)
    for row in _reached(rows, run):
        if row.status == states.TRIALING:
            subscriptions.end_trial(row, actor=run.actor, at=run.at)
    rows = _reached(rows, run)
    facts = {found.id: found for found in subscription_selectors.facts(rows)}
    due = [(facts[row.pk], row.next_boundary) for row in rows]
    found = draft_boundaries(due, actor=run.actor, at=run.at)
    drafted = [draft for draft in found if draft is not None]
    point("billing.drafted")
    subscriptions.pass_boundaries(rows, facts=facts, actor=run.actor, at=run.at)
    point("billing.passed")
    if run.keep_drafts:
        keep(drafted)
    else:
        issue(drafts.keep_back(drafted, at=run.at), actor=run.actor, at=run.at)
    return [issued(draft.row) for draft in drafted]


def _reached(rows: Iterable[Subscription], run: Run) -> list[Subscription]:
    """Return the rows whose next boundary is to be billed."""
    billed = (row for row in rows if row.status in states.BILLED)
    return [row for row in billed if row.next_boundary_at <= run.as_of]


def draft_boundaries(
    boundaries: Sequence[Boundary], *, actor: Actor, at: datetime, revision: int = 0
) -> list[Drafted | None]:
    """Prepare a draft for each boundary, or one for all that an organization wants on one invoice;
    the caller keeps it or issues it.

    None where there is nothing to bill. Consolidated boundaries share the first one's place.
    """
    organizations = tenant_selectors.organizations(
        {facts.organization_id for facts, _ in boundaries}
    )
    groups = list(grouped(boundaries, organizations))
    composed = iter(compose_all([boundary for group in groups for boundary in group]))
    lines = [[line for _ in group for line in next(composed)] for group in groups]
    customers = [
        Customer(
            organizations[group[0][0].organization_id],
            group[0][0].agreement.currency,
            instant_of(group),
            [discount for facts, _ in group for discount in facts.discounts],
        )
        for group in groups
    ]
    bills = [
        _bill_of(group, customer, revision, found, conditions) if found else None
        for group, customer, found, conditions in zip(
            groups, customers, lines, conditions_of(customers), strict=True
        )
    ]
    written = iter(write([bill for bill in bills if bill is not None], actor=actor, at=at))
    return [None if bill is None else next(written) for bill in bills]


def grouped(
    boundaries: Sequence[Boundary], organizations: dict[int, Organization]
) -> Iterable[list[Boundary]]:
    """Put together what belongs on one invoice, oldest first."""

    def together(boundary: Boundary) -> tuple[object, ...]:
        facts, _ = boundary
        wanted = organizations[facts.organization_id].invoice_grouping
        alone = 0 if wanted == "consolidated" else facts.id
        kind = (facts.agreement.currency, facts.collection, facts.agreement.cycle.timezone)
        return (instant_of([boundary]), facts.organization_id, kind, alone)

    for _, group in groupby(sorted(boundaries, key=together), key=together):
        yield list(group)


def instant_of(group: Sequence[Boundary]) -> datetime:
    """Return when the boundaries of one invoice lie."""
    facts, boundary = group[0]
    return facts.agreement.cycle.boundary(boundary)


def _bill_of(
    group: Sequence[Boundary],
    customer: Customer,
    revision: int,
    lines: Sequence[Composed],
    conditions: Conditions,
) -> Bill:
    facts, boundary = group[0]
    alone = len(group) == 1
    terms = timedelta(days=customer.organization.billing_entity.payment_terms_days)
    return Bill(
        organization=customer.organization,
        reckoned=reckon(lines, conditions),
        kind=Invoice.Kind.RECURRING,
        issued_at=customer.at,
        due_at=customer.at + terms,
        timezone=facts.agreement.cycle.timezone,
        collection=facts.collection,
        subscription_id=facts.id if alone else None,
        boundary_at=customer.at,
        boundary_index=boundary if alone else None,
        revision=revision,
    )


def _park(due: Due, error: Exception, *, actor: Actor, at: datetime) -> tuple[str, str]:
    reason = f"{type(error).__name__}: {error}"[:2000]
    with rls.tenant_scope(due.organization_id):
        facts = subscription_selectors.by_id(due.subscription_id)
        row, created = Parked.objects.get_or_create(
            organization_id=due.organization_id,
            subscription_id=due.subscription_id,
            released_at=None,
            defaults={
                "boundary_at": facts.next_boundary_at,
                "reason": reason,
                "parked_at": at,
            },
        )
        if created:
            audit.record(
                action="billing.parked",
                target=facts.public_id,
                actor=actor,
                at=at,
                organization_id=due.organization_id,
                after={"reason": reason[:200]},
            )
            fact = SubscriptionParked(facts.public_id, due.organization_id, reason[:200])
            outbox.emit(fact, at=at, organization_id=due.organization_id)
    return facts.public_id, row.reason


@transaction.atomic
def release_parked(parked_id: str, *, actor: Actor, at: datetime) -> Parked:
    """Let runs bill a parked subscription again; safe to repeat."""
    row = Parked.objects.select_for_update().filter(public_id=parked_id).first()
    if row is None:
        raise NotFound(f"Nothing is parked as '{parked_id}'.")
    require("manage_invoices", actor=actor, organization_id=row.organization_id)
    if row.released_at is None:
        row.released_at = at
        row.save(update_fields=["released_at"])
        audit.record(
            action="billing.released",
            target=row.public_id,
            actor=actor,
            at=at,
            organization_id=row.organization_id,
        )
    return row
