"""What is for sale, and what comes off or onto a bill: rows of the platform, not of a tenant."""

from __future__ import annotations

from apps.plans.models.coupons import Coupon, PromotionCode
from apps.plans.models.taxes import TaxRate
from apps.plans.models.versions import Entitlement, Feature, Plan, PlanVersion, Price

__all__ = [
    "Coupon",
    "Entitlement",
    "Feature",
    "Plan",
    "PlanVersion",
    "Price",
    "PromotionCode",
    "TaxRate",
]
