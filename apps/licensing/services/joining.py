"""A customer comes: organization, agreement and licence, all or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db import transaction

from apps.core.actor import Actor, require
from apps.licensing.selectors import LicenseFacts
from apps.licensing.services.issuing import issue_license
from apps.subscriptions import services as subscriptions
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants import services as tenants

if TYPE_CHECKING:
    from apps.tenants.models import Organization

TRIAL = "trial"


@dataclass(frozen=True, slots=True)
class NewCustomer:
    """Who comes. Without a slug one is made of the name."""

    name: str
    email: str = ""
    slug: str = ""
    currency: str = "USD"
    timezone: str = "UTC"
    country: str = "US"
    industry: str = ""


@dataclass(frozen=True, slots=True)
class SignedUp:
    """What came of it."""

    organization: Organization
    subscription: SubscriptionFacts
    license: LicenseFacts


@transaction.atomic
def sign_up(
    customer: NewCustomer, *, plan: str = TRIAL, instance: str = "", actor: Actor, at: datetime
) -> SignedUp:
    """Create the organization, subscribe it to the plan, with its trial, and sign its licence.

    All or nothing; needs the ops scope. Not idempotent by itself: its door takes an
    Idempotency-Key. Raises what creating, subscribing and signing raise.
    """
    require("manage_licences", actor=actor)
    organization = tenants.create_organization(
        customer.slug or tenants.free_slug(customer.name, otherwise="customer"),
        name=customer.name,
        email=customer.email,
        currency=customer.currency,
        timezone=customer.timezone,
        country=customer.country,
        industry=customer.industry,
        actor=actor,
        at=at,
    )
    begun = subscriptions.subscribe(organization.pk, plan=plan, start=at, actor=actor, at=at)
    signed = issue_license(organization.pk, instance=instance, actor=actor, at=at)
    organization.refresh_from_db()
    return SignedUp(organization, begun, signed)
