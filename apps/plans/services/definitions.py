"""What plans refer to: applications, features and meters, of the file or there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.engine.aggregation import Aggregation
from apps.engine.prices import Dynamic, GraduatedPercentage, Percentage
from apps.plans.content import USUAL_RULES, Value
from apps.plans.document import (
    EntitlementEntry,
    FeatureEntry,
    MeterEntry,
    PlanEntry,
    PriceEntry,
    label_of,
)
from apps.plans.models import Feature
from apps.plans.report import Outcome
from apps.plans.services.load import Load
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from apps.usage import selectors as usage_selectors
from apps.usage import services as usage
from apps.usage.errors import InvalidMeter, MeterChanged
from apps.usage.selectors import MeterFacts

if TYPE_CHECKING:
    from apps.usage.models import Meter


def define_applications(load: Load) -> None:
    """Define the file's applications through their own room."""
    for entry in load.document.applications:
        before = tenant_selectors.find_application(entry.slug)
        industry = entry.industry
        if industry is None:
            industry = before.industry if before else ""
        row = tenants.define_application(
            entry.slug, name=entry.name, industry=industry, actor=load.actor, at=load.at
        )
        same = before is not None and (before.name, before.industry) == (row.name, row.industry)
        load.applications[entry.slug] = row.pk
        load.report("application", entry.slug, outcome_of(created=before is None, same=same))


def define_features(load: Load) -> None:
    """Create features and bring their words up to date; note a changed kind."""
    load.features.update({row.key: row for row in Feature.objects.all()})
    for entry in load.document.features:
        known = load.features.get(entry.key)
        if known is None or known.kind == entry.kind:
            load.features[entry.key] = _define_feature(load, known, entry)
            continue
        advice = "a feature keeps its kind, so give the new one a key of its own"
        load.note(entry.place, f"feature {entry.key!r} is of kind {known.kind}: {advice}")


def _define_feature(load: Load, known: Feature | None, entry: FeatureEntry) -> Feature:
    row = known or Feature(key=entry.key, kind=entry.kind, name=label_of(entry.key))
    before = {} if known is None else _words(row)
    row.name = entry.name or row.name
    row.description = row.description if entry.description is None else entry.description
    row.meter_id = _counted_by(load, entry, row.meter_id)
    outcome = outcome_of(created=known is None, same=before == _words(row))
    load.report("feature", entry.key, outcome)
    if outcome is not Outcome.UNCHANGED:
        row.save()
        load.record(f"feature.{outcome}", entry.key, before=before, after=_words(row))
    return row


def _counted_by(load: Load, entry: FeatureEntry, known: int | None) -> int | None:
    """Return the id of the meter that counts against a limit; it stays once it is named."""
    if not entry.meter:
        return known
    meter = usage_selectors.find_meter(entry.meter)
    if meter is None:
        unknown = f"there is no meter {entry.meter!r}"
        load.note(entry.meter_place, f"{unknown}; define it under 'meters'")
        return known
    if known not in {None, meter.id}:
        advice = "give the new feature a key of its own"
        load.note(entry.meter_place, f"feature {entry.key!r} keeps its meter: {advice}")
        return known
    if meter.aggregation not in _ADD_UP:
        rule = "a limit counts against a meter of " + ", ".join(sorted(_ADD_UP))
        load.note(entry.meter_place, f"{rule}: {meter.key!r} is {meter.aggregation}")
        return known
    return meter.id


_ADD_UP = (Aggregation.COUNT, Aggregation.SUM, Aggregation.UNIQUE_COUNT)


def _words(row: Feature) -> dict[str, str]:
    said = {"kind": row.kind, "name": row.name, "description": row.description}
    return said if row.meter is None else said | {"meter": row.meter.key}


def define_meters(load: Load) -> None:
    """Define the file's meters through their own room; note what it refuses."""
    for entry in load.document.meters:
        try:
            _define_meter(load, entry)
        except (InvalidMeter, MeterChanged) as error:
            load.note(entry.places.get(error.param, entry.place), error.message)


def _define_meter(load: Load, entry: MeterEntry) -> None:
    before = usage_selectors.find_meter(entry.key)
    row = usage.define_meter(
        entry.key,
        event_type=entry.event_type,
        aggregation=entry.aggregation,
        value=entry.value,
        allow_negative=entry.allow_negative,
        unit=_or_kept(entry.unit, before.unit if before else ""),
        description=_or_kept(entry.description, before.description if before else ""),
        actor=load.actor,
        at=load.at,
        **_slices(entry, before),
    )
    same = before is not None and _changeable(before) == _changeable(row)
    load.meters[entry.key] = row.pk
    load.report("meter", entry.key, outcome_of(created=before is None, same=same))


def _slices(entry: MeterEntry, before: MeterFacts | None) -> dict[str, Any]:
    """Return what the meter is divided by and counts at all, where that is said."""
    kept = before.dimensions if before else ()
    dimensions = kept if entry.dimensions is None else entry.dimensions
    said = {"dimensions": dimensions, "include": entry.include, "exclude": entry.exclude}
    return {key: value for key, value in said.items() if value or (key == "dimensions" and kept)}


def _changeable(meter: MeterFacts | Meter) -> tuple[object, ...]:
    return meter.unit, meter.description, tuple(meter.dimensions)


def _or_kept(written: str | None, kept: str) -> str:
    return kept if written is None else written


def outcome_of(*, created: bool, same: bool) -> Outcome:
    if created:
        return Outcome.CREATED
    return Outcome.UNCHANGED if same else Outcome.UPDATED


def check_references(load: Load) -> None:
    """Find what the plans refer to, in the file or already there; note what is missing."""
    for plan in load.document.plans:
        _find_application(load, plan)
        for price in plan.prices:
            if price.meter:
                _find_meter(load, price)
        for grant in plan.entitlements:
            _check_grant(load, grant)


def _find_application(load: Load, plan: PlanEntry) -> None:
    if plan.application in load.applications:
        return
    row = tenant_selectors.find_application(plan.application)
    if row is None:
        unknown = f"there is no application {plan.application!r}"
        load.note(plan.application_place, f"{unknown}; define it under 'applications'")
    else:
        load.applications[plan.application] = row.pk


def _find_meter(load: Load, price: PriceEntry) -> None:
    row = usage_selectors.find_meter(price.meter)
    if row is not None:
        load.meters[price.meter] = row.id
        _check_measure(load, price, row)
    elif price.meter not in {entry.key for entry in load.document.meters}:
        unknown = f"there is no meter {price.meter!r}"
        load.note(price.meter_place, f"{unknown}; define it under 'meters'")
    # else it was refused with a better reason


def _check_measure(load: Load, price: PriceEntry, meter: MeterFacts) -> None:
    """Note a meter that does not count what the price is about."""
    if price.terms.model in _OF_MONEY and meter.aggregation is not Aggregation.SUM:
        rule = f"a {price.terms.model} price needs a meter of aggregation sum, of amounts"
        load.note(price.meter_place, f"{rule}: {meter.key!r} is {meter.aggregation}")
    for name in price.filters.keys() - set(meter.dimensions):
        known = ", ".join(meter.dimensions) or "none"
        unknown = f"meter {meter.key!r} has no dimension {name!r}; it has {known}"
        load.note(price.places.get("filters", price.place), unknown)


def _check_grant(load: Load, grant: EntitlementEntry) -> None:
    feature = load.features.get(grant.feature)
    if feature is None:
        unknown = f"there is no feature {grant.feature!r}"
        load.note(grant.place, f"{unknown}; define it under 'features'")
    elif not _suits(feature.kind, grant.value):
        rule = _GRANTS[feature.kind]
        load.note(grant.place, f"{grant.feature!r} is of kind {feature.kind}: write {rule}")
    elif grant.rules != USUAL_RULES and feature.meter_id is None:
        rule = "'reset', 'on_limit' and 'prepaid' are for limits that a meter counts against"
        load.note(grant.place, f"{rule}: {grant.feature!r} names no meter")


_OF_MONEY = (Percentage.model, GraduatedPercentage.model, Dynamic.model)

_GRANTS: dict[str, str] = {
    Feature.Kind.SWITCH: "true or false",
    Feature.Kind.CONFIG: "a text or a number",
    Feature.Kind.LIMIT: "a whole number without quotes, or null for unlimited",
    Feature.Kind.SEATS: "a whole number without quotes, or null for unlimited",
}


def _suits(kind: str, value: Value) -> bool:
    if kind == Feature.Kind.SWITCH:
        return isinstance(value, bool)
    if kind == Feature.Kind.CONFIG:
        return value is not None
    return not isinstance(value, bool | str)
