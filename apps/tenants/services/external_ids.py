"""Everything that changes what product applications call organizations and people."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Conflict, Invalid, NotFound
from apps.tenants import selectors
from apps.tenants.models import Application, ExternalId, Membership

LONGEST_ID = 200


@transaction.atomic
def map_external_id(
    organization_id: int, *, application: str, external_id: str, actor: Actor, at: datetime
) -> ExternalId:
    """Let the application's id stand for the organization; safe to repeat."""
    require("manage_organization", actor=actor, organization_id=organization_id)
    row, created = ExternalId.objects.get_or_create(
        organization_id=organization_id,
        application=_application(application),
        kind=ExternalId.Kind.ORGANIZATION,
        external_id=external_id,
    )
    if created:
        _record(row, {"application": application, "external_id": external_id}, actor, at)
    return row


@transaction.atomic
def map_external_user(
    organization_id: int,
    *,
    application: str,
    external_id: str,
    user_id: int,
    actor: Actor,
    at: datetime,
) -> ExternalId:
    """Let the application's id (a token's `sub`) stand for a member, in this organization alone.

    Safe to repeat. Raises NotFound for who is no member, and Conflict for an id that stands for
    another one.
    """
    require("manage_roles", actor=actor, organization_id=organization_id)
    if not external_id or len(external_id) > LONGEST_ID or not external_id.isprintable():
        raise Invalid(f"An id has 1 to {LONGEST_ID} characters.", param="external_id")
    if not Membership.objects.filter(organization_id=organization_id, user_id=user_id).exists():
        raise NotFound("There is no such member.", param="user")
    row, created = ExternalId.objects.get_or_create(
        organization_id=organization_id,
        application=_application(application),
        kind=ExternalId.Kind.USER,
        external_id=external_id,
        defaults={"user_id": user_id},
    )
    if row.user_id != user_id:
        raise Conflict(f"'{external_id}' is somebody else's id already.", param="external_id")
    if created:
        told = {"application": application, "external_id": external_id, "user": user_id}
        _record(row, told, actor, at)
    return row


def _application(slug: str) -> Application:
    found = selectors.find_application(slug)
    if found is None:
        raise NotFound(f"There is no application '{slug}'.", param="application")
    return found


def _record(row: ExternalId, told: dict[str, object], actor: Actor, at: datetime) -> None:
    audit.record(
        action="external_id.mapped",
        target=row.public_id,
        actor=actor,
        at=at,
        organization_id=row.organization_id,
        after=told,
    )
