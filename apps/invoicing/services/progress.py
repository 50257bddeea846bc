"""Progressive billing: an invoice as soon as usage passes a threshold, credited at the boundary."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db.models import Sum

from apps.core import rls
from apps.core.actor import Actor, require
from apps.engine.money import Money
from apps.engine.thresholds import LifetimeUsage, Thresholds, crossed
from apps.invoicing.composition import PROGRESSIVE, Composed, progressive_lines
from apps.invoicing.models import Invoice, InvoiceLine
from apps.invoicing.services.charges import bill_lines
from apps.invoicing.services.reports import Issued, issued
from apps.plans.selectors import ThresholdTerms
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscriptions
from apps.subscriptions.facts import SubscriptionFacts
from apps.subscriptions.selectors import Due
from apps.tenants import services as tenants


def bill_thresholds(
    *, actor: Actor, at: datetime, organization_ids: Collection[int] | None = None
) -> list[Issued]:
    """Bill the usage so far of every subscription that has passed a threshold of its plan since it
    was billed last; one transaction each. Safe to repeat and to double. Opens its own scopes.
    `organization_ids` as for `bill_due`.
    """
    require("manage_invoices", actor=actor)
    with rls.ops_scope("billing: subscriptions with thresholds"):
        watched = subscription_selectors.with_thresholds(organization_ids=organization_ids)
    made = [_bill_passed(due, actor=actor, at=at) for due in watched]
    return [issued(row) for row in made if row is not None]


def _bill_passed(due: Due, *, actor: Actor, at: datetime) -> Invoice | None:
    with rls.tenant_scope(due.organization_id):
        tenants.lock(due.organization_id)
        subscriptions.lock(due.subscription_id)
        facts = subscription_selectors.by_id(due.subscription_id)
        threshold = facts.version.threshold
        if threshold is None or not facts.next_boundary or facts.next_boundary_at <= at:
            return None  # what has reached its boundary is billed there
        lines = progressive_lines(facts)
        if not crossed(_thresholds(threshold, facts.currency), _usage(facts, lines)):
            return None
        due_lines = [line for line in lines if line.amount.minor > 0]
        return bill_lines(facts, due_lines, kind=Invoice.Kind.PROGRESSIVE, actor=actor, at=at)


def _thresholds(terms: ThresholdTerms, currency: str) -> Thresholds:
    return Thresholds(
        currency,
        tuple(Money.of(amount, currency) for amount in terms.amounts),
        None if terms.step is None else Money.of(terms.step, currency),
    )


def _usage(facts: SubscriptionFacts, lines: Sequence[Composed]) -> LifetimeUsage:
    """Return what the subscription has used in money, over its life and in the period under way."""
    standing = InvoiceLine.objects.filter(
        organization_id=facts.organization_id,
        item__subscription_id=facts.id,
        usage_epoch__isnull=False,
        live=True,
    )
    under_way = standing.filter(kind=PROGRESSIVE, during__startswith__gte=facts.billed_until)
    everything = standing.aggregate(sum=Sum("amount"))["sum"] or 0
    billed = under_way.aggregate(sum=Sum("amount"))["sum"] or 0
    beyond = sum(line.amount.minor for line in lines)
    currency = facts.currency
    return LifetimeUsage(
        invoiced=Money(everything - billed, currency),
        current=Money(billed + beyond, currency),
        historical=Money.zero(currency),
        progressively_billed=Money(billed, currency),
    )
