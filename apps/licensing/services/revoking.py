"""Taking licences back, and keeping an installation from getting any."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.licensing import selectors
from apps.licensing.events import LicenseRevoked
from apps.licensing.models import Instance, License
from apps.licensing.selectors import LicenseFacts
from apps.tenants import services as tenants

LONGEST_REASON = 200


@transaction.atomic
def revoke_license(
    license_id: str, *, because: str = "", actor: Actor, at: datetime
) -> LicenseFacts:
    """Let a licence count no more: at once where it is verified here, for others by the list.

    The next request gets a fresh one: what is agreed has not changed. Safe to repeat. Emits
    LicenseRevoked. Raises UnknownLicense and Invalid.
    """
    found = selectors.get(license_id)
    require("manage_licences", actor=actor, organization_id=found.organization_id)
    if len(because) > LONGEST_REASON:
        raise Invalid(f"A reason has {LONGEST_REASON} characters at most.", param="reason")
    tenants.lock(found.organization_id)
    revoke(found.id, because=because or "by hand", actor=actor, at=at)
    return selectors.get(license_id)


@transaction.atomic
def revoke_all_licenses(organization_id: int, *, actor: Actor, at: datetime) -> int:
    """Revoke every licence of the organization that is good; return how many. Safe to repeat.

    Emits LicenseRevoked for each.
    """
    require("manage_licences", actor=actor, organization_id=organization_id)
    tenants.lock(organization_id)
    rows = License.objects.filter(organization_id=organization_id)
    return revoke_good(rows, because="all of them by hand", actor=actor, at=at)


@transaction.atomic
def block_instance(instance_id: str, *, actor: Actor, at: datetime) -> Instance:
    """Revoke every licence of an instance, and give it none any more. Safe to repeat.

    Emits LicenseRevoked for each. Raises UnknownInstance.
    """
    row = selectors.get_instance(instance_id)
    require("manage_licences", actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    row.refresh_from_db()
    if row.blocked_at is None:
        _set_blocked(row, at, actor=actor, at=at)
    rows = License.objects.filter(instance=row)
    revoke_good(rows, because="its instance was blocked", actor=actor, at=at)
    return row


@transaction.atomic
def unblock_instance(instance_id: str, *, actor: Actor, at: datetime) -> Instance:
    """Let an instance have licences again; those that were revoked stay so. Safe to repeat.

    Raises UnknownInstance.
    """
    row = selectors.get_instance(instance_id)
    require("manage_licences", actor=actor, organization_id=row.organization_id)
    tenants.lock(row.organization_id)
    row.refresh_from_db()
    if row.blocked_at is not None:
        _set_blocked(row, None, actor=actor, at=at)
    return row


def revoke(license_id: int, *, because: str, actor: Actor, at: datetime) -> None:
    """Revoke a licence (its integer id) once; whoever calls has asked, and holds the lock."""
    row = License.objects.get(pk=license_id)
    if row.revoked_at is not None:
        return
    row.revoked_at, row.revoked_because, row.revoked_by = at, because, actor.label[:200]
    row.save(update_fields=["revoked_at", "revoked_because", "revoked_by"])
    audit.record(
        action="license.revoked",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after={"because": because},
    )
    fact = LicenseRevoked(row.public_id, row.organization_id, because)
    outbox.emit(fact, at=at, organization_id=row.organization_id)


def revoke_good(rows: QuerySet[License], *, because: str, actor: Actor, at: datetime) -> int:
    """Revoke those of the licences that are good, as `revoke` does each; return how many."""
    good = rows.filter(revoked_at=None, ends_at__gt=at).order_by("id")
    found = list(good.values_list("pk", flat=True))
    for license_id in found:
        revoke(license_id, because=because, actor=actor, at=at)
    return len(found)


def _set_blocked(row: Instance, blocked_at: datetime | None, *, actor: Actor, at: datetime) -> None:
    row.blocked_at = blocked_at
    row.save(update_fields=["blocked_at"])
    audit.record(
        action="instance.unblocked" if blocked_at is None else "instance.blocked",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after={"instance": row.name},
    )
