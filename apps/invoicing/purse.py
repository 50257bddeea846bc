"""Credit and coupons as documents that are only foreseen leave them. Stores nothing.

Each document is reckoned by itself; of several that follow one another only the first may use up a
grant or a coupon that comes off once. A purse goes from one to the next.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from apps.invoicing.models import CreditGrant
from apps.invoicing.reckoning import Conditions, Reckoned, is_usable

if TYPE_CHECKING:
    from apps.tenants.models import Organization

LATEST = datetime.max.replace(tzinfo=UTC)


class Purse:
    """What an organization has left to pay with after the documents foreseen so far."""

    def __init__(self, organization: Organization) -> None:
        self.organization = organization
        self._left: dict[str, CreditGrant] = {}
        self._kept: list[CreditGrant] = []
        self._spent: set[str] = set()

    def conditions(self, conditions: Conditions, moment: datetime) -> Conditions:
        """Return the conditions of a document of that moment, with the credit and coupons left."""
        grants = [self._left.get(grant.public_id, grant) for grant in conditions.grants]
        grants += [grant for grant in self._kept if grant.currency == conditions.currency]
        usable = sorted((grant for grant in grants if is_usable(grant, moment)), key=_turn)
        discounts = tuple(one for one in conditions.discounts if one.public_id not in self._spent)
        return replace(conditions, grants=tuple(usable), discounts=discounts)

    def use(self, reckoned: Reckoned, moment: datetime) -> None:
        """Note what a document of that moment uses up, and what it keeps as credit."""
        grants = {grant.public_id: grant for grant in reckoned.conditions.grants}
        for spent in reckoned.settlement.grants:
            self._spend(grants[spent.grant.id], spent.amount.minor)
        if reckoned.credits < 0:
            self._kept.append(self._grant(reckoned, moment))
        taken = {turn.discount.id for turn in reckoned.settlement.discounts if turn.amount}
        once = {
            one.public_id for one in reckoned.conditions.discounts if one.coupon.duration == "once"
        }
        self._spent |= taken & once

    def _spend(self, grant: CreditGrant, minor: int) -> None:
        after = copy.copy(grant)
        after.remaining -= minor
        self._left[grant.public_id] = after
        self._kept = [after if one.public_id == after.public_id else one for one in self._kept]

    def _grant(self, reckoned: Reckoned, moment: datetime) -> CreditGrant:
        """Return the grant that a negative sum would be kept as."""
        return CreditGrant(
            public_id=f"foreseen_{len(self._kept)}",
            organization=self.organization,
            kind=CreditGrant.Kind.REFUND,
            name="Credit from an earlier invoice",
            currency=reckoned.currency,
            amount=-reckoned.credits,
            remaining=-reckoned.credits,
            priority=0,
            granted_at=moment,
        )


def _turn(grant: CreditGrant) -> tuple[int, datetime, datetime]:
    return grant.priority, grant.expires_at or LATEST, grant.granted_at
