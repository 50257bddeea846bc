"""The refusals of this room, and where in a file they arise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from apps.core.errors import Conflict, Invalid, NotFound

MOST_TOLD = 50


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in a text; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a catalogue file, and what to do about it."""

    place: Place
    message: str


class CatalogInvalid(Invalid):
    """The catalogue file cannot be loaded; nothing of it was.

    `problems` holds all that was found, in the file's order; the message has a line for each of the
    first 50, as `source:line:column: what`.
    """

    code = "catalog_invalid"

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        lines = [
            f"{source}:{problem.place.line}:{problem.place.column}: {problem.message}"
            for problem in self.problems[:MOST_TOLD]
        ]
        if len(self.problems) > MOST_TOLD:
            lines.append(f"{source}: and {len(self.problems) - MOST_TOLD} more")
        super().__init__("\n".join(lines), param="file", problems=lines)


class UnknownCatalog(NotFound):
    """There is no such file, and no catalogue of that name ships."""

    code = "unknown_catalog"


class UnknownPlan(NotFound):
    """No plan has this code or id, or it has no published version."""

    code = "unknown_plan"


class UnknownVersion(NotFound):
    """No plan version has this id."""

    code = "unknown_plan_version"


class CurrencyNotSold(Conflict):
    """The plan version has no prices in this currency."""

    code = "currency_not_sold"


class UnknownCoupon(NotFound):
    """No coupon has this code."""

    code = "unknown_coupon"


class UnknownPromotionCode(NotFound):
    """No promotion code reads like this, or it is somebody else's."""

    code = "unknown_promotion_code"


class NotRedeemable(Conflict):
    """The coupon or promotion code is used up, withdrawn, over or not meant for this."""

    code = "not_redeemable"


class CouponStays(Conflict):
    """What a coupon or promotion code takes off never changes."""

    code = "coupon_stays"


class UnknownTaxRate(NotFound):
    """No tax rate has this code or id."""

    code = "unknown_tax_rate"


class TaxRateStays(Conflict):
    """What a tax rate takes never changes; from a later day on another may follow it."""

    code = "tax_rate_stays"
