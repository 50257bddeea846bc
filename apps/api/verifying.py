"""`verify-seat`: may this person use this application now? In our spelling, and as it was before.

Both are served by the lean path. What is unknown is an answer and no error; only a body that cannot
be read is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec
from django.http import HttpRequest

from apps.api.admission import Admission
from apps.api.authentication import Caller
from apps.api.errors import Fault, InvalidRequest, MalformedBody, escape
from apps.api.intake import Answer
from apps.api.reading import JSON, raw_body, read_json
from apps.core import clock, rls
from apps.entitlements import selectors as entitlements
from apps.seats.verifying import SENTENCES, Access, verify

T = TypeVar("T")


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """About whom, in our spelling."""

    user_id: str
    application_slug: str
    external_org_id: str
    include: list[Literal["entitlements"]] = []


class FormerlyAsked(msgspec.Struct):
    """About whom, as products of before spell it; what else they send is passed over."""

    userId: str  # noqa: N815 - their spelling
    applicationSlug: str  # noqa: N815 - their spelling
    externalOrgId: str  # noqa: N815 - their spelling


def verify_seat(request: HttpRequest, admission: Admission) -> Answer:
    """Answer with a reason, and on request with what the plan grants."""
    caller = admission.caller()
    asked = _read(request, Asked)
    found = _verified(caller, asked.user_id, asked.application_slug, asked.external_org_id)
    body: dict[str, Any] = {
        "object": "seat_access",
        "has_access": found.has_access,
        "seat_id": found.seat_id,
        "subscription_status": found.subscription_status,
        "expires_at": _written(found.expires_at),
        "reason": found.reason.value,
        "detail": SENTENCES[found.reason],
    }
    if "entitlements" in asked.include:
        body["entitlements"] = _granted(found, asked.application_slug)
    return Answer(200, body)


def verify_seat_formerly(request: HttpRequest, admission: Admission) -> Answer:
    """Answer the four fields of before and nothing else; the status in capitals."""
    caller = admission.caller()
    asked = _read(request, FormerlyAsked)
    found = _verified(caller, asked.userId, asked.applicationSlug, asked.externalOrgId)
    status = found.subscription_status
    return Answer(
        200,
        {
            "hasAccess": found.has_access,
            "seatId": found.seat_id,
            "subscriptionStatus": None if status is None else status.upper(),
            "expiresAt": _written(found.expires_at),
        },
    )


def _verified(caller: Caller, user: str, application: str, organization: str) -> Access:
    return verify(
        user,
        application=application,
        organization=organization,
        caller=caller.actor.organization_id,
        at=clock.now(),
    )


def _granted(found: Access, application: str) -> dict[str, Any]:
    """Return what is granted of each feature of the application; nothing without access."""
    if not found.has_access or found.organization_id is None or found.at is None:
        return {}
    with rls.tenant_scope(found.organization_id):
        held = entitlements.holdings(found.organization_id, at=found.at)
        mine = [one for one in held.granting if one.version.application_slug == application]
        return {one.feature.key: one.value for facts in mine for one in held.granted_by(facts)}


def _read(request: HttpRequest, form: type[T]) -> T:
    raw, _ = raw_body(request, media_types=(JSON,))
    try:
        return msgspec.json.decode(raw or b"{}", type=form)
    except msgspec.ValidationError as error:
        said = f"{error}."
        faults = [*_misnamed(read_json(raw), form)] or [Fault("invalid", said, pointer="")]
        raise InvalidRequest(said, faults) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"This is not JSON: {error}.") from None


def _misnamed(given: object, form: type[Any]) -> Iterable[Fault]:
    """Name the fields that are unknown or missing, each at its place."""
    if not isinstance(given, dict):
        return
    fields = {field.name: field for field in msgspec.structs.fields(form)}
    if form.__struct_config__.forbid_unknown_fields:
        for name in given.keys() - fields.keys():
            yield Fault("unknown_field", "This is not known here.", pointer=f"/{escape(name)}")
    for name in fields.keys() - given.keys():
        if fields[name].required:
            yield Fault("required", "This field is required.", pointer=f"/{name}")


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
