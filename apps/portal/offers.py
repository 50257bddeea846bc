"""What is on offer to an organization, in the currency that it pays in."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from apps.plans import selectors as plans
from apps.plans.selectors import PlanOffer
from apps.subscriptions.selectors import SubscriptionFacts

if TYPE_CHECKING:
    from apps.tenants.models import Organization


def offers_to(organization: Organization) -> list[PlanOffer]:
    """Return public plans and add-ons for its industry, with prices in its currency if they are."""
    found = plans.list_plans(industry=organization.industry)
    return [priced(offer, organization.currency) for offer in found]


def priced(offer: PlanOffer, currency: str) -> PlanOffer:
    """Return an offer with its prices in a currency; as it is where it is not sold in that."""
    if currency not in offer.version.currencies:
        return offer
    return replace(offer, version=offer.version.in_currency(currency))


def taken_in(facts: SubscriptionFacts, at: datetime) -> set[str]:
    """Return the codes of the plan and the add-ons that the subscription has at that moment."""
    held = facts.items_at(max(at, facts.started_at))
    return {facts.version.plan_code, *(item.version.plan_code for item in held)}
