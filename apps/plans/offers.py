"""Coupons, promotion codes and tax rates as values: what they say, checked once for all doors.

Amounts are in major units (12.50 dollars) by ISO 4217 code, never finer than the currency. Whatever
makes no sense raises Invalid, with the field at fault in `param`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from apps.core.errors import Invalid
from apps.engine.decimals import places_of, plain
from apps.engine.money import InvalidAmount, Money, UnknownCurrency
from apps.plans.form import WORD, WORD_RULE
from apps.plans.models.coupons import MOST_MONTHS, Coupon
from apps.plans.models.taxes import TaxRate

Amounts = Mapping[str, Decimal]

_CODE = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,49}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_REGION = re.compile(r"[A-Z0-9]{0,3}")
_PERCENT_PLACES = 6
_MOST_MINOR = 10**18 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Who may still redeem; None and no amounts: everybody, for any amount."""

    first_time_only: bool = False
    max_per_organization: int | None = None
    minimum_amounts: Amounts = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponRules:
    """What a coupon takes off, of what and for how long, and who may redeem it until when.

    Either `percent` (20 is 20 %) or `amounts`. `plans` are codes and `prices` keys that it is
    restricted to; none: everything. `redeem_by` is the first instant too late. Coupons come off in
    the order of `position`; one that is not `stackable` stands alone.
    """

    code: str
    name: str
    duration: str = Coupon.Duration.ONCE
    percent: Decimal | None = None
    amounts: Amounts = field(default_factory=dict, hash=False)
    months: int | None = None
    plans: tuple[str, ...] = ()
    prices: tuple[str, ...] = ()
    minimum_amounts: Amounts = field(default_factory=dict, hash=False)
    first_time_only: bool = False
    max_redemptions: int | None = None
    max_per_organization: int | None = None
    redeem_by: datetime | None = None
    stackable: bool = True
    position: int = 0

    def __post_init__(self) -> None:
        _check(WORD.fullmatch(self.code), f"A coupon's code must be {WORD_RULE}.", "code")
        _check(self.name.strip(), "A coupon needs a name: the invoice shows it.", "name")
        self._check_worth()
        self._check_duration()
        _check_amounts(self.minimum_amounts, "minimum_amounts")
        _check_counts(self.max_redemptions, self.max_per_organization)
        _check(0 <= self.position < 2**15, "A position is a small number.", "position")

    def _check_worth(self) -> None:
        one = (self.percent is None) != (not self.amounts)
        _check(one, "A coupon takes off either a percentage or amounts.", "percent")
        if self.percent is not None:
            _check(self.percent > 0, "A coupon takes off more than 0 %.", "percent")
            _check_percent(self.percent)
        _check_amounts(self.amounts, "amounts")

    def _check_duration(self) -> None:
        known = ", ".join(Coupon.Duration.values)
        _check(self.duration in Coupon.Duration.values, f"A coupon runs {known}.", "duration")
        repeats = self.duration == Coupon.Duration.REPEATING
        _check(
            repeats == (self.months is not None),
            "Repeating coupons, and no others, run for months.",
            "months",
        )
        within = self.months is None or 1 <= self.months <= MOST_MONTHS
        _check(within, f"A coupon runs for 1 to {MOST_MONTHS} months.", "months")

    @property
    def limits(self) -> Limits:
        """Return who may redeem it."""
        return Limits(
            first_time_only=self.first_time_only,
            max_per_organization=self.max_per_organization,
            minimum_amounts=self.minimum_amounts,
        )

    def worth(self, currency: str) -> Money | None:
        """Return the fixed amount in that currency; None for a percentage or another currency."""
        amount = self.amounts.get(currency)
        return None if amount is None else Money.of(amount, currency)

    def works_in(self, currency: str) -> bool:
        """Tell whether it takes anything off a bill in that currency."""
        return self.percent is not None or currency in self.amounts

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON; what is as usual is left out. `coupon_rules` reads it."""
        return _said(
            code=self.code,
            name=self.name,
            duration=str(self.duration),
            percent=_text(self.percent),
            amounts=_texts(self.amounts),
            months=self.months,
            plans=list(self.plans),
            prices=list(self.prices),
            minimum_amounts=_texts(self.minimum_amounts),
            first_time_only=self.first_time_only,
            max_redemptions=self.max_redemptions,
            max_per_organization=self.max_per_organization,
            redeem_by=self.redeem_by.isoformat() if self.redeem_by else None,
            not_stackable=not self.stackable,
            position=self.position,
        )


def coupon_rules(said: Mapping[str, Any]) -> CouponRules:
    """Read what `CouponRules.as_dict` says: `coupon_rules(rules.as_dict()) == rules`."""
    by = said.get("redeem_by")
    percent = said.get("percent")
    return CouponRules(
        code=said["code"],
        name=said["name"],
        duration=said["duration"],
        percent=None if percent is None else Decimal(percent),
        amounts=decimals(said.get("amounts", {})),
        months=said.get("months"),
        plans=tuple(said.get("plans", ())),
        prices=tuple(said.get("prices", ())),
        minimum_amounts=decimals(said.get("minimum_amounts", {})),
        first_time_only=said.get("first_time_only", False),
        max_redemptions=said.get("max_redemptions"),
        max_per_organization=said.get("max_per_organization"),
        redeem_by=None if by is None else datetime.fromisoformat(by),
        stackable=not said.get("not_stackable", False),
        position=said.get("position", 0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRules:
    """A word that customers type for a coupon. Its limits stand besides the coupon's.

    `code` is read in any case and kept in capitals. `organization` (slug or public id) keeps it for
    one customer; `expires_at` is the first instant too late.
    """

    code: str
    coupon: str
    organization: str = ""
    minimum_amounts: Amounts = field(default_factory=dict, hash=False)
    first_time_only: bool = False
    max_redemptions: int | None = None
    max_per_organization: int | None = None
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", self.code.strip().upper())
        rule = "A promotion code is up to 50 of A-Z, 0-9, _ and -, the first a letter or digit."
        _check(_CODE.fullmatch(self.code), rule, "code")
        _check_amounts(self.minimum_amounts, "minimum_amounts")
        _check_counts(self.max_redemptions, self.max_per_organization)

    @property
    def limits(self) -> Limits:
        """Return its own limits, without the coupon's."""
        return Limits(
            first_time_only=self.first_time_only,
            max_per_organization=self.max_per_organization,
            minimum_amounts=self.minimum_amounts,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON; what is as usual is left out."""
        return _said(
            code=self.code,
            coupon=self.coupon,
            organization=self.organization,
            minimum_amounts=_texts(self.minimum_amounts),
            first_time_only=self.first_time_only,
            max_redemptions=self.max_redemptions,
            max_per_organization=self.max_per_organization,
            expires_at=self.expires_at.isoformat() if self.expires_at else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRules:
    """What a place takes from a day on, in percent (19 is 19 %); `code` stays over time.

    `country` is ISO 3166-1 in two capitals, `region` ISO 3166-2 without the country, empty for all
    of it. `inclusive`: prices contain the tax already.
    """

    code: str
    name: str
    kind: str
    percent: Decimal
    country: str
    valid_from: date
    region: str = ""
    inclusive: bool = False

    def __post_init__(self) -> None:
        _check(WORD.fullmatch(self.code), f"A tax rate's code must be {WORD_RULE}.", "code")
        _check(self.name.strip(), "A tax rate needs a name: the invoice shows it.", "name")
        kinds = ", ".join(TaxRate.Kind.values)
        _check(self.kind in TaxRate.Kind.values, f"A tax is one of {kinds}.", "kind")
        _check(self.percent >= 0, "A tax rate is not negative.", "percent")
        _check_percent(self.percent)
        known = _COUNTRY.fullmatch(self.country)
        _check(known, "A country is written in two capitals: DE.", "country")
        of_it = _REGION.fullmatch(self.region)
        _check(of_it, "A region is written without its country: CA, 13.", "region")

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON; what is as usual is left out."""
        return _said(
            code=self.code,
            name=self.name,
            kind=str(self.kind),
            percent=plain(self.percent),
            country=self.country,
            region=self.region,
            inclusive=self.inclusive,
            valid_from=self.valid_from.isoformat(),
        )


def decimals(said: Mapping[str, str]) -> dict[str, Decimal]:
    """Read stored amounts by currency."""
    return {code: Decimal(amount) for code, amount in said.items()}


def _check(holds: object, message: str, param: str) -> None:
    if not holds:
        raise Invalid(message, param=param)


def _check_percent(percent: Decimal) -> None:
    _check(percent <= 100, "A percentage is at most 100.", "percent")
    fine = places_of(percent) <= _PERCENT_PLACES
    _check(fine, f"A percentage has at most {_PERCENT_PLACES} decimals.", "percent")


def _check_amounts(amounts: Amounts, param: str) -> None:
    for currency, amount in amounts.items():
        try:
            money = Money.of(amount, currency)
        except (InvalidAmount, UnknownCurrency) as error:
            raise Invalid(f"{error}.", param=param) from error
        _check(money.minor > 0, f"{money} must be above zero.", param)
        _check(money <= Money(_MOST_MINOR, currency), f"{money} is too much.", param)


def _check_counts(max_redemptions: int | None, max_per_organization: int | None) -> None:
    for param, count in (
        ("max_redemptions", max_redemptions),
        ("max_per_organization", max_per_organization),
    ):
        _check(count is None or 1 <= count < 2**31, f"'{param}' is at least 1.", param)


def _said(**facts: Any) -> dict[str, Any]:
    """Leave out what says nothing: None, no words, no entries, false and 0."""
    return {key: value for key, value in facts.items() if value}


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _texts(amounts: Amounts) -> dict[str, str]:
    return {code: plain(amount) for code, amount in amounts.items()}
