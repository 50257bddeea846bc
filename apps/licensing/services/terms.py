"""How long one organization's licences last, where it was agreed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.licensing.models import LONGEST_GRACE, LONGEST_LIFETIME, LicenseTerms
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants


@transaction.atomic
def set_license_terms(
    organization_id: int,
    *,
    lifetime_days: int,
    grace_days: int,
    bound: bool,
    actor: Actor,
    at: datetime,
) -> LicenseTerms:
    """Agree how the organization's licences are, from the next one on; staff decide.

    A licence of a year cannot be taken back from who never connects: that is the price of it.
    Safe to repeat. Raises Invalid.
    """
    require("manage_licence_terms", actor=actor)
    if not 1 <= lifetime_days <= LONGEST_LIFETIME:
        raise Invalid(f"A licence lasts 1 to {LONGEST_LIFETIME} days.", param="lifetime_days")
    if not 0 <= grace_days <= LONGEST_GRACE:
        raise Invalid(f"The grace is of 0 to {LONGEST_GRACE} days.", param="grace_days")
    tenants.lock(organization_id)
    said = {"lifetime_days": lifetime_days, "grace_days": grace_days, "bound": bound}
    row = LicenseTerms.objects.filter(organization_id=organization_id).first()
    if row is not None and all(getattr(row, name) == value for name, value in said.items()):
        return row
    row, _ = LicenseTerms.objects.update_or_create(
        organization_id=organization_id,
        defaults={**said, "set_at": at, "set_by": actor.label[:200]},
    )
    _record(organization_id, "license.terms_set", said, actor=actor, at=at)
    return row


@transaction.atomic
def clear_license_terms(organization_id: int, *, actor: Actor, at: datetime) -> None:
    """Let the organization's licences be as usual again, from the next one on. Safe to repeat."""
    require("manage_licence_terms", actor=actor)
    tenants.lock(organization_id)
    deleted, _ = LicenseTerms.objects.filter(organization_id=organization_id).delete()
    if deleted:
        _record(organization_id, "license.terms_cleared", {}, actor=actor, at=at)


def _record(
    organization_id: int, action: str, after: Mapping[str, object], *, actor: Actor, at: datetime
) -> None:
    target = tenant_selectors.organization(organization_id).public_id
    audit.record(
        action=action,
        target=target,
        actor=actor,
        at=at,
        organization_id=organization_id,
        after=after,
    )
