"""Everything that changes what is for sale."""

from __future__ import annotations

from apps.plans.services.coupons import (
    define_coupon,
    define_promotion_code,
    redeem,
    retire_coupon,
    retire_promotion_code,
)
from apps.plans.services.loading import load_catalog
from apps.plans.services.taxes import retire_tax_rate, set_tax_rate
from apps.plans.services.versions import retire_plan

__all__ = [
    "define_coupon",
    "define_promotion_code",
    "load_catalog",
    "redeem",
    "retire_coupon",
    "retire_plan",
    "retire_promotion_code",
    "retire_tax_rate",
    "set_tax_rate",
]
