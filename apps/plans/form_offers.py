"""Coupons, promotion codes and tax rates in a catalogue file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from apps.core.errors import Invalid
from apps.plans.document import CouponEntry, PromotionEntry, TaxEntry
from apps.plans.form import Form
from apps.plans.models import Coupon, TaxRate
from apps.plans.models.coupons import MOST_MONTHS
from apps.plans.offers import CouponRules, PromotionRules, TaxRules

T = TypeVar("T")
MOST = 10**9
_WHAT = {"coupons": "a coupon", "promotion_codes": "a promotion code", "tax_rates": "a tax rate"}
# The file's words for the fields of a tax rate.
_WRITTEN = {"valid_from": "from"}


def read(form: Form, key: str, entry: Callable[[Form], T | None]) -> Iterator[T]:
    """Return what could be made of the key's list; the rest has been noted."""
    for inner in form.forms(key, _WHAT[key]):
        found = entry(inner)
        if found is not None:
            yield found


def coupon_entry(form: Form) -> CouponEntry | None:
    """Read a coupon."""

    def rules() -> CouponRules:
        months = form.counted("months", MOST_MONTHS)
        usual = Coupon.Duration.REPEATING if months else Coupon.Duration.ONCE
        return CouponRules(
            code=form.word("code"),
            name=form.text("name", required=True),
            duration=form.choice("duration", Coupon.Duration.values, usual),
            percent=form.decimal("percent"),
            amounts=form.amounts("amounts"),
            months=months,
            plans=form.words("plans"),
            prices=form.words("prices"),
            minimum_amounts=form.amounts("minimum_amounts"),
            first_time_only=form.flag("first_time_only", default=False),
            max_redemptions=form.counted("max_redemptions", MOST),
            max_per_organization=form.counted("max_per_organization", MOST),
            redeem_by=form.instant("redeem_by"),
            stackable=form.flag("stackable", default=True),
            position=form.whole("position", 0, 0, 1000),
        )

    made = _made(form, rules)
    return None if made is None else CouponEntry(form.place, form.places(), made)


def promotion_entry(form: Form) -> PromotionEntry | None:
    """Read a promotion code."""

    def rules() -> PromotionRules:
        return PromotionRules(
            code=form.text("code", required=True, limit=50),
            coupon=form.word("coupon"),
            organization=form.text("organization"),
            minimum_amounts=form.amounts("minimum_amounts"),
            first_time_only=form.flag("first_time_only", default=False),
            max_redemptions=form.counted("max_redemptions", MOST),
            max_per_organization=form.counted("max_per_organization", MOST),
            expires_at=form.instant("expires_at"),
        )

    made = _made(form, rules)
    return None if made is None else PromotionEntry(form.place, form.places(), made)


def tax_entry(form: Form) -> TaxEntry | None:
    """Read a tax rate."""

    def rules() -> TaxRules | None:
        percent, begins = form.decimal("percent", required=True), form.day("from")
        said = {
            "code": form.word("code"),
            "name": form.text("name", required=True),
            "kind": form.choice("kind", TaxRate.Kind.values),
            "country": form.text("country", required=True),
            "region": form.text("region"),
        }
        inclusive = form.flag("inclusive", default=False)
        if percent is None or begins is None:
            return None
        return TaxRules(percent=percent, valid_from=begins, inclusive=inclusive, **said)

    made = _made(form, rules)
    return None if made is None else TaxEntry(form.place, form.places(), made)


def _made(form: Form, make: Callable[[], T | None]) -> T | None:
    """Make the value; what makes no sense is noted where it stands, unless it was noted before."""
    before, made = form.count, None
    try:
        made = make()
    except Invalid as refusal:
        if form.count == before:
            key = _WRITTEN.get(refusal.param, refusal.param)
            form.note(form.place_of(key), refusal.message)
    form.close()
    return made if form.count == before else None
