"""Facts of this room that lead to something else in it. Each may come twice."""

from __future__ import annotations

from apps.core import clock
from apps.core.actor import system
from apps.core.outbox import on
from apps.invoicing import services
from apps.invoicing.events import CreditLow
from apps.tenants import selectors as tenants


@on(CreditLow)
def recharge(fact: CreditLow) -> None:
    """Buy credit, as the organization's rule says."""
    services.recharge(
        fact.organization_id,
        currency=fact.currency,
        cause=fact.cause,
        actor=system("recharge"),
        at=tenants.now_for(fact.organization_id, clock.now()),
    )
