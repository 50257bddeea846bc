"""The facts this room tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SubscriptionStarted:
    """An organization subscribed to a plan."""

    subscription_id: str
    organization_id: int
    plan: str


@dataclass(frozen=True, slots=True)
class SubscriptionStatusChanged:
    """A subscription went from one state to another."""

    subscription_id: str
    organization_id: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class QuantityChanged:
    """The quantity bought of an item changed; `quantity` is the new total."""

    subscription_id: str
    organization_id: int
    item: str
    quantity: str


@dataclass(frozen=True, slots=True)
class ChangeCalledOff:
    """A scheduled change will not be carried out; `effective_at` (ISO 8601) is when it was to be.

    It was called off by somebody, or had become impossible when its time came.
    """

    subscription_id: str
    organization_id: int
    change_id: str
    effective_at: str


@dataclass(frozen=True, slots=True)
class SubscriptionChanged:
    """What was agreed changed: the action, and from which instant on (ISO 8601)."""

    subscription_id: str
    organization_id: int
    action: str
    effective_at: str
