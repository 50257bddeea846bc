"""The coupons, promotion codes and tax rates of a file being loaded."""

from __future__ import annotations

from collections.abc import Mapping

from apps.core.errors import DomainError
from apps.plans.document import CouponEntry, PromotionEntry, TaxEntry
from apps.plans.errors import Place
from apps.plans.report import Outcome
from apps.plans.services.coupons import (
    put_coupon,
    put_promotion_code,
    unknown_plans,
    unknown_prices,
)
from apps.plans.services.load import Load
from apps.plans.services.taxes import set_tax_rate

# The file's words for what a refusal names.
_WRITTEN = {"valid_from": "from", "only_organization_id": "organization", "coupon_id": "coupon"}


Entry = CouponEntry | PromotionEntry | TaxEntry


def define_offers(load: Load) -> None:
    """Define them; note what they refer to in vain, and what is refused."""
    for rate in sorted(load.document.tax_rates, key=lambda entry: entry.rules.valid_from):
        _define(load, "tax rate", rate)
    for coupon in load.document.coupons:
        _check_targets(load, coupon)
        _define(load, "coupon", coupon)
    for code in load.document.promotion_codes:
        _define(load, "promotion code", code)


def _define(load: Load, what: str, entry: Entry) -> None:
    try:
        load.report(what, entry.code, _outcome(load, entry))
    except DomainError as refusal:
        load.note(_place(entry.places, refusal.param, entry.place), refusal.message)


def _outcome(load: Load, entry: Entry) -> Outcome:
    match entry:
        case TaxEntry():
            return set_tax_rate(entry.rules, actor=load.actor, at=load.at)[1]
        case CouponEntry():
            return put_coupon(entry.rules, actor=load.actor, at=load.at)[1]
        case PromotionEntry():
            return put_promotion_code(entry.rules, actor=load.actor, at=load.at)[1]


def _place(places: Mapping[str, Place], param: str, otherwise: Place) -> Place:
    return places.get(_WRITTEN.get(param, param), otherwise)


def _check_targets(load: Load, entry: CouponEntry) -> None:
    plans = {plan.code for plan in load.document.plans}
    prices = {price.key for plan in load.document.plans for price in plan.prices}
    for missing in unknown_plans(set(entry.rules.plans) - plans):
        load.note(_place(entry.places, "plans", entry.place), f"there is no plan {missing!r}")
    for missing in unknown_prices(set(entry.rules.prices) - prices):
        said = f"no plan has a price {missing!r}"
        load.note(_place(entry.places, "prices", entry.place), said)
