"""What a version fixes, as plain JSON in one spelling: compared, hashed and recorded.

What is as usual is left out, so that a version that was published before a word existed still says
the same as the file it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from apps.engine.calendar import Interval
from apps.engine.decimals import plain
from apps.engine.price_rules import Conversion
from apps.engine.prices import Terms

Value = bool | int | str | None
"""What an entitlement grants; None is unlimited."""

USUAL_PRORATION, USUAL_POLICY = "second", "purchased"


@dataclass(frozen=True, slots=True)
class GrantRules:
    """How a granted limit holds: when it counts anew, and what happens where it is reached.

    `reset` is none, hour, day, week, month, year or period (the billing period); `on_limit` allow,
    warn or block. A `prepaid` one is open only as far as the organization's credit covers it.
    """

    reset: str = "period"
    on_limit: str = "block"
    prepaid: bool = False

    def as_dict(self) -> dict[str, object]:
        """Return what is not as usual, as plain JSON."""
        said = {"reset": self.reset, "on_limit": self.on_limit, "prepaid": self.prepaid}
        usual = {"reset": "period", "on_limit": "block", "prepaid": False}
        return {key: value for key, value in said.items() if value != usual[key]}


USUAL_RULES = GrantRules()


@dataclass(frozen=True, slots=True)
class PriceAmounts:
    """What a price says in one currency, major units."""

    terms: Terms
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None

    def as_dict(self) -> dict[str, object]:
        """Return it as plain JSON, as it is stored."""
        return {"terms": self.terms.as_dict()} | _bounds(self)


@dataclass(frozen=True, slots=True)
class ThresholdTerms:
    """The amounts owed, major units, at which usage is billed within a period.

    `step`: and then again at each further step above the highest of `amounts` (or above 0).
    """

    amounts: tuple[Decimal, ...]
    step: Decimal | None

    def as_dict(self) -> dict[str, object]:
        """Return it as plain JSON, as it is stored."""
        said: dict[str, object] = {"amounts": [plain(amount) for amount in self.amounts]}
        return said if self.step is None else said | {"step": plain(self.step)}


class Bounded(Protocol):
    """Something between a minimum and a maximum."""

    @property
    def minimum_amount(self) -> Decimal | None: ...
    @property
    def maximum_amount(self) -> Decimal | None: ...


class Priced(Bounded, Protocol):
    """A price, in a file or in the database."""

    @property
    def key(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def timing(self) -> str: ...
    @property
    def meter_key(self) -> str | None: ...
    @property
    def included(self) -> Decimal: ...
    @property
    def terms(self) -> Terms: ...
    @property
    def conversion(self) -> Conversion | None: ...
    @property
    def proration(self) -> str: ...
    @property
    def quantity_policy(self) -> str: ...
    @property
    def filters(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def amounts(self) -> Mapping[str, PriceAmounts]: ...


class Fixed(Protocol):
    """A version, in a file or in the database; `currency` is its own, the first of `currencies`."""

    @property
    def currency(self) -> str: ...
    @property
    def currencies(self) -> tuple[str, ...]: ...
    @property
    def interval(self) -> Interval: ...
    @property
    def trial_days(self) -> int: ...
    @property
    def trial_requires_card(self) -> bool: ...
    @property
    def thresholds(self) -> Mapping[str, ThresholdTerms]: ...
    @property
    def prices(self) -> Sequence[Priced]: ...


def content(
    version: Fixed, grants: Mapping[str, Value], rules: Mapping[str, GrantRules]
) -> dict[str, object]:
    """Return all that a version fixes; `rules` are those of the grants, by feature."""
    return {
        "currency": version.currency,
        "interval": {"unit": str(version.interval.unit), "count": version.interval.count},
        "trial_days": version.trial_days,
        "prices": {
            price.key: _price(price, place, version.currency)
            for place, price in enumerate(version.prices)
        },
        "entitlements": dict(grants),
    } | _unless_usual(
        currencies=sorted(version.currencies[1:]),
        trial_requires_card=version.trial_requires_card,
        thresholds={code: said.as_dict() for code, said in version.thresholds.items()},
        limits={key: said.as_dict() for key, said in rules.items() if said != USUAL_RULES},
    )


def _price(price: Priced, place: int, currency: str) -> dict[str, object]:
    usual: dict[str, object] = {
        "type": str(price.type),
        "timing": str(price.timing),
        "meter": price.meter_key,
        "included": plain(price.included),
        "terms": price.terms.as_dict(),
    }
    others = {code: said.as_dict() for code, said in price.amounts.items() if code != currency}
    return (
        usual
        | _bounds(price)
        | _unless_usual(
            conversion=price.conversion.as_dict() if price.conversion else None,
            proration=str(price.proration) if price.proration != USUAL_PRORATION else "",
            quantity_policy=str(price.quantity_policy)
            if price.quantity_policy != USUAL_POLICY
            else "",
            filters={name: sorted(values) for name, values in price.filters.items()},
            # Among prices that match the same usage the earlier one takes it.
            place=str(place) if price.filters else "",
            currencies=others,
        )
    )


def _bounds(price: Bounded) -> dict[str, object]:
    bounds = {"minimum_amount": price.minimum_amount, "maximum_amount": price.maximum_amount}
    return {key: plain(value) for key, value in bounds.items() if value is not None}


def _unless_usual(**facts: object) -> dict[str, object]:
    return {key: value for key, value in facts.items() if value}
