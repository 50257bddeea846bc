"""What one subscription is granted beside its plan, for a time: agreed by staff."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Conflict, Invalid, NotFound
from apps.entitlements import selectors
from apps.entitlements.errors import UnknownFeature
from apps.entitlements.models import Override
from apps.entitlements.selectors import OverrideFacts
from apps.plans import selectors as plans
from apps.plans.content import Value
from apps.plans.selectors import USUAL_RULES, FeatureWords, GrantRules
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions import services as subscription_services

HIGHEST = 10**15


@transaction.atomic
def override_entitlement(
    subscription_id: str,
    *,
    feature: str,
    value: Value,
    rules: GrantRules = USUAL_RULES,
    until: datetime | None = None,
    reason: str,
    actor: Actor,
    at: datetime,
) -> OverrideFacts:
    """Grant the subscription this of the feature from now on, in place of what its plan says.

    Replaces the override in force. Safe to repeat: the same again changes nothing. It is for staff.
    Raises NotFound, UnknownFeature, and Invalid for a value that does not suit the feature, for
    rules without a meter and for an end that has passed.
    """
    facts = subscriptions.get(subscription_id)
    require("manage_terms", actor=actor, organization_id=facts.organization_id)
    subscription_services.lock(facts.id)
    words = _feature(feature)
    _check(words, value, rules)
    if not reason.strip():
        raise Invalid("Say why.", param="reason")
    if until is not None and until <= at:
        raise Invalid("It would be over already; name an end that is to come.", param="until")
    before = _in_force(facts.id, words.id, at)
    if before is not None and _same(before, value, rules, until):
        return selectors.override_facts(before)
    if before is not None:
        _end(before, at)
    row = Override.objects.create(
        organization_id=facts.organization_id,
        subscription_id=facts.id,
        feature_id=words.id,
        value=value,
        reset=rules.reset,
        on_limit=rules.on_limit,
        prepaid=rules.prepaid,
        during=DateTimeTZRange(at, until),
        reason=reason.strip(),
        set_by=actor.label,
    )
    _record("entitlement.overridden", row, actor=actor, at=at, before=before)
    return selectors.override(row.public_id)


@transaction.atomic
def end_override(override_id: str, *, actor: Actor, at: datetime) -> OverrideFacts:
    """Let the plan say again what is granted, from now on. Safe to repeat.

    Raises NotFound, and Forbidden: it is for staff.
    """
    row = Override.objects.filter(public_id=override_id).first()
    if row is None:
        raise NotFound("There is no such override.")
    require("manage_terms", actor=actor, organization_id=row.organization_id)
    subscription_services.lock(row.subscription_id)
    row = Override.objects.select_related("feature", "subscription").get(pk=row.pk)
    if row.during.upper is None or row.during.upper > at:
        _end(row, at)
        _record("entitlement.restored", row, actor=actor, at=at)
    return selectors.override_facts(row)


def _feature(key: str) -> FeatureWords:
    found = plans.find_feature(key)
    if found is None:
        raise UnknownFeature(f"There is no feature '{key}'.", param="feature")
    return found


def _check(feature: FeatureWords, value: Value, rules: GrantRules) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    suits = {
        "switch": isinstance(value, bool),
        "config": value is not None and not isinstance(value, bool),
        "limit": value is None or (whole and 0 <= int(value) <= HIGHEST),
        "seats": value is None or (whole and 0 <= int(value) <= HIGHEST),
    }
    if not suits[feature.kind]:
        raise Invalid(
            f"'{feature.key}' is a {feature.kind}: {value!r} says nothing.", param="value"
        )
    if rules != USUAL_RULES and feature.meter_key is None:
        raise Invalid(f"No meter counts against '{feature.key}': it has no rules.", param="reset")


def _in_force(subscription_id: int, feature_id: int, at: datetime) -> Override | None:
    rows = Override.objects.filter(subscription_id=subscription_id, feature_id=feature_id)
    if rows.filter(during__startswith__gt=at).exists():
        raise Conflict("Another override begins later; end that one first.", param="feature")
    return rows.filter(during__contains=at).select_related("feature", "subscription").first()


def _same(row: Override, value: Value, rules: GrantRules, until: datetime | None) -> bool:
    said = (row.value, GrantRules(row.reset, row.on_limit, row.prepaid), row.during.upper)
    return said == (value, rules, until)


def _end(row: Override, at: datetime) -> None:
    """End it at the instant; one that has just begun lasts a microsecond at least: it was there."""
    if row.during.lower >= at:
        raise Conflict("It was set at this very moment; try again.")
    row.during = DateTimeTZRange(row.during.lower, at)
    row.save(update_fields=["during"])


def _record(
    action: str, row: Override, *, actor: Actor, at: datetime, before: Override | None = None
) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        before=None if before is None else _said(before),
        after=_said(row),
    )


def _said(row: Override) -> dict[str, Any]:
    return {
        "feature": row.feature.key,
        "subscription": row.subscription.public_id,
        "value": row.value,
        "reset": row.reset,
        "on_limit": row.on_limit,
        "prepaid": row.prepaid,
        "until": None if row.during.upper is None else row.during.upper.isoformat(),
        "reason": row.reason,
    }
