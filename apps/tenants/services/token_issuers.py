"""Everything that changes whose tokens count."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from apps.audit import services as audit
from apps.core.actor import Actor, require
from apps.core.errors import Invalid, NotFound
from apps.tenants import jwks, roles, selectors
from apps.tenants.jwts import LONGEST_CLAIM
from apps.tenants.models import Application, TokenIssuer

MOST_ROLES = 50


@dataclass(frozen=True, slots=True)
class IssuerTerms:
    """Which of an issuer's tokens are meant for us, and how they are checked.

    `application` is a slug, or empty for an issuer that speaks for all of them. Keys come from
    `jwks_url` or, without any network, from `public_key` (PEM). `audiences` and
    `authorized_parties` are what `aud` and `azp` must be one of; there is at least one of them,
    or any token of the issuer would come in, whoever it was made for.
    """

    kind: str = TokenIssuer.Kind.OIDC.value
    application: str = ""
    audiences: tuple[str, ...] = ()
    authorized_parties: tuple[str, ...] = ()
    jwks_url: str = ""
    public_key: str = ""
    role_map: dict[str, str] = field(default_factory=dict)
    matches_email: bool = False


@transaction.atomic
def define_token_issuer(
    issuer: str, *, terms: IssuerTerms, actor: Actor, at: datetime
) -> TokenIssuer:
    """Trust an issuer (its `iss`, exactly) on these terms from now on; safe to repeat.

    One that was disabled counts again. Needs the ops scope. Raises Invalid and NotFound.
    """
    require("manage_platform", actor=actor)
    _check(issuer, terms)
    row = TokenIssuer.objects.select_for_update().filter(issuer=issuer).first()
    action = "token_issuer.defined" if row is None else "token_issuer.changed"
    row = row or TokenIssuer(issuer=issuer)
    wanted = {**asdict(terms), "application": _application(terms.application), "disabled_at": None}
    wanted |= {name: [*wanted[name]] for name in ("audiences", "authorized_parties")}
    if row.pk is not None and all(getattr(row, name) == value for name, value in wanted.items()):
        return row
    for name, value in wanted.items():
        setattr(row, name, value)
    row.save()
    told = {**asdict(terms), "issuer": issuer, "public_key": bool(terms.public_key)}
    audit.record(action=action, target=row.public_id, actor=actor, at=at, after=told)
    return row


@transaction.atomic
def disable_token_issuer(reference: str, *, actor: Actor, at: datetime) -> TokenIssuer:
    """Take no token of an issuer (public id or `iss`) from now on; safe to repeat. Ops scope."""
    require("manage_platform", actor=actor)
    meant = Q(public_id=reference) | Q(issuer=reference)
    row = TokenIssuer.objects.select_for_update().filter(meant).first()
    if row is None:
        raise NotFound("There is no such token issuer.")
    if row.disabled_at is None:
        row.disabled_at = at
        row.save(update_fields=["disabled_at"])
        audit.record(action="token_issuer.disabled", target=row.public_id, actor=actor, at=at)
    return row


def _application(slug: str) -> Application | None:
    if not slug:
        return None
    found = selectors.find_application(slug)
    if found is None:
        raise NotFound(f"There is no application '{slug}'.", param="application")
    return found


def _check(issuer: str, terms: IssuerTerms) -> None:
    if not issuer or len(issuer) > LONGEST_CLAIM or not issuer.isprintable():
        raise Invalid("Name the issuer exactly as its tokens do (`iss`).", param="issuer")
    if terms.kind not in TokenIssuer.Kind.values:
        raise Invalid(f"kind is one of {', '.join(TokenIssuer.Kind.values)}.", param="kind")
    if not (terms.audiences or terms.authorized_parties):
        raise Invalid(
            "Name an audience or an authorized party: else any token of the issuer would come in.",
            param="audiences",
        )
    _check_keys(terms)
    _check_roles(terms.role_map)


def _check_keys(terms: IssuerTerms) -> None:
    if terms.public_key:
        try:
            jwks.key_of_pem(terms.public_key)
        except jwks.UnfitKey as error:
            raise Invalid(str(error), param="public_key") from None
    elif not jwks.is_fit_address(terms.jwks_url, encrypted=settings.PRODUCTION):
        raise Invalid(
            "Give the https:// address of its key set, or its public key.", param="jwks_url"
        )


def _check_roles(role_map: dict[str, Any]) -> None:
    if len(role_map) > MOST_ROLES or not set(role_map.values()) <= {*roles.ROLES}:
        raise Invalid(
            f"Map each of its roles to one of {', '.join(roles.ROLES)}.", param="role_map"
        )
