"""A customer of the demo world who pays by card, where Stripe or its stand-in answers.

The first invoice is paid; then the card on file is one that every charge is refused on, so that
the next invoice shows what happens to those who do not pay.
"""

from __future__ import annotations

import time
from datetime import datetime

from apps.core import rls
from apps.core.actor import Actor
from apps.invoicing import selectors as invoices
from apps.payments import gateway, services
from apps.payments import selectors as payments
from apps.payments.errors import ProviderError
from apps.tenants import selectors as tenants

SLUG = "mercy"
# Stripe's own test methods: no number is needed, and none is sent.
PAYS, REFUSES = "pm_card_visa", "pm_card_chargeCustomerFail"
PATIENCE_SECONDS = 90
PAUSE_SECONDS = 0.5


def charge(*, actor: Actor, at: datetime) -> int:
    """Charge the customer's open invoices; return how many. The second call finds nothing to do.

    Raises ProviderError when nobody answers for a minute and a half.
    """
    if not gateway.configured() or gateway.livemode():
        return 0
    with rls.ops_scope("demo: cards"):
        organization = tenants.find_organization(SLUG)
        if organization is None or organization.metadata != {"demo": "true"}:
            return 0
        if payments.methods_of(organization.pk):
            return 0
        due = invoices.of_organization(organization.pk, status="open")[::-1]
    _wait_for_provider()
    for place, row in enumerate(due):
        card = REFUSES if place and row is due[-1] else PAYS
        if place == 0 or card == REFUSES:
            services.attach_method(organization.pk, method=card, actor=actor, at=at)
        services.charge_now(row.public_id, actor=actor, at=at)
    return len(due)


def _wait_for_provider() -> None:
    """Wait until the stand-in, which starts at the same time, answers."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            gateway.read("/v1/account")
        except ProviderError:
            if time.monotonic() > give_up:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return
