"""Facts of lower rooms that change what is licensed. Each may come twice."""

from __future__ import annotations

from apps.core import clock
from apps.core.actor import system
from apps.core.outbox import on
from apps.licensing import services
from apps.subscriptions.events import (
    QuantityChanged,
    SubscriptionChanged,
    SubscriptionStatusChanged,
)
from apps.tenants import selectors as tenants


@on(SubscriptionStatusChanged)
def after_a_change_of_state(fact: SubscriptionStatusChanged) -> None:
    """Take back what a subscription that ended, paused or fell unpaid had licensed."""
    _review(fact.organization_id)


@on(SubscriptionChanged)
def after_a_change_of_plan(fact: SubscriptionChanged) -> None:
    """Take back what a smaller plan does not grant."""
    _review(fact.organization_id)


@on(QuantityChanged)
def after_a_change_of_quantity(fact: QuantityChanged) -> None:
    """Take back what a smaller quantity does not grant."""
    _review(fact.organization_id)


def _review(organization_id: int) -> None:
    services.review_licenses(
        organization_id,
        actor=system("licensing"),
        at=tenants.now_for(organization_id, clock.now()),
    )
