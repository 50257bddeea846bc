"""What a catalogue file says, as typed values that know where they stand in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from apps.engine.aggregation import Aggregation
from apps.engine.calendar import Interval
from apps.engine.decimals import plain
from apps.engine.prices import Terms
from apps.plans.errors import Place

Value = bool | int | str | None
"""What an entitlement grants; None is unlimited."""


@dataclass(frozen=True, slots=True)
class ApplicationEntry:
    """A product; `industry` None leaves what is there."""

    place: Place
    slug: str
    name: str
    industry: str | None


@dataclass(frozen=True, slots=True)
class FeatureEntry:
    """Something to grant; a name or description of None leaves what is there."""

    place: Place
    key: str
    kind: str
    name: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class MeterEntry:
    """How events become a quantity; a unit or description of None leaves what is there.

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


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """One price of a plan."""

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


@dataclass(frozen=True, slots=True)
class EntitlementEntry:
    """One grant; whether the value suits the feature is for the service to say."""

    place: Place
    feature: str
    value: Value


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

    def content(self) -> dict[str, object]:
        """Return all that a version fixes, as plain JSON in one spelling."""
        return {
            "currency": self.currency,
            "interval": {"unit": str(self.interval.unit), "count": self.interval.count},
            "trial_days": self.trial_days,
            "prices": {
                price.key: {
                    "type": price.type,
                    "timing": price.timing,
                    "meter": price.meter or None,
                    "included": plain(price.included),
                    "terms": price.terms.as_dict(),
                }
                for price in self.prices
            },
            "entitlements": {entry.feature: entry.value for entry in self.entitlements},
        }


@dataclass(frozen=True, slots=True)
class CatalogDocument:
    """A catalogue file that makes sense on its own; `source` names it in errors."""

    source: str
    applications: tuple[ApplicationEntry, ...]
    features: tuple[FeatureEntry, ...]
    meters: tuple[MeterEntry, ...]
    plans: tuple[PlanEntry, ...]


_ACRONYMS = {"ai", "api", "cpu", "gb", "gpu", "id", "mb", "pdf", "sla", "sms", "sso", "tb"}


def label_of(key: str) -> str:
    """Make words of a key: `ai_requests` becomes `AI requests`."""
    words = key.replace("-", "_").split("_")
    spelled = [word.upper() if word in _ACRONYMS else word for word in words]
    return " ".join([spelled[0][:1].upper() + spelled[0][1:], *spelled[1:]])
