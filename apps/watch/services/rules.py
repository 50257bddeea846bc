"""What is watched: rules for alerts, and terms for anomalies."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.amounts import said_amount
from apps.core.errors import Invalid
from apps.engine.decimals import places_of
from apps.tenants import services as tenants
from apps.usage import selectors as usage
from apps.watch import selectors
from apps.watch.errors import TooManyRules
from apps.watch.models import MONEY_KINDS, AlertRule, Anomaly, WatchTerms

MOST_RULES = 50
MOST_PERCENT = 10_000
MOST_EVENTS = 1_000_000


@transaction.atomic
def set_rule(
    organization_id: int | None,
    *,
    kind: str,
    actor: Actor,
    at: datetime,
    meter: str = "",
    percent: Decimal | None = None,
    amount: Decimal | None = None,
    currency: str = "",
) -> AlertRule:
    """Watch one more limit, of an organization or (None) of all; the same again is the same.

    A percentage for kinds of usage, of a meter's key or (empty) of any; an amount in major units
    for kinds of money, nothing only for credit: that it is used up. Raises Invalid, UnknownMeter,
    TooManyRules and Forbidden.
    """
    _require(organization_id, actor=actor)
    home = None if organization_id is None else tenants.lock(organization_id)
    if kind in MONEY_KINDS:
        code = currency or ("" if home is None else home.currency)
        said = _money(kind, amount, code, also=(percent, meter))
    else:
        said = _percent(kind, percent, meter, also=(amount, currency))
    standing = AlertRule.objects.filter(selectors.whose(organization_id), active=True)
    known = standing.filter(kind=kind, **said).first()
    if known is not None:
        return known
    if standing.count() >= MOST_RULES:
        raise TooManyRules(f"{MOST_RULES} alert rules are the most; end one first.")
    row = AlertRule.objects.create(
        organization_id=organization_id, kind=kind, set_at=at, set_by=actor.id, **said
    )
    _record(row, "alert_rule.set", actor, at)
    return row


@transaction.atomic
def end_rule(reference: str, *, actor: Actor, at: datetime) -> AlertRule:
    """Watch a limit no more; what it raised stays. Safe to repeat.

    Raises UnknownRule and Forbidden.
    """
    row = selectors.get_rule(reference, organization_id=actor.organization_id)
    _require(row.organization_id, actor=actor)
    row = AlertRule.objects.select_for_update().get(pk=row.pk)
    if row.active:
        row.active, row.ended_at = False, at
        row.save(update_fields=["active", "ended_at"])
        _record(row, "alert_rule.ended", actor, at)
    return row


@transaction.atomic
def set_terms(
    organization_id: int | None,
    *,
    actor: Actor,
    at: datetime,
    watched: bool = True,
    hold_from: str = "",
    least_events: int = 20,
) -> WatchTerms:
    """Say how closely anomalies of an organization, or (None) of all others, are watched for.

    `hold_from` is the least severity that holds drafts (empty: none does), `least_events` what an
    hour must have to be judged. Needs the ops scope for all. Raises Invalid and Forbidden.
    """
    require("manage_invoices", actor=actor, organization_id=organization_id)
    if hold_from not in {"", *Anomaly.Degree.values}:
        raise Invalid("Hold from warning, serious or critical on.", param="hold_from")
    if not 1 <= least_events <= MOST_EVENTS:
        raise Invalid(f"From 1 to {MOST_EVENTS} events an hour.", param="least_events")
    if organization_id is not None:
        tenants.lock(organization_id)
    said = {"watched": watched, "hold_from": hold_from, "least_events": least_events}
    row = WatchTerms.objects.select_for_update().filter(selectors.whose(organization_id)).first()
    row = row or WatchTerms(organization_id=organization_id)
    for name, value in said.items():
        setattr(row, name, value)
    row.save()
    audit.record(
        action="watch.terms_set",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=organization_id,
        after=said,
    )
    return row


def _require(organization_id: int | None, *, actor: Actor) -> None:
    capability = "manage_platform" if organization_id is None else "manage_billing"
    require(capability, actor=actor, organization_id=organization_id)


def _money(
    kind: str, amount: Decimal | None, currency: str, *, also: tuple[object, ...]
) -> dict[str, Any]:
    if amount is None or not currency:
        raise Invalid("Say an amount and its currency.", param="amount" if currency else "currency")
    if any(one not in (None, "") for one in also):
        raise Invalid("An amount is of no meter and no percentage.", param="percent")
    minor = said_amount(amount, currency).minor
    if minor < 0:
        raise Invalid("The limit is not below nothing.", param="amount")
    if minor == 0 and kind != AlertRule.Kind.CREDITS:
        raise Invalid("Every period reaches nothing: watch an amount.", param="amount")
    return {"amount": minor, "currency": currency, "percent": None, "meter": ""}


def _percent(
    kind: str, percent: Decimal | None, meter: str, *, also: tuple[object, ...]
) -> dict[str, Any]:
    if kind not in AlertRule.Kind.values:
        raise Invalid(f"Watch one of {', '.join(AlertRule.Kind.values)}.", param="kind")
    if any(one not in (None, "") for one in also):
        raise Invalid("A percentage has no amount and no currency.", param="amount")
    if percent is None or not _is_percent(percent):
        raise Invalid(f"From 0.01 to {MOST_PERCENT} percent, with two places.", param="percent")
    if meter:
        usage.get_meter(meter)
    return {"percent": percent, "meter": meter, "amount": None, "currency": ""}


def _is_percent(said: Decimal) -> bool:
    return said.is_finite() and 0 < said <= MOST_PERCENT and places_of(said) <= 2


def _record(row: AlertRule, action: str, actor: Actor, at: datetime) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after={
            "kind": row.kind,
            "meter": row.meter,
            "limit": str(row.limit),
            "currency": row.currency,
        },
    )
