"""Everything that changes which programs may come in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Conflict, Forbidden, Invalid, NotFound
from apps.core.ids import random_text
from apps.tenants import roles, selectors
from apps.tenants.models import ApiKey

LAST_USED_GRAIN = timedelta(minutes=1)
OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made. `secret` is shown this once and cannot be read again."""

    row: ApiKey
    secret: str


@transaction.atomic
def create_api_key(
    organization_id: int | None,
    *,
    name: str,
    scopes: list[str],
    actor: Actor,
    at: datetime,
    expires_at: datetime | None = None,
) -> NewKey:
    """Make a key for an organization, or (None) for the platform, which needs the ops scope.

    The key is `bk_live_` or, outside production, `bk_test_`, then 38 random characters and a
    checksum of 6, so that a scanner can tell a leaked key from noise. Raises Invalid, and Forbidden
    where a key would make one that may do more than itself.
    """
    _may_manage(organization_id, actor)
    unknown = sorted(set(scopes) - set(roles.SCOPES))
    if unknown or not scopes:
        raise Invalid(
            f"Scopes are one or more of {', '.join(roles.SCOPES)}"
            + (f"; '{unknown[0]}' is none." if unknown else "."),
            param="scopes",
        )
    if expires_at is not None and expires_at <= at:
        raise Invalid("A key must expire in the future.", param="expires_at")
    _refuse_more(scopes, organization_id, actor)
    made = _new_key(
        organization_id=organization_id,
        name=name.strip()[:100] or "API key",
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    _record(made.row, "api_key.created", actor, at, after=made.row.facts())
    return made


@transaction.atomic
def rotate_api_key(
    key_id: str, *, actor: Actor, at: datetime, overlap: timedelta = OVERLAP
) -> NewKey:
    """Make a key that may do the same, and let the old one expire after the overlap (0 to 7 days).

    One that expires is replaced by one that lives as long. Needs the scope that shows the key.
    Raises Invalid, NotFound, and Conflict for a key that does not work any more.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise Invalid("The old key goes on for 0 to 168 hours.", param="overlap")
    row = _lock_key(key_id, actor)
    if not row.is_good(at):
        raise Conflict("This key works no longer; make a new one.")
    _refuse_more(row.scopes, row.organization_id, actor)
    lasts = row.expires_at and row.expires_at - row.created_at
    made = _new_key(
        organization_id=row.organization_id,
        name=row.name,
        scopes=row.scopes,
        expires_at=at + lasts if lasts else None,
        rotated_from=row,
    )
    row.expires_at = min(row.expires_at or at + overlap, at + overlap)
    row.save(update_fields=["expires_at"])
    told = {**made.row.facts(), "key": made.row.public_id, "old_until": row.expires_at.isoformat()}
    _record(row, "api_key.rotated", actor, at, after=told)
    return made


def _may_manage(organization_id: int | None, actor: Actor) -> None:
    capability = "manage_api_keys" if organization_id is not None else "manage_platform"
    require(capability, actor=actor, organization_id=organization_id)


def _refuse_more(scopes: list[str], organization_id: int | None, actor: Actor) -> None:
    """Refuse a key that makes one that may do what it may not itself."""
    wanted = roles.capabilities_of_scopes(scopes, platform=organization_id is None)
    if actor.kind == "api_key" and not wanted <= actor.capabilities:
        raise Forbidden("A key makes keys with scopes that it has itself, and with no others.")


def _new_key(**facts: Any) -> NewKey:
    secret = _new_secret()
    row = ApiKey.objects.create(prefix=secret[:14], hash=selectors.hash_key(secret), **facts)
    return NewKey(row, secret)


def _lock_key(key_id: str, actor: Actor) -> ApiKey:
    row = ApiKey.objects.select_for_update().filter(public_id=key_id).first()
    if row is None:
        raise NotFound("There is no such API key.")
    _may_manage(row.organization_id, actor)
    return row


def _record(row: ApiKey, action: str, actor: Actor, at: datetime, **facts: Any) -> None:
    audit.record(
        action=action,
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        **facts,
    )


def _new_secret() -> str:
    mode = "live" if settings.PRODUCTION else "test"
    body = random_text(38)
    return f"bk_{mode}_{body}{selectors.checksum(body)}"


@transaction.atomic
def revoke_api_key(key_id: str, *, actor: Actor, at: datetime) -> ApiKey:
    """Make a key stop working at once; safe to repeat."""
    row = _lock_key(key_id, actor)
    if row.revoked_at is None:
        row.revoked_at = at
        row.save(update_fields=["revoked_at"])
        _record(row, "api_key.revoked", actor, at, before=row.facts())
    return row


def note_key_use(holder: selectors.KeyHolder, *, at: datetime) -> None:
    """Remember when a key was last used, at most once a minute."""
    if holder.last_used_at is None or at - holder.last_used_at >= LAST_USED_GRAIN:
        ApiKey.objects.filter(pk=holder.key_id).update(last_used_at=at)
