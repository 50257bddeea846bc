"""How much usage may cost in a billing period: set by the customer, or by staff for it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Q

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Invalid, NotFound
from apps.engine.entitlements import Behaviour
from apps.engine.money import Money, UnknownCurrency, exponent
from apps.entitlements.models import SpendCap
from apps.entitlements.services.turns import MONEY, take_turn
from apps.subscriptions import selectors as subscriptions
from apps.tenants import selectors as tenants

HIGHEST = 10**15
HARD_OR_SOFT = {Behaviour.WARN, Behaviour.BLOCK}


@transaction.atomic
def set_spend_cap(
    organization_id: int,
    *,
    amount: Decimal,
    on_limit: str = Behaviour.BLOCK,
    subscription_id: str = "",
    currency: str = "",
    actor: Actor,
    at: datetime,
) -> SpendCap:
    """Let usage cost at most `amount` (major units) a billing period, or warn beyond it.

    Of one subscription, in its currency; without one of all that are billed in the currency (the
    organization's unless it is said). Replaces the cap before. Safe to repeat. Raises NotFound,
    Forbidden, and Invalid for amounts and words that make no sense.
    """
    require("manage_billing", actor=actor, organization_id=organization_id)
    row = _scope(organization_id, subscription_id, currency)
    if on_limit not in HARD_OR_SOFT:
        raise Invalid("A spend cap warns or blocks.", param="on_limit")
    minor = _minor(amount, row.currency)
    take_turn(organization_id, MONEY)
    before = _same_scope(row)
    if before is not None and (before.amount, before.on_limit) == (minor, on_limit):
        return before
    said = None if before is None else _said(before)
    row = before or row
    row.amount, row.on_limit, row.set_at, row.set_by = minor, on_limit, at, actor.label
    row.save()
    _record("spend_cap.set", row, actor=actor, at=at, before=said, after=_said(row))
    return row


@transaction.atomic
def remove_spend_cap(cap_id: str, *, actor: Actor, at: datetime) -> None:
    """Let usage cost what it costs. Raises NotFound, also when it is gone, and Forbidden."""
    rows = SpendCap.objects.filter(public_id=cap_id)
    if actor.organization_id is not None:  # row-level security says the same
        rows = rows.filter(organization_id=actor.organization_id)
    row = rows.first()
    if row is None:
        raise NotFound("There is no such spend cap.")
    require("manage_billing", actor=actor, organization_id=row.organization_id)
    take_turn(row.organization_id, MONEY)
    said = _said(row)
    _record("spend_cap.removed", row, actor=actor, at=at, before=said, after={})
    row.delete()


def _scope(organization_id: int, subscription_id: str, currency: str) -> SpendCap:
    """Return a cap of what is meant, not stored."""
    if not subscription_id:
        own = tenants.organization(organization_id).currency
        return SpendCap(organization_id=organization_id, currency=currency or own)
    facts = subscriptions.get(subscription_id, organization_id=organization_id)
    if not facts.is_live:
        raise NotFound(f"There is no live subscription '{subscription_id}'.")
    if currency not in {"", facts.currency}:
        raise Invalid(f"It is billed in {facts.currency}.", param="currency")
    return SpendCap(
        organization_id=organization_id, subscription_id=facts.id, currency=facts.currency
    )


def _minor(amount: Decimal, currency: str) -> int:
    if not amount.is_finite() or not 0 <= amount < HIGHEST:
        raise Invalid("A spend cap is no negative amount.", param="amount")
    try:
        minor = amount.scaleb(exponent(currency))
    except UnknownCurrency as error:
        raise Invalid(f"{error}.", param="currency") from error
    if minor != minor.to_integral_value():
        raise Invalid(f"{currency} has no such small coins.", param="amount")
    return int(minor)


def _same_scope(row: SpendCap) -> SpendCap | None:
    scope = Q(subscription=None)
    if row.subscription_id is not None:
        scope = Q(subscription_id=row.subscription_id)
    mine = SpendCap.objects.filter(scope, organization_id=row.organization_id)
    return mine.filter(currency=row.currency).first()


def _said(row: SpendCap) -> dict[str, Any]:
    subscription = None if row.subscription_id is None else row.subscription.public_id
    return {
        "subscription": subscription,
        "amount": str(Money(row.amount, row.currency)),
        "on_limit": row.on_limit,
    }


def _record(
    action: str,
    row: SpendCap,
    *,
    actor: Actor,
    at: datetime,
    before: dict[str, Any] | None,
    after: dict[str, Any],
) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        before=before,
        after=after,
    )
