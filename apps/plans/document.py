"""What a catalogue file says, as typed values that know where they stand in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from apps.engine.aggregation import Aggregation
from apps.engine.calendar import Interval
from apps.engine.price_rules import Conversion
from apps.engine.prices import Terms
from apps.plans.content import USUAL_RULES, GrantRules, PriceAmounts, ThresholdTerms, content
from apps.plans.content import Value as Value
from apps.plans.errors import Place
from apps.plans.offers import CouponRules, PromotionRules, TaxRules


@dataclass(frozen=True, slots=True)
class ApplicationEntry:
    """A product; `industry` None leaves what is there."""

    place: Place
    slug: str
    name: str
    industry: str | None


@dataclass(frozen=True, slots=True)
class FeatureEntry:
    """Something to grant; a name or description of None leaves what is there.

    `meter` is the key of the one that counts against a limit; empty leaves what is there.
    """

    place: Place
    key: str
    kind: str
    name: str | None
    description: str | None
    meter: str
    meter_place: Place


@dataclass(frozen=True, slots=True)
class MeterEntry:
    """How events become a quantity; a unit, description or dimensions of None leaves what is there.

    `include` and `exclude` say which events it counts at all, as in `usage.services.define_meter`.
    `places` tells where each of its keys stands.
    """

    place: Place
    places: Mapping[str, Place]
    key: str
    event_type: str
    aggregation: Aggregation
    value: str
    allow_negative: bool
    unit: str | None
    description: str | None
    dimensions: tuple[str, ...] | None = None
    include: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: tuple[Mapping[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """One price of a plan. `amounts` has what it says in every currency, the plan's own included.

    `places` tells where each of its keys stands.
    """

    place: Place
    key: str
    type: str
    terms: Terms
    included: Decimal
    timing: str
    meter: str
    meter_place: Place
    name: str
    description: str
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None
    conversion: Conversion | None = None
    proration: str = "second"
    quantity_policy: str = "purchased"
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    amounts: Mapping[str, PriceAmounts] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)

    @property
    def meter_key(self) -> str | None:
        """Return the meter's key, None for a price without one."""
        return self.meter or None


@dataclass(frozen=True, slots=True)
class EntitlementEntry:
    """One grant; whether the value suits the feature is for the service to say."""

    place: Place
    feature: str
    value: Value
    rules: GrantRules = USUAL_RULES


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """A plan and the whole content of its current version."""

    place: Place
    code: str
    name: str
    description: str
    application: str
    application_place: Place
    kind: str
    visibility: str
    industries: tuple[str, ...]
    custom: bool
    position: int
    currency: str
    interval: Interval
    trial_days: int
    prices: tuple[PriceEntry, ...]
    entitlements: tuple[EntitlementEntry, ...]
    currencies: tuple[str, ...]
    trial_requires_card: bool = False
    thresholds: Mapping[str, ThresholdTerms] = field(default_factory=dict)

    def content(self) -> dict[str, object]:
        """Return all that a version fixes, as plain JSON in one spelling."""
        return content(
            self,
            {entry.feature: entry.value for entry in self.entitlements},
            {entry.feature: entry.rules for entry in self.entitlements},
        )


@dataclass(frozen=True, slots=True)
class CouponEntry:
    """A coupon; `places` tells where each of its keys stands."""

    place: Place
    places: Mapping[str, Place]
    rules: CouponRules

    @property
    def code(self) -> str:
        """Return what it is known by."""
        return self.rules.code


@dataclass(frozen=True, slots=True)
class PromotionEntry:
    """A promotion code; `places` tells where each of its keys stands."""

    place: Place
    places: Mapping[str, Place]
    rules: PromotionRules

    @property
    def code(self) -> str:
        """Return what it is known by."""
        return self.rules.code


@dataclass(frozen=True, slots=True)
class TaxEntry:
    """A tax rate; `places` tells where each of its keys stands."""

    place: Place
    places: Mapping[str, Place]
    rules: TaxRules

    @property
    def code(self) -> str:
        """Return what it is known by, with its first day: one code has many."""
        return f"{self.rules.code} from {self.rules.valid_from}"


@dataclass(frozen=True, slots=True)
class CatalogDocument:
    """A catalogue file that makes sense on its own; `source` names it in errors."""

    source: str
    applications: tuple[ApplicationEntry, ...]
    features: tuple[FeatureEntry, ...]
    meters: tuple[MeterEntry, ...]
    plans: tuple[PlanEntry, ...]
    coupons: tuple[CouponEntry, ...] = ()
    promotion_codes: tuple[PromotionEntry, ...] = ()
    tax_rates: tuple[TaxEntry, ...] = ()


_ACRONYMS = {"ai", "api", "cpu", "gb", "gpu", "id", "mb", "pdf", "sla", "sms", "sso", "tb"}


def label_of(key: str) -> str:
    """Make words of a key: `ai_requests` becomes `AI requests`."""
    words = key.replace("-", "_").split("_")
    spelled = [word.upper() if word in _ACRONYMS else word for word in words]
    return " ".join([spelled[0][:1].upper() + spelled[0][1:], *spelled[1:]])
