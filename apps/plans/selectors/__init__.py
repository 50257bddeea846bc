"""Questions about what is for sale, answered without a row in hand."""

from __future__ import annotations

from apps.plans.content import PriceAmounts, ThresholdTerms
from apps.plans.selectors.coupons import (
    CouponTerms,
    PromotionTerms,
    coupon,
    coupons,
    promotion_code,
    promotion_codes,
)
from apps.plans.selectors.taxes import TaxTerms, tax_rate, tax_rates, tax_rates_for
from apps.plans.selectors.versions import (
    Comparison,
    FeatureWords,
    PlanOffer,
    PriceTerms,
    VersionTerms,
    compare,
    content_of,
    current_version,
    features,
    find_plan,
    find_version,
    find_versions,
    list_plans,
    plan_versions,
    published_version,
    terms_of,
    version_terms,
)

__all__ = [
    "Comparison",
    "CouponTerms",
    "FeatureWords",
    "PlanOffer",
    "PriceAmounts",
    "PriceTerms",
    "PromotionTerms",
    "TaxTerms",
    "ThresholdTerms",
    "VersionTerms",
    "compare",
    "content_of",
    "coupon",
    "coupons",
    "current_version",
    "features",
    "find_plan",
    "find_version",
    "find_versions",
    "list_plans",
    "plan_versions",
    "promotion_code",
    "promotion_codes",
    "published_version",
    "tax_rate",
    "tax_rates",
    "tax_rates_for",
    "terms_of",
    "version_terms",
]
