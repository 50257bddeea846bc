"""A plan as a catalogue file says it, in the shape that agreements are made of; nothing is loaded.

Ids below zero belong to no row, so nothing counts as billed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from apps.core.errors import Invalid
from apps.engine.aggregation import Aggregation
from apps.engine.rules import Match
from apps.plans.document import CatalogDocument, MeterEntry, PlanEntry, PriceEntry
from apps.plans.selectors import PriceTerms, VersionTerms
from apps.usage.selectors import MeterFacts

VERSION = -1


@dataclass(frozen=True, slots=True)
class Gauge:
    """How a meter reads events: which type, which of them, and which value in them."""

    key: str
    event_type: str
    aggregation: Aggregation
    path: tuple[str, ...]
    allow_negative: bool
    unit: str
    counts: Match

    @property
    def dimensions(self) -> frozenset[str]:
        """The paths that its own filter looks at."""
        return dimensions_of(self.counts)


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan that could be sold, and the meters that its prices count with."""

    version: VersionTerms
    gauges: Mapping[str, Gauge]


def dimensions_of(match: Match) -> frozenset[str]:
    """Return the paths that a match looks at."""
    return frozenset(name for one in (match.include, *match.exclude) for name in one)


def plan_of(document: CatalogDocument, code: str = "") -> PlanEntry:
    """Return the file's plan of that code, or its only one. Raises Invalid."""
    found = [plan for plan in document.plans if code in {"", plan.code}]
    if len(found) == 1:
        return found[0]
    known = ", ".join(plan.code for plan in document.plans) or "none"
    problem = f"has no plan '{code}'" if code else "has several plans or none: say which"
    raise Invalid(f"{document.source} {problem}; there are {known}.", param="plan")


def offer_of(
    document: CatalogDocument,
    code: str = "",
    *,
    currency: str = "",
    known: Iterable[MeterFacts] = (),
) -> Offer:
    """Return a plan of the file, in one of its currencies, its own unless it is said.

    `known` are meters that exist already, for prices on one that the file does not define. Raises
    Invalid, and CurrencyNotSold.
    """
    entry = plan_of(document, code)
    gauges = {meter.key: _of_facts(meter) for meter in known}
    gauges |= {meter.key: _of_entry(meter) for meter in document.meters}
    needed = {price.meter for price in entry.prices if price.meter}
    if missing := sorted(needed - gauges.keys()):
        raise Invalid(
            f"{document.source}: there is no meter '{missing[0]}'; define it under 'meters'.",
            param="meters",
        )
    version = _version(document, entry, gauges)
    return Offer(
        version.in_currency(currency or version.currency), {key: gauges[key] for key in needed}
    )


def _of_entry(entry: MeterEntry) -> Gauge:
    return Gauge(
        entry.key,
        entry.event_type,
        entry.aggregation,
        tuple(entry.value.split(".")) if entry.value else (),
        entry.allow_negative,
        entry.unit or "",
        Match(entry.include, entry.exclude),
    )


def _of_facts(facts: MeterFacts) -> Gauge:
    include = {name: tuple(values) for name, values in facts.filter.get("include", {}).items()}
    exclude = tuple(
        {name: tuple(values) for name, values in one.items()}
        for one in facts.filter.get("exclude", ())
    )
    return Gauge(
        facts.key,
        facts.event_type,
        facts.aggregation,
        tuple(facts.value.split(".")) if facts.value else (),
        facts.allow_negative,
        facts.unit,
        Match(include, exclude),
    )


def _version(
    document: CatalogDocument, entry: PlanEntry, gauges: Mapping[str, Gauge]
) -> VersionTerms:
    products = {one.slug: one.name for one in document.applications}
    return VersionTerms(
        version_id=VERSION,
        public_id="",
        plan_id=VERSION,
        plan_public_id="",
        plan_code=entry.code,
        plan_name=entry.name,
        number=0,
        status="draft",
        currency=entry.currency,
        interval=entry.interval,
        trial_days=entry.trial_days,
        application_id=VERSION,
        application_slug=entry.application,
        application_name=products.get(entry.application, entry.application),
        custom=entry.custom,
        prices=tuple(
            _price(price, place, gauges) for place, price in enumerate(entry.prices, start=1)
        ),
        entitlements={grant.feature: grant.value for grant in entry.entitlements},
        currencies=entry.currencies,
        trial_requires_card=entry.trial_requires_card,
        thresholds=entry.thresholds,
    )


def _price(entry: PriceEntry, place: int, gauges: Mapping[str, Gauge]) -> PriceTerms:
    return PriceTerms(
        id=-place,
        public_id="",
        key=entry.key,
        name=entry.name,
        description=entry.description,
        type=entry.type,
        timing=entry.timing,
        terms=entry.terms,
        included=entry.included,
        meter_id=None,
        meter_key=entry.meter_key,
        unit=gauges[entry.meter].unit if entry.meter else "",
        minimum_amount=entry.minimum_amount,
        maximum_amount=entry.maximum_amount,
        conversion=entry.conversion,
        proration=entry.proration,
        quantity_policy=entry.quantity_policy,
        filters=entry.filters,
        amounts=entry.amounts,
    )
