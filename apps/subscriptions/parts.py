"""What stands under a subscription: its items with their steps, phases, changes and discounts.

All of it comes with the subscription's own row, in one statement for many as for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from django.db.models import QuerySet

from apps.core import nested
from apps.subscriptions.facts import ChangeFacts
from apps.subscriptions.models import Subscription


class Step(msgspec.Struct, frozen=True):
    """A quantity from an instant on; `proration` is empty where it is the price's."""

    id: int
    effective_at: datetime
    quantity: Decimal
    proration: str


class Item(msgspec.Struct, frozen=True):
    """A price in force during [since, until); `version_id` is the plan version it belongs to."""

    id: int
    public_id: str
    price_id: int
    version_id: int
    terms: Any
    included: Decimal | None
    since: datetime
    until: datetime | None
    starts: str
    ends: str
    position: int
    steps: tuple[Step, ...]


class Phase(msgspec.Struct, frozen=True):
    """A plan version and a cycle during [since, until)."""

    id: int
    plan_version_id: int
    anchor: datetime
    interval_unit: str
    interval_count: int
    since: datetime
    until: datetime | None


class Discount(msgspec.Struct, frozen=True):
    """What may still come off: a redeemed coupon that is not spent."""

    id: int
    public_id: str
    subscription_id: int | None
    terms: dict[str, Any]
    promotion_code: str
    since: datetime
    until: datetime | None
    position: int
    spent_at: datetime | None
    removed_at: datetime | None


class Parts(msgspec.Struct, frozen=True):
    """Each kind in its order."""

    items: tuple[Item, ...]
    phases: tuple[Phase, ...]
    changes: tuple[ChangeFacts, ...]
    discounts: tuple[Discount, ...]

    @property
    def versions(self) -> set[int]:
        """The plan versions that the items' prices and the phases belong to."""
        of_items = {item.version_id for item in self.items}
        return of_items | {phase.plan_version_id for phase in self.phases}


# The organization is named each time: it leads the indexes, and the ops scope does not add it.
_MINE = """organization_id = subscriptions_subscription.organization_id
  AND subscription_id = subscriptions_subscription.id"""

_STEPS = nested.rows("""
  SELECT id, effective_at, quantity, proration FROM subscriptions_quantitystep
  WHERE organization_id = i.organization_id AND item_id = i.id
  ORDER BY effective_at, id""")

_ITEMS = nested.rows(f"""
  SELECT i.id, i.public_id, i.price_id, p.version_id, i.terms, i.included,
    lower(i.during) AS since, upper(i.during) AS until, i.starts, i.ends, i.position,
    {_STEPS} AS steps
  FROM subscriptions_subscriptionitem i JOIN plans_price p ON p.id = i.price_id
  WHERE i.{_MINE}
  ORDER BY i.position, i.id""")  # noqa: S608 -- constants only

_PHASES = nested.rows(f"""
  SELECT id, plan_version_id, anchor, interval_unit, interval_count,
    lower(during) AS since, upper(during) AS until
  FROM subscriptions_phase WHERE {_MINE} ORDER BY during""")  # noqa: S608 -- constants only

_CHANGES = nested.rows(f"""
  SELECT id, public_id, action, behaviour, arguments, effective_at, status, reason,
    requested_by, requested_at, quoted_amount
  FROM subscriptions_change
  WHERE {_MINE} AND status = 'scheduled' ORDER BY effective_at, id""")  # noqa: S608

_DISCOUNTS = nested.rows("""
  SELECT id, public_id, subscription_id, terms, promotion_code,
    lower(during) AS since, upper(during) AS until, position, spent_at, removed_at
  FROM subscriptions_discount
  WHERE organization_id = subscriptions_subscription.organization_id AND spent_at IS NULL
    AND (subscription_id IS NULL OR subscription_id = subscriptions_subscription.id)
  ORDER BY position, id""")

PARTS = nested.Nested(
    Parts,
    f"json_build_object('items', {_ITEMS}, 'phases', {_PHASES},"
    f" 'changes', {_CHANGES}, 'discounts', {_DISCOUNTS})",
)


def with_parts(rows: Iterable[Subscription]) -> list[tuple[Subscription, Parts]]:
    """Return subscriptions with their parts, in one statement; a query is run only here."""
    if isinstance(rows, QuerySet):
        found = rows.annotate(parts=PARTS.column)
        return [(row, PARTS.read(row.parts)) for row in found]
    held = list(rows)
    documents = _documents(held)
    return [(row, PARTS.read(documents[row.pk])) for row in held]


def _documents(rows: Iterable[Subscription]) -> Mapping[int, str]:
    found = Subscription.objects.filter(pk__among=[row.pk for row in rows])
    return dict(found.values_list("pk", PARTS.column))
