"""Plans and their versions: what is fixed makes a new version, words change in place."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor, require
from apps.plans import selectors
from apps.plans.document import PlanEntry, PriceEntry
from apps.plans.errors import UnknownPlan
from apps.plans.events import PlanVersionPublished
from apps.plans.models import Entitlement, Plan, PlanVersion, Price
from apps.plans.report import Change, Outcome, PlanReport, differences
from apps.plans.selectors import VersionTerms
from apps.plans.services.load import Load

Shelf = dict[str, Any]


def check_plans(load: Load) -> None:
    """Lock the plans that the file names; note where it moves one that has to stay."""
    codes = [entry.code for entry in load.document.plans]
    rows = Plan.objects.select_for_update(of=("self",)).select_related("application")
    load.plans.update({row.code: row for row in rows.filter(code__in=codes).order_by("id")})
    for entry in load.document.plans:
        if entry.code in load.plans:
            _check_plan(load, load.plans[entry.code], entry)


def _check_plan(load: Load, plan: Plan, entry: PlanEntry) -> None:
    advice = "give the new plan a code of its own"
    if plan.application.slug != entry.application:
        stays = f"plan {plan.code!r} stays with application {plan.application.slug!r}"
        load.note(entry.application_place, f"{stays}: {advice}")
    if plan.kind != entry.kind:
        load.note(entry.place, f"plan {plan.code!r} stays of kind {plan.kind!r}: {advice}")


def load_plan(load: Load, entry: PlanEntry) -> PlanReport:
    """Bring one plan, its shelf and its current version to what the file says."""
    created = entry.code not in load.plans
    plan, changes = _shelve(load, entry)
    if created:
        load.record("plan.created", plan.public_id, after={"code": plan.code, **_shelf(plan)})
    current = selectors.published_version(plan.pk)
    if current is not None and selectors.content_of(current) == entry.content():
        changes += _rename_prices(current, entry)
        outcome, number = Outcome.UPDATED if changes else Outcome.UNCHANGED, current.number
    else:
        if current is not None:
            changes += differences(selectors.content_of(current), entry.content())
        outcome = Outcome.CREATED if created else Outcome.NEW_VERSION
        number = _publish(load, plan, entry).number
    if changes:
        _record_changes(load, plan, changes)
    return PlanReport(plan.code, plan.name, outcome, number, changes)


@transaction.atomic
def retire_plan(plan: str, *, actor: Actor, at: datetime) -> VersionTerms:
    """Sell the plan (code or public id) no more; who subscribed keeps it. Return its last version.

    Loading a file that names it sells it again, as a new version. Needs the ops scope. Raises
    UnknownPlan, also when it is not for sale.
    """
    require("manage_catalog", actor=actor)
    sold = selectors.current_version(plan)
    Plan.objects.select_for_update().get(pk=sold.plan_id)
    version = PlanVersion.objects.select_for_update().get(pk=sold.version_id)
    if version.status != PlanVersion.Status.PUBLISHED:
        raise UnknownPlan(f"There is no plan '{plan}' to subscribe to.", param="plan")
    version.status, version.retired_at = PlanVersion.Status.RETIRED, at
    version.save(update_fields=["status", "retired_at"])
    audit.record(
        action="plan_version.retired",
        target=version.public_id,
        actor=actor,
        at=at,
        after={"plan": sold.plan_code, "number": sold.number},
    )
    return selectors.version_terms(version.pk)


def _record_changes(load: Load, plan: Plan, changes: tuple[Change, ...]) -> None:
    load.record(
        "plan.updated",
        plan.public_id,
        before={change.what: change.old for change in changes},
        after={change.what: change.new for change in changes},
    )


def _shelve(load: Load, entry: PlanEntry) -> tuple[Plan, tuple[Change, ...]]:
    """Write the words and the shelf of a plan, which are no part of any version."""
    known = load.plans.get(entry.code)
    plan = known or Plan(
        code=entry.code, kind=entry.kind, application_id=load.applications[entry.application]
    )
    before = _shelf(plan)
    plan.name, plan.description = entry.name, entry.description
    plan.visibility, plan.industries = entry.visibility, list(entry.industries)
    plan.custom, plan.position = entry.custom, entry.position
    changes = _changes(before, _shelf(plan))
    if known is None or changes:
        plan.save()
    return plan, changes if known else ()


def _shelf(plan: Plan) -> Shelf:
    return {
        "name": plan.name,
        "description": plan.description,
        "visibility": str(plan.visibility),
        "industries": ", ".join(plan.industries),
        "custom": plan.custom,
        "position": plan.position,
    }


def _changes(before: Shelf, after: Shelf, path: str = "") -> tuple[Change, ...]:
    return tuple(
        Change(f"{path}{key}", str(before[key]) or None, str(value) or None)
        for key, value in after.items()
        if before[key] != value
    )


def _rename_prices(current: VersionTerms, entry: PlanEntry) -> tuple[Change, ...]:
    rows = {row.key: row for row in Price.objects.filter(version_id=current.version_id)}
    changes: list[Change] = []
    for position, price in enumerate(entry.prices):
        changes += _rename_price(rows[price.key], price, position)
    return tuple(changes)


def _rename_price(row: Price, price: PriceEntry, position: int) -> tuple[Change, ...]:
    before = {"name": row.name, "description": row.description, "position": row.position}
    after = {"name": price.name, "description": price.description, "position": position}
    changes = _changes(before, after, f"prices.{row.key}.")
    if changes:
        row.name, row.description, row.position = price.name, price.description, position
        row.save(update_fields=["name", "description", "position"])
    return changes


def _publish(load: Load, plan: Plan, entry: PlanEntry) -> PlanVersion:
    """Write the next version, retire the one before and publish. The database then fixes it."""
    version = _draft(plan, entry)
    _write_prices(load, version, entry)
    Entitlement.objects.bulk_create(
        Entitlement(
            version=version,
            feature=load.features[grant.feature],
            value=grant.value,
            **asdict(grant.rules),
        )
        for grant in entry.entitlements
    )
    PlanVersion.objects.filter(plan=plan, status=PlanVersion.Status.PUBLISHED).update(
        status=PlanVersion.Status.RETIRED, retired_at=load.at
    )
    version.status, version.published_at = PlanVersion.Status.PUBLISHED, load.at
    version.save(update_fields=["status", "published_at"])
    after = {"plan": plan.code, "number": version.number, **entry.content()}
    load.record("plan_version.published", version.public_id, after=after)
    fact = PlanVersionPublished(version.public_id, plan.code, version.number)
    outbox.emit(fact, at=load.at)
    return version


def _draft(plan: Plan, entry: PlanEntry) -> PlanVersion:
    latest = PlanVersion.objects.filter(plan=plan).order_by("-number").first()
    canonical = json.dumps(entry.content(), sort_keys=True, separators=(",", ":"))
    return PlanVersion.objects.create(
        plan=plan,
        number=latest.number + 1 if latest else 1,
        interval_unit=str(entry.interval.unit),
        interval_count=entry.interval.count,
        trial_days=entry.trial_days,
        trial_requires_card=entry.trial_requires_card,
        currency=entry.currency,
        currencies=list(entry.currencies[1:]),
        thresholds={code: said.as_dict() for code, said in entry.thresholds.items()},
        content_hash=hashlib.sha256(canonical.encode()).hexdigest(),
    )


def _write_prices(load: Load, version: PlanVersion, entry: PlanEntry) -> None:
    Price.objects.bulk_create(
        Price(
            version=version,
            key=price.key,
            type=price.type,
            meter_id=load.meters[price.meter] if price.meter else None,
            included=price.included,
            timing=price.timing,
            name=price.name,
            description=price.description,
            position=position,
            **_said(price, entry.currency),
        )
        for position, price in enumerate(entry.prices)
    )


def _said(price: PriceEntry, currency: str) -> dict[str, Any]:
    others = {code: said.as_dict() for code, said in price.amounts.items() if code != currency}
    return {
        "terms": price.terms.as_dict(),
        "minimum_amount": price.minimum_amount,
        "maximum_amount": price.maximum_amount,
        "conversion": price.conversion.as_dict() if price.conversion else None,
        "proration": price.proration,
        "quantity_policy": price.quantity_policy,
        "filters": {name: list(values) for name, values in price.filters.items()},
        "currencies": others,
    }
