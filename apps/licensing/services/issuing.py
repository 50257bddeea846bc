"""Licences: signed when they are asked for, and reviewed when what they say has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.licensing import selectors
from apps.licensing.content import CLOCKS_DIFFER, Content, says_the_same, says_too_much
from apps.licensing.errors import InstanceBlocked, InstanceNeeded
from apps.licensing.events import LicenseIssued
from apps.licensing.models import Instance, License, SigningKey
from apps.licensing.selectors import LicenseFacts, Terms
from apps.licensing.services.keys import signed, signing_key
from apps.licensing.services.revoking import revoke
from apps.tenants import services as tenants
from apps.usage.devices import INSTANCE

SEEN_GRAIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Times:
    """When a licence was issued, ought to be renewed, and ends."""

    issued: datetime
    expires: datetime
    ends: datetime


@transaction.atomic
def issue_license(
    organization_id: int,
    *,
    application: str = "",
    instance: str = "",
    actor: Actor,
    at: datetime,
) -> LicenseFacts:
    """Sign a licence of what the organization has now, for one of its instances or for any.

    It takes the place of the last one, which stays good until it ends. Emits LicenseIssued.
    Raises NotLicensed, ApplicationNeeded, InstanceNeeded, InstanceBlocked and Invalid.
    """
    require("manage_licences", actor=actor, organization_id=organization_id)
    _check_name(instance)
    tenants.lock(organization_id)
    content = selectors.content(organization_id, at=at, application=application)
    return _issue(content, _instance(organization_id, instance, at), actor=actor, at=at)


@transaction.atomic
def current_license(
    organization_id: int,
    *,
    application: str = "",
    instance: str = "",
    actor: Actor,
    at: datetime,
) -> LicenseFacts:
    """Return the licence that holds: the last one as long as it says what is so now and the first
    half of its time lasts, else a fresh one that takes its place.

    So who asks often enough always has a good one; asking costs a signature only when something
    has changed. Raises as `issue_license` does.
    """
    require("view_licences", actor=actor, organization_id=organization_id)
    _check_name(instance)
    content = selectors.content(organization_id, at=at, application=application)
    found = _held(content, instance, at)
    if found is not None:
        return found
    tenants.lock(organization_id)
    content = selectors.content(organization_id, at=at, application=application)
    found = _held(content, instance, at)  # by whoever held the lock
    return found or _issue(content, _instance(organization_id, instance, at), actor=actor, at=at)


@transaction.atomic
def review_licenses(organization_id: int, *, actor: Actor, at: datetime) -> int:
    """Hold the organization's licences against what it has now; return how many fell.

    One that grants what is no longer granted is revoked, and so is on the list for installations
    that nobody connects; one that says less or otherwise is superseded with the next request.
    Safe to repeat.
    """
    fallen = 0
    tenants.lock(organization_id)
    for one in selectors.current_licenses(organization_id, at=at):
        now = selectors.content_for(organization_id, one.subscription_id, at=at)
        if now is None:
            revoke(one.id, because="nothing is granted any more", actor=actor, at=at)
        elif says_too_much(one.claims, now):
            revoke(one.id, because="less is granted now", actor=actor, at=at)
        else:
            continue
        fallen += 1
    return fallen


def _check_name(instance: str) -> None:
    if instance and not INSTANCE.fullmatch(instance):
        said = "An instance is named by 1 to 96 letters, digits and ._:@/+=- without blanks."
        raise Invalid(said, param="instance")


def _held(content: Content, instance: str, at: datetime) -> LicenseFacts | None:
    """Return the licence that may be handed out again, the instance noted as seen."""
    organization_id = content.organization.pk
    row = selectors.find_instance(organization_id, instance) if instance else None
    if instance and (row is None or row.blocked_at is not None):
        return None
    if not instance and selectors.terms_of(organization_id).bound:
        return None
    found = selectors.current(
        organization_id,
        subscription_id=content.facts.id,
        instance_id=None if row is None else row.pk,
    )
    if found is None or not _is_fresh(found, content, at):
        return None
    if row is not None:
        _note_seen(row, at)
    return found


def _is_fresh(found: LicenseFacts, content: Content, at: datetime) -> bool:
    """Whether it says what is so now, and half of its time is left or no other would last longer.

    A key that signs no more is no reason: what it signed is good, and pinned keys need their time.
    """
    if not (found.issued_at <= at < found.expires_at and says_the_same(found.claims, content)):
        return False
    lasts = _times(content, selectors.terms_of(found.organization_id), at)
    return at < found.renew_at or lasts.expires <= found.expires_at


def _instance(organization_id: int, name: str, at: datetime) -> Instance | None:
    """Return the instance that asks, noted as seen; None when the licence is for any."""
    if not name:
        if selectors.terms_of(organization_id).bound:
            said = "These licences are each for one instance; say which."
            raise InstanceNeeded(said, param="instance")
        return None
    row = selectors.find_instance(organization_id, name)
    if row is None:
        return Instance.objects.create(
            organization_id=organization_id, name=name, first_seen_at=at, last_seen_at=at
        )
    if row.blocked_at is not None:
        raise InstanceBlocked(f"The instance {name} was blocked.", param="instance")
    _note_seen(row, at)
    return row


def _note_seen(row: Instance, at: datetime) -> None:
    """Remember when an instance last asked, once an hour: asking is no reason to write."""
    if at - row.last_seen_at >= SEEN_GRAIN:
        Instance.objects.filter(pk=row.pk).update(last_seen_at=at)


def _issue(
    content: Content, instance: Instance | None, *, actor: Actor, at: datetime
) -> LicenseFacts:
    organization_id = content.organization.pk
    key, times = signing_key(at), _times(content, selectors.terms_of(organization_id), at)
    row = License(
        organization_id=organization_id,
        subscription_id=content.facts.id,
        instance=instance,
        key_id=key.kid,
        plan=content.facts.version.plan_code,
        issued_at=times.issued,
        expires_at=times.expires,
        ends_at=times.ends,
    )
    row.claims = _claims(row.public_id, content, instance, times)
    row.token = signed(row.claims, key)
    _supersede(row, at)
    row.save(force_insert=True)
    _tell(row, key, actor=actor, at=at)
    return selectors.get(row.public_id)


def _times(content: Content, terms: Terms, at: datetime) -> Times:
    """Return the times of a licence, in whole seconds as tokens have them.

    It ends where the agreement is known to end, without a grace: that is no accident. A trial that
    goes on is renewed when it does.
    """
    issued = at.replace(microsecond=0)
    expires = issued + terms.lifetime
    trial = content.facts.trial_end
    if trial is not None and trial > at:
        expires = min(expires, trial)
    ends = expires + terms.grace
    if content.until is not None:
        expires, ends = min(expires, content.until), min(ends, content.until)
    expires = max(expires, issued + timedelta(seconds=1))  # in the second before the end
    return Times(issued, expires, max(ends, expires))


def _claims(
    license_id: str, content: Content, instance: Instance | None, times: Times
) -> Mapping[str, Any]:
    """Return the claims: the registered ones (RFC 7519, 4.1), then the former system's.

    `expiresAt` is when it ought to be renewed, `exp` when its grace is over, so that any library
    honours the grace. An instance is the audience.
    """
    issued, expires, ends = (
        int(one.timestamp()) for one in (times.issued, times.expires, times.ends)
    )
    return {
        "iss": settings.API_BASE_URL,
        "sub": content.organization.public_id,
        **({} if instance is None else {"aud": instance.name}),
        "jti": license_id,
        "iat": issued,
        "nbf": issued - int(CLOCKS_DIFFER.total_seconds()),
        "exp": ends,
        **content.said(),
        "issuedAt": issued,
        "expiresAt": expires,
    }


def _supersede(row: License, at: datetime) -> None:
    License.objects.filter(
        organization_id=row.organization_id,
        subscription_id=row.subscription_id,
        instance=row.instance,
        superseded_at=None,
        revoked_at=None,
    ).update(superseded_at=at)


def _tell(row: License, key: SigningKey, *, actor: Actor, at: datetime) -> None:
    audit.record(
        action="license.issued",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after={
            "plan": row.plan,
            "instance": row.claims.get("aud", ""),
            "expires_at": row.expires_at.isoformat(),
            "kid": key.kid,
        },
    )
    fact = LicenseIssued(row.public_id, row.organization_id)
    outbox.emit(fact, at=at, organization_id=row.organization_id)
