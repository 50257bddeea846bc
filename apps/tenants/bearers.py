"""Who calls with a token: from what it says to a member at work, asked of the rows every time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from apps.core import ids
from apps.core.actor import Actor
from apps.tenants import jwts, own_tokens, roles
from apps.tenants.errors import InvalidToken, NotAMember, OrganizationNeeded, SessionOver
from apps.tenants.models import ApiSession, ExternalId, Membership, Organization, TokenIssuer
from apps.tenants.trust import Claims, Trust, believe

EXTERNAL = "ext:"


@dataclass(frozen=True, slots=True)
class Bearer:
    """A person at work in one organization, by a token that ends at `expires_at`."""

    actor: Actor
    user_id: int
    expires_at: datetime


def claims_of(text: str, *, at: datetime) -> Claims:
    """Return what a token of a trusted issuer says; raises InvalidToken and KeysUnavailable.

    May ask the issuer for its keys: never call it inside a transaction. Needs no scope.
    """
    token = jwts.read(text)
    issuer = jwts.text_of(token.claims, "iss")
    if issuer == own_tokens.issuer():
        return own_tokens.believe(token, at=at)
    trust = _trust(issuer) if issuer else None
    if trust is None:
        raise InvalidToken("The token's issuer is not trusted here.")
    return believe(token, trust, at=at)


def _trust(issuer: str) -> Trust | None:
    """Return the trusted issuer: the settings' own, or one that staff entered."""
    for configured in settings.TOKEN_ISSUERS:
        if configured["issuer"] == issuer:
            return Trust(**configured)
    row = TokenIssuer.objects.filter(issuer=issuer, disabled_at=None).first()
    return None if row is None else trust_of(row)


def trust_of(row: TokenIssuer) -> Trust:
    """Return what a row says of an issuer."""
    return Trust(
        issuer=row.issuer,
        kind=row.kind,
        audiences=frozenset(row.audiences),
        parties=frozenset(row.authorized_parties),
        jwks_url=row.jwks_url,
        public_key=row.public_key,
        role_map=row.role_map,
        application_id=row.application_id,
        matches_email=row.matches_email,
    )


def bearer(claims: Claims, *, organization: str = "") -> Bearer:
    """Return the member that a token names, in its organization or in the one asked for.

    The role is the one in the rows now, and less where the token says less. Needs the ops scope.
    Raises NotAMember, the same for an organization that does not exist, and OrganizationNeeded.
    """
    found = _membership(claims, organization)
    held = roles.capabilities_of(found.role)
    if claims.role:
        held &= roles.capabilities_of(claims.role)
    actor = Actor("user", found.user.public_id, found.role, found.organization_id, held)
    return Bearer(actor, found.user_id, claims.expires_at)


def _membership(claims: Claims, asked: str) -> Membership:
    found = [*_memberships(claims)]
    if claims.organization:
        meant = _organizations(claims.trust, claims.organization)
        found = [one for one in found if one.organization_id in meant]
    if asked:
        meant = _organizations(claims.trust, asked.removeprefix(EXTERNAL)) | _by_slug(asked)
        found = [one for one in found if one.organization_id in meant]
    if not found:
        raise NotAMember("This token names no member of the organization.")
    if len(found) > 1:
        raise OrganizationNeeded(
            "This person belongs to several organizations: name one in the header X-Organization.",
            param="X-Organization",
        )
    return found[0]


def _memberships(claims: Claims) -> Sequence[Membership]:
    """Return what the person is a member of.

    An organization's word for who somebody is counts in that organization alone: else its owner
    could say that a stranger is a member who belongs to others too. A verified address counts
    where the organization has said nothing of the subject, for a user who has shown it to us too:
    else whoever registered with a stranger's address would share what the stranger sees.
    """
    rows = Membership.objects.filter(user__is_active=True).select_related("user")
    if claims.session:
        return list(rows.filter(user=_signed_in(claims)))
    mapped = _external_ids(claims.trust).filter(
        kind=ExternalId.Kind.USER, external_id=claims.subject
    )
    here = mapped.filter(organization=OuterRef("organization"))
    found = rows.filter(Exists(here.filter(user=OuterRef("user"))))
    if not claims.email:
        return list(found)
    mine = Q(user__email__iexact=claims.email, user__email_verified_at__isnull=False)
    return [*found, *rows.filter(mine, ~Exists(here))]


def _signed_in(claims: Claims) -> int:
    """Return who has the session, if it is open; raises SessionOver."""
    open_ones = ApiSession.objects.filter(public_id=claims.session, revoked_at=None)
    found = open_ones.filter(user__public_id=claims.subject).values_list("user_id", flat=True)
    if (user_id := found.first()) is None:
        raise SessionOver("This session is over; sign in again.")
    return user_id


def _organizations(trust: Trust, reference: str) -> set[int]:
    """Return the organization that an issuer calls so, or of this public id; one or none."""
    external = _external_ids(trust).filter(kind=ExternalId.Kind.ORGANIZATION, external_id=reference)
    mapped = set(external.values_list("organization_id", flat=True))
    if len(mapped) == 1 or not ids.is_public_id(reference, "org"):
        return mapped if len(mapped) == 1 else set()
    return set(Organization.objects.filter(public_id=reference).values_list("pk", flat=True))


def _by_slug(slug: str) -> set[int]:
    return set(Organization.objects.filter(slug=slug).values_list("pk", flat=True))


def _external_ids(trust: Trust) -> QuerySet[ExternalId]:
    """Return the ids of the applications that this issuer speaks for."""
    rows = ExternalId.objects.all()
    if trust.application_id is None:
        return rows
    return rows.filter(application_id=trust.application_id)
