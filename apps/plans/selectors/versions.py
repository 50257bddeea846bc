"""Questions about plans and their versions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from django.db.models import Q, QuerySet

from apps.core import ids
from apps.engine.calendar import Interval, Unit
from apps.engine.price_rules import Conversion, Rules, parse_rules
from apps.engine.prices import Terms, parse_terms
from apps.plans.content import GrantRules, PriceAmounts, ThresholdTerms, Value, content
from apps.plans.errors import CurrencyNotSold, UnknownPlan, UnknownVersion
from apps.plans.form import WORD
from apps.plans.models import Feature, Plan, PlanVersion, Price
from apps.plans.report import Change, differences
from apps.plans.selectors.contents import CONTENT, GrantRow, PriceRow
from apps.usage.selectors import MeterShape


@dataclass(frozen=True, slots=True)
class PriceTerms:
    """One price of a version. Terms are in major units; `included` and `unit` count usage.

    `terms`, `minimum_amount` and `maximum_amount` are those of the version's `currency`;
    `amounts` has them in every currency that the version is sold in. `filters` tell which usage
    it prices, {dimension: values}; of several prices on a meter the most specific takes an event,
    ties go to the earlier price. `meter` is what measuring has to know; None where none is stored.
    """

    id: int
    public_id: str
    key: str
    name: str
    description: str
    type: str
    timing: str
    terms: Terms
    included: Decimal
    meter_id: int | None
    meter_key: str | None
    unit: str
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None
    conversion: Conversion | None = None
    proration: str = Price.Proration.SECOND
    quantity_policy: str = Price.QuantityPolicy.PURCHASED
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    amounts: Mapping[str, PriceAmounts] = field(default_factory=dict, hash=False)
    meter: MeterShape | None = None

    @property
    def rules(self) -> Rules:
        """Return all that it says besides its terms, for `engine.rating.rate`."""
        return Rules(
            conversion=self.conversion,
            maximum_amount=self.maximum_amount,
            minimum_amount=self.minimum_amount,
        )

    def in_currency(self, currency: str) -> PriceTerms:
        """Return the same price in another of its currencies. Raises KeyError."""
        said = self.amounts[currency]
        return replace(
            self,
            terms=said.terms,
            minimum_amount=said.minimum_amount,
            maximum_amount=said.maximum_amount,
        )


@dataclass(frozen=True, slots=True)
class GrantTerms:
    """What a version grants of a feature; `value` None is unlimited.

    `meter_key` names what counts against a limit, None where the application counts itself.
    """

    feature_id: int
    key: str
    name: str
    kind: str
    value: Value
    rules: GrantRules
    meter_key: str | None
    unit: str


@dataclass(frozen=True, slots=True)
class VersionTerms:
    """All that a version fixes, with the names its plan has today.

    Prices and `threshold` are said in `currency`; `currencies` has all that it is sold in, the
    version's own first.
    """

    version_id: int
    public_id: str
    plan_id: int
    plan_public_id: str
    plan_code: str
    plan_name: str
    number: int
    status: str
    currency: str
    interval: Interval
    trial_days: int
    application_id: int
    application_slug: str
    application_name: str
    custom: bool
    prices: tuple[PriceTerms, ...]
    entitlements: dict[str, Value]
    currencies: tuple[str, ...] = ()
    trial_requires_card: bool = False
    thresholds: Mapping[str, ThresholdTerms] = field(default_factory=dict)
    grants: tuple[GrantTerms, ...] = ()

    @property
    def threshold(self) -> ThresholdTerms | None:
        """Return where usage is billed within a period, in `currency`; None: at its end only."""
        return self.thresholds.get(self.currency)

    def in_currency(self, currency: str) -> VersionTerms:
        """Return the same version in another of its currencies. Raises CurrencyNotSold."""
        if currency == self.currency:
            return self
        if currency not in self.currencies:
            sold = ", ".join(self.currencies)
            raise CurrencyNotSold(
                f"{self.plan_name} is not sold in {currency}; it is in {sold}.", param="currency"
            )
        prices = tuple(price.in_currency(currency) for price in self.prices)
        return replace(self, currency=currency, prices=prices)

    @property
    def metered_grants(self) -> tuple[GrantTerms, ...]:
        """Return the limits that a meter counts against."""
        return tuple(grant for grant in self.grants if grant.meter_key is not None)

    def price(self, key: str) -> PriceTerms:
        """Return the price with this key, or raise KeyError."""
        return {price.key: price for price in self.prices}[key]


@dataclass(frozen=True, slots=True)
class PlanOffer:
    """A plan as a price list shows it, with the version that a new subscription gets."""

    id: int
    public_id: str
    code: str
    name: str
    description: str
    kind: str
    visibility: str
    industries: tuple[str, ...]
    custom: bool
    application_slug: str
    application_name: str
    version: VersionTerms


@dataclass(frozen=True, slots=True)
class FeatureWords:
    """A feature's kind and the words to show for it; `meter_key` counts against a limit."""

    key: str
    name: str
    kind: str
    description: str
    id: int = 0
    meter_key: str | None = None
    unit: str = ""


def version_terms(version_id: int) -> VersionTerms:
    """Return the terms of one version, of whatever status. Raises UnknownVersion."""
    found = terms_of([version_id]).get(version_id)
    if found is None:
        raise UnknownVersion(f"There is no plan version {version_id}.")
    return found


def terms_of(version_ids: Collection[int]) -> dict[int, VersionTerms]:
    """Return the terms of many versions by id; unknown ids are left out. One statement."""
    return {row.pk: _version_terms(row) for row in _with_content().filter(pk__in=set(version_ids))}


def find_version(public_id: str) -> VersionTerms:
    """Return the terms of the version with this public id. Raises UnknownVersion."""
    row = _with_content().filter(public_id=public_id).first()
    if row is None:
        raise UnknownVersion(f"There is no plan version '{public_id}'.", param="plan_version")
    return _version_terms(row)


def find_versions(public_ids: Collection[str]) -> dict[str, VersionTerms]:
    """Return the terms of many versions by public id; unknown ones are left out."""
    rows = _with_content().filter(public_id__in=set(public_ids))
    return {row.public_id: _version_terms(row) for row in rows}


def current_version(plan: str) -> VersionTerms:
    """Return the published version of the plan with this code or public id.

    Raises UnknownPlan, also when the plan has none to subscribe to.
    """
    row = _with_content().filter(_of_plan(plan), status="published").first()
    if row is None:
        raise UnknownPlan(f"There is no plan '{plan}' to subscribe to.", param="plan")
    return _version_terms(row)


def published_version(plan_id: int) -> VersionTerms | None:
    """Return the published version of the plan with this integer id, if it has one."""
    row = _with_content().filter(plan_id=plan_id, status="published").first()
    return None if row is None else _version_terms(row)


def plan_versions(plan: str) -> list[VersionTerms]:
    """Return every version of the plan, newest first. Raises UnknownPlan."""
    found = [_version_terms(row) for row in _with_content().filter(_of_plan(plan))]
    if not found:
        raise UnknownPlan(f"There is no plan '{plan}'.", param="plan")
    return found[::-1]


def find_plan(plan: str) -> PlanOffer:
    """Return the plan with this code or public id. Raises UnknownPlan."""
    offers = _offers(_of_plan(plan))
    if not offers:
        raise UnknownPlan(f"There is no plan '{plan}' for sale.", param="plan")
    return offers[0]


def list_plans(
    *, visibility: str | None = "public", application: str | None = None, industry: str = ""
) -> list[PlanOffer]:
    """Return the plans for sale: by application, then in their order in the price list.

    `visibility` None shows all; `application` is a slug; with an `industry` only plans for it or
    for everybody.
    """
    wanted = Q()
    if visibility is not None:
        wanted &= Q(plan__visibility=visibility)
    if application is not None:
        wanted &= Q(plan__application__slug=application)
    offers = _offers(wanted)
    return [o for o in offers if not industry or not o.industries or industry in o.industries]


def features() -> list[FeatureWords]:
    """Return every feature by key."""
    return [_feature_words(row) for row in Feature.objects.select_related("meter")]


def find_feature(key: str) -> FeatureWords | None:
    """Return the feature with this key; any text may be asked for."""
    if not WORD.fullmatch(key):
        return None
    row = Feature.objects.select_related("meter").filter(key=key).first()
    return None if row is None else _feature_words(row)


def _feature_words(row: Feature) -> FeatureWords:
    meter = row.meter
    return FeatureWords(
        row.key,
        row.name,
        row.kind,
        row.description,
        id=row.pk,
        meter_key=meter.key if meter else None,
        unit=meter.unit if meter else "",
    )


def content_of(version: VersionTerms) -> dict[str, Any]:
    """Return what the version fixes in the shape of `PlanEntry.content()`."""
    rules = {grant.key: grant.rules for grant in version.grants}
    return content(version.in_currency(version.currencies[0]), version.entitlements, rules)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two versions differ: every change of what they fix, and which prices match by key."""

    old: VersionTerms
    new: VersionTerms
    changes: tuple[Change, ...]
    matched: tuple[tuple[PriceTerms, PriceTerms], ...]
    removed: tuple[PriceTerms, ...]
    added: tuple[PriceTerms, ...]

    @property
    def common_currencies(self) -> tuple[str, ...]:
        """Return the currencies in which both are sold, in the older one's order."""
        return tuple(code for code in self.old.currencies if code in self.new.currencies)


def compare(version_a: VersionTerms, version_b: VersionTerms) -> Comparison:
    """Compare two versions, of one plan or of two: what subscribers of the one would find."""
    old = {price.key: price for price in version_a.prices}
    new = {price.key: price for price in version_b.prices}
    return Comparison(
        version_a,
        version_b,
        differences(content_of(version_a), content_of(version_b)),
        tuple((price, new[key]) for key, price in old.items() if key in new),
        tuple(price for key, price in old.items() if key not in new),
        tuple(price for key, price in new.items() if key not in old),
    )


def _of_plan(plan: str) -> Q:
    by_id = ids.is_public_id(plan, "plan")
    return Q(plan__public_id=plan) if by_id else Q(plan__code=plan)


def _with_content() -> QuerySet[Any]:
    versions = PlanVersion.objects.select_related("plan__application")
    return versions.annotate(content=CONTENT.column)


def _offers(wanted: Q) -> list[PlanOffer]:
    rows: Iterable[PlanVersion] = (
        _with_content()
        .filter(wanted, status="published")
        .order_by("plan__application__name", "plan__position", "plan__code")
    )
    return [_offer(row.plan, _version_terms(row)) for row in rows]


def _offer(plan: Plan, version: VersionTerms) -> PlanOffer:
    return PlanOffer(
        id=plan.pk,
        public_id=plan.public_id,
        code=plan.code,
        name=plan.name,
        description=plan.description,
        kind=plan.kind,
        visibility=plan.visibility,
        industries=tuple(plan.industries),
        custom=plan.custom,
        application_slug=plan.application.slug,
        application_name=plan.application.name,
        version=version,
    )


def _version_terms(row: Any) -> VersionTerms:
    plan, fixed = row.plan, CONTENT.read(row.content)
    return VersionTerms(
        version_id=row.pk,
        public_id=row.public_id,
        plan_id=plan.pk,
        plan_public_id=plan.public_id,
        plan_code=plan.code,
        plan_name=plan.name,
        number=row.number,
        status=row.status,
        currency=row.currency,
        interval=Interval(Unit(row.interval_unit), row.interval_count),
        trial_days=row.trial_days,
        application_id=plan.application_id,
        application_slug=plan.application.slug,
        application_name=plan.application.name,
        custom=plan.custom,
        prices=tuple(_price_terms(price, row.currency) for price in fixed.prices),
        entitlements={grant.key: grant.value for grant in fixed.entitlements},
        currencies=(row.currency, *row.currencies),
        trial_requires_card=row.trial_requires_card,
        thresholds={code: _threshold(said) for code, said in row.thresholds.items()},
        grants=tuple(_grant_terms(grant) for grant in fixed.entitlements),
    )


def _grant_terms(row: GrantRow) -> GrantTerms:
    return GrantTerms(
        feature_id=row.feature_id,
        key=row.key,
        name=row.name,
        kind=row.kind,
        value=row.value,
        rules=GrantRules(row.reset, row.on_limit, row.prepaid),
        meter_key=row.meter_key,
        unit=row.unit,
    )


def _threshold(said: Mapping[str, Any]) -> ThresholdTerms:
    return ThresholdTerms(
        tuple(Decimal(amount) for amount in said["amounts"]), _amount(said.get("step"))
    )


def _amount(said: str | None) -> Decimal | None:
    return None if said is None else Decimal(said)


def _price_terms(price: PriceRow, currency: str) -> PriceTerms:
    amounts = _amounts(price, currency)
    own = amounts[currency]
    return PriceTerms(
        id=price.id,
        public_id=price.public_id,
        key=price.key,
        name=price.name,
        description=price.description,
        type=price.type,
        timing=price.timing,
        terms=own.terms,
        included=price.included,
        meter_id=price.meter.id if price.meter else None,
        meter_key=price.meter.key if price.meter else None,
        unit=price.unit,
        minimum_amount=own.minimum_amount,
        maximum_amount=own.maximum_amount,
        conversion=parse_rules({"conversion": price.conversion}).conversion,
        proration=price.proration,
        quantity_policy=price.quantity_policy,
        filters=price.filters,
        amounts=amounts,
        meter=price.meter,
    )


def _amounts(price: PriceRow, currency: str) -> dict[str, PriceAmounts]:
    own = PriceAmounts(parse_terms(price.terms), price.minimum_amount, price.maximum_amount)
    return {currency: own} | {
        code: PriceAmounts(
            parse_terms(said["terms"]),
            _amount(said.get("minimum_amount")),
            _amount(said.get("maximum_amount")),
        )
        for code, said in price.currencies.items()
    }
