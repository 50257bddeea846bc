"""Everything that changes which programs may come in."""

from __future__ import annotations

import secrets
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Invalid, NotFound
from apps.core.ids import ALPHABET
from apps.tenants import roles, selectors
from apps.tenants.models import ApiKey

LAST_USED_GRAIN = timedelta(minutes=1)


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
    checksum of 6, so that a scanner can tell a leaked key from noise.
    """
    capability = "manage_api_keys" if organization_id is not None else "manage_platform"
    require(capability, actor=actor, organization_id=organization_id)
    unknown = sorted(set(scopes) - set(roles.SCOPES))
    if unknown or not scopes:
        raise Invalid(
            f"Scopes are one or more of {', '.join(roles.SCOPES)}"
            + (f"; '{unknown[0]}' is none." if unknown else "."),
            param="scopes",
        )
    if expires_at is not None and expires_at <= at:
        raise Invalid("A key must expire in the future.", param="expires_at")
    secret = _new_secret()
    row = ApiKey.objects.create(
        organization_id=organization_id,
        name=name.strip()[:100] or "API key",
        prefix=secret[:14],
        hash=selectors.hash_key(secret),
        scopes=sorted(set(scopes)),
        expires_at=expires_at,
    )
    audit.record(
        action="api_key.created",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=organization_id,
        after=row.facts(),
    )
    return NewKey(row, secret)


def _new_secret() -> str:
    mode = "live" if settings.PRODUCTION else "test"
    body = "".join(secrets.choice(ALPHABET) for _ in range(38))
    check = zlib.crc32(body.encode())
    tail = "".join(ALPHABET[(check >> shift) & 31] for shift in range(25, -1, -5))
    return f"bk_{mode}_{body}{tail}"


@transaction.atomic
def revoke_api_key(key_id: str, *, actor: Actor, at: datetime) -> ApiKey:
    """Make a key stop working at once; safe to repeat."""
    row = ApiKey.objects.select_for_update().filter(public_id=key_id).first()
    if row is None:
        raise NotFound("There is no such API key.")
    capability = "manage_api_keys" if row.organization_id is not None else "manage_platform"
    require(capability, actor=actor, organization_id=row.organization_id)
    if row.revoked_at is None:
        row.revoked_at = at
        row.save(update_fields=["revoked_at"])
        audit.record(
            action="api_key.revoked",
            target=row.public_id,
            actor=actor,
            at=at,
            organization_id=row.organization_id,
            before=row.facts(),
        )
    return row


def note_key_use(holder: selectors.KeyHolder, *, at: datetime) -> None:
    """Remember when a key was last used, at most once a minute."""
    if holder.last_used_at is None or at - holder.last_used_at >= LAST_USED_GRAIN:
        ApiKey.objects.filter(pk=holder.key_id).update(last_used_at=at)
