"""Payment methods: which the provider may charge, which of them is charged, and which are gone."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor, require, system
from apps.payments import selectors
from apps.payments.errors import PaymentMethodNeeded
from apps.payments.events import PaymentMethodChanged, PaymentMethodExpiring
from apps.payments.gateway import Write
from apps.payments.models import PaymentMethod
from apps.payments.objects import Json, follows
from apps.payments.projections import SeenMethod, see_method
from apps.payments.services import calls, customers
from apps.subscriptions import selectors as subscriptions
from apps.tenants import services as tenants

ACTOR = system("payment provider")
KINDS = frozenset(PaymentMethod.Kind.values)


@transaction.atomic
def choose_method(method: str, *, actor: Actor, at: datetime) -> PaymentMethod:
    """Charge this payment method (its public id) from now on; safe to repeat.

    Emits PaymentMethodChanged. Raises UnknownPaymentMethod, also to strangers, and Forbidden.
    """
    row = _mine(method, actor)
    if not row.is_default:
        _charge_from_now_on(row, actor, at)
    return row


@transaction.atomic
def remove_method(method: str, *, actor: Actor, at: datetime) -> None:
    """Have the provider forget a payment method (its public id).

    The newest of those left is charged from then on. Raises UnknownPaymentMethod, Forbidden, and
    PaymentMethodNeeded for the last one while a subscription is collected through the provider.
    """
    row = _mine(method, actor)
    left = selectors.methods_of(row.organization_id)
    others = [one for one in left if one.pk != row.pk]
    if not others and subscriptions.is_collected_by_card(row.organization_id):
        raise PaymentMethodNeeded(
            "This is the last payment method and your subscription is charged to it. Add another "
            "one first, or cancel the subscription."
        )
    _gone(row, at)
    calls.enqueue(
        Write.DETACH_METHOD,
        about=row.public_id,
        params={},
        organization_id=row.organization_id,
        target=row.provider_id,
    )
    _record(row, "payment_method.removed", actor, at)
    if others and not any(one.is_default for one in others):
        _charge_from_now_on(others[0], actor, at)


@transaction.atomic
def keep_method(organization_id: int, *, seen: SeenMethod, at: datetime) -> PaymentMethod:
    """Write down a payment method that the provider keeps for the organization; safe to repeat.

    Who saves a method wants it charged: it becomes the default. Emits PaymentMethodChanged.
    """
    tenants.lock(organization_id)
    row, is_new = PaymentMethod.objects.update_or_create(
        provider_id=seen.id,
        organization_id=organization_id,
        defaults=_said(seen) | {"removed_at": None},
    )
    if is_new:
        _record(row, "payment_method.added", ACTOR, at)
        _charge_from_now_on(row, ACTOR, at)
    return row


def attach_method(
    organization_id: int, *, method: str, actor: Actor, at: datetime
) -> PaymentMethod:
    """Save a payment method that exists at the provider (its id there) with the organization.

    It is charged from now on. Never inside a transaction. Raises Forbidden, NotConfigured, and
    ProviderRefused when the bank does not let it be saved.
    """
    with calls.scope(organization_id):
        require("manage_billing", actor=actor, organization_id=organization_id)
    customer = customers.ensure_customer(organization_id)
    answer = calls.call(
        Write.ATTACH_METHOD,
        about=f"{customer}:{method}",
        params={"customer": customer},
        organization_id=organization_id,
        target=method,
    )
    with calls.scope(organization_id):
        return keep_method(organization_id, seen=see_method(answer), at=at)


@follows("payment_method")
def follow_method(told: Json, *, at: datetime) -> None:
    """Take over what the provider knows of a method: banks renew cards by themselves."""
    seen = see_method(told)
    row = PaymentMethod.objects.filter(provider_id=seen.id, removed_at=None).first()
    if row is None:
        return
    tenants.lock(row.organization_id)
    if not seen.customer:
        _gone(row, at)
        return
    for name, value in _said(seen).items():
        setattr(row, name, value)
    row.save()


def tell_expiring(*, at: datetime) -> int:
    """Tell of the methods that are charged and expire by the end of this month, each once.

    In the ops scope. Emits PaymentMethodExpiring; returns how many.
    """
    month = f"{at:%Y-%m}"
    found = PaymentMethod.objects.filter(
        is_default=True, exp_year=at.year, exp_month=at.month
    ).exclude(expiry_told=month)
    rows = list(found.select_for_update())
    for row in rows:
        row.expiry_told = month
        row.save(update_fields=["expiry_told"])
        fact = PaymentMethodExpiring(row.organization_id, row.public_id, month)
        outbox.emit(fact, at=at, organization_id=row.organization_id)
    return len(rows)


def _mine(method: str, actor: Actor) -> PaymentMethod:
    row = selectors.method(method, organization_id=actor.organization_id)
    require("manage_billing", actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    return selectors.method(method, organization_id=row.organization_id)


def _charge_from_now_on(row: PaymentMethod, actor: Actor, at: datetime) -> None:
    theirs = PaymentMethod.objects.filter(organization_id=row.organization_id, is_default=True)
    theirs.exclude(pk=row.pk).update(is_default=False)
    row.is_default = True
    row.save(update_fields=["is_default"])
    customer = selectors.customer_of(row.organization_id)
    if customer is not None:
        calls.enqueue(
            Write.UPDATE_CUSTOMER,
            about=f"{row.public_id}:default:{at:%Y%m%dT%H%M%S.%f}",
            params={"invoice_settings": {"default_payment_method": row.provider_id}},
            organization_id=row.organization_id,
            target=customer.provider_id,
            lane=customer.provider_id,
        )
    _record(row, "payment_method.chosen", actor, at)
    fact = PaymentMethodChanged(row.organization_id, at.isoformat())
    outbox.emit(fact, at=at, organization_id=row.organization_id)


def _gone(row: PaymentMethod, at: datetime) -> None:
    row.is_default, row.removed_at = False, at
    row.save(update_fields=["is_default", "removed_at"])


def _said(seen: SeenMethod) -> dict[str, object]:
    return {
        "kind": seen.kind if seen.kind in KINDS else PaymentMethod.Kind.OTHER,
        "brand": seen.brand,
        "last4": seen.last4,
        "exp_month": seen.exp_month,
        "exp_year": seen.exp_year,
    }


def _record(row: PaymentMethod, action: str, actor: Actor, at: datetime) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after={"kind": row.kind, "brand": row.brand, "last4": row.last4},
    )
