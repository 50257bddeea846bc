"""Questions about coupons and promotion codes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from apps.core import ids
from apps.plans.errors import UnknownCoupon, UnknownPromotionCode
from apps.plans.models import Coupon, PromotionCode
from apps.plans.offers import CouponRules, Limits, PromotionRules, decimals


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponTerms(CouponRules):
    """A coupon with its ids and how often it was redeemed. `as_dict()` is what to keep of it.

    `promotion_code` is the word it was redeemed by, if any.
    """

    id: int
    public_id: str
    active: bool
    redeemed: int
    promotion_code: str = ""

    def open_at(self, at: datetime) -> bool:
        """Tell whether it can be redeemed at that instant, as far as it says itself."""
        left = self.max_redemptions is None or self.redeemed < self.max_redemptions
        return self.active and left and (self.redeem_by is None or at < self.redeem_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionTerms(PromotionRules):
    """A promotion code with its ids, its coupon and how often it was redeemed."""

    id: int
    public_id: str
    only_organization_id: int | None
    active: bool
    redeemed: int
    terms: CouponTerms

    def open_at(self, at: datetime) -> bool:
        """Tell whether it can be redeemed at that instant, as far as it and its coupon say."""
        left = self.max_redemptions is None or self.redeemed < self.max_redemptions
        own = self.active and left and (self.expires_at is None or at < self.expires_at)
        return own and self.terms.open_at(at)

    @property
    def all_limits(self) -> tuple[Limits, Limits]:
        """Return its own limits and the coupon's: both hold."""
        return self.limits, self.terms.limits


def coupon(code: str) -> CouponTerms:
    """Return the coupon with this code or public id. Raises UnknownCoupon."""
    by = "public_id" if ids.is_public_id(code, "coupon") else "code"
    row = Coupon.objects.filter(**{by: code}).first()
    if row is None:
        raise UnknownCoupon(f"There is no coupon '{code}'.", param="coupon")
    return coupon_terms(row)


def promotion_code(code: str) -> PromotionTerms:
    """Return the promotion code, in whatever case, or with this public id.

    In an organization's scope one that is kept for another does not exist.
    Raises UnknownPromotionCode.
    """
    by_id = ids.is_public_id(code, "promo")
    wanted = {"public_id": code} if by_id else {"code": code.strip().upper()}
    row = _codes().filter(**wanted).first()
    if row is None:
        raise UnknownPromotionCode(f"There is no promotion code '{code}'.", param="promotion_code")
    return promotion_terms(row)


def coupons(*, active: bool | None = None) -> list[CouponTerms]:
    """Return the coupons in the order in which they come off; `active` None shows all."""
    rows = Coupon.objects.all() if active is None else Coupon.objects.filter(active=active)
    return [coupon_terms(row) for row in rows]


def promotion_codes(coupon_id: int | None = None) -> list[PromotionTerms]:
    """Return the promotion codes, of one coupon or of all."""
    rows = _codes() if coupon_id is None else _codes().filter(coupon_id=coupon_id)
    return [promotion_terms(row) for row in rows]


def coupon_terms(row: Coupon, promotion: str = "") -> CouponTerms:
    """Return a row's terms."""
    return CouponTerms(
        id=row.pk,
        public_id=row.public_id,
        active=row.active,
        redeemed=row.redeemed,
        promotion_code=promotion,
        code=row.code,
        name=row.name,
        duration=row.duration,
        percent=row.percent,
        amounts=decimals(row.amounts),
        months=row.months,
        plans=tuple(row.plans),
        prices=tuple(row.prices),
        minimum_amounts=decimals(row.minimum_amounts),
        first_time_only=row.first_time_only,
        max_redemptions=row.max_redemptions,
        max_per_organization=row.max_per_organization,
        redeem_by=row.redeem_by,
        stackable=row.stackable,
        position=row.position,
    )


def promotion_terms(row: PromotionCode) -> PromotionTerms:
    """Return a row's terms; its coupon comes with it."""
    only = row.only_organization
    return PromotionTerms(
        id=row.pk,
        public_id=row.public_id,
        only_organization_id=row.only_organization_id,
        active=row.active,
        redeemed=row.redeemed,
        terms=coupon_terms(row.coupon, row.code),
        code=row.code,
        coupon=row.coupon.code,
        organization=only.slug if only else "",
        minimum_amounts=decimals(row.minimum_amounts),
        first_time_only=row.first_time_only,
        max_redemptions=row.max_redemptions,
        max_per_organization=row.max_per_organization,
        expires_at=row.expires_at,
    )


def _codes() -> QuerySet[PromotionCode]:
    return PromotionCode.objects.select_related("coupon", "only_organization")
