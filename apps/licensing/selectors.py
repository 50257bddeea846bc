"""Questions about licences: what one would say, which there are, and whether one is good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db.models import Q

from apps.core import crypto, rls
from apps.core.ids import is_public_id
from apps.entitlements import selectors as entitlements
from apps.entitlements.decisions import SENTENCES as REASONS
from apps.entitlements.selectors import Reason
from apps.licensing import signer
from apps.licensing.content import CLOCKS_DIFFER, Content, content_of, says_too_much
from apps.licensing.errors import ApplicationNeeded, NotLicensed, UnknownInstance, UnknownLicense
from apps.licensing.models import Instance, License, LicenseTerms, SigningKey
from apps.tenants import selectors as tenants
from apps.usage import devices

LONGEST_TOKEN = 16_384


class Standing(StrEnum):
    """Why a licence is good, or is not."""

    OK = "ok"
    GRACE = "grace"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN = "unknown_licence"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    WRONG_INSTANCE = "wrong_instance"
    BLOCKED = "instance_blocked"
    NOT_LICENSED = "not_licensed"
    OUTDATED = "outdated"


GOOD = frozenset({Standing.OK, Standing.GRACE})
SENTENCES = {
    Standing.OK: "The licence is good.",
    Standing.GRACE: "The licence is good, but it ought to be renewed: its grace runs.",
    Standing.MALFORMED: "This is no licence.",
    Standing.UNKNOWN_KEY: "It is signed by a key that is not in use here.",
    Standing.BAD_SIGNATURE: "Its signature is not by the key that it names.",
    Standing.UNKNOWN: "There is no such licence.",
    Standing.NOT_YET_VALID: "It is not valid yet.",
    Standing.EXPIRED: "It has expired, and so has its grace.",
    Standing.REVOKED: "It was revoked.",
    Standing.WRONG_INSTANCE: "It is for another instance.",
    Standing.BLOCKED: "Its instance was blocked.",
    Standing.NOT_LICENSED: "The organization has nothing now that could be licensed.",
    Standing.OUTDATED: "It grants more than is agreed now; fetch a fresh one.",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """How licences are: how long, how long beyond that, and whether each is for one instance."""

    lifetime: timedelta
    grace: timedelta
    bound: bool = False
    agreed: bool = False


@dataclass(frozen=True, slots=True)
class LicenseFacts:
    """A licence, for the doors. `instance` is the name of the one it is for; empty: for any."""

    id: int
    public_id: str
    organization_id: int
    organization: str
    subscription_id: int
    subscription: str
    application: str
    instance: str
    kid: str
    plan: str
    claims: Mapping[str, Any]
    token: str
    issued_at: datetime
    expires_at: datetime
    ends_at: datetime
    superseded_at: datetime | None
    revoked_at: datetime | None
    revoked_because: str

    @property
    def is_current(self) -> bool:
        """Whether neither another took its place nor anybody revoked it."""
        return self.superseded_at is None and self.revoked_at is None

    @property
    def renew_at(self) -> datetime:
        """From when on whoever fetches it gets a fresh one: half of its time is over."""
        return self.issued_at + (self.expires_at - self.issued_at) / 2

    def state(self, at: datetime) -> str:
        """Return revoked, expired, grace, superseded or valid."""
        if self.revoked_at is not None:
            return "revoked"
        if at >= self.ends_at:
            return "expired"
        if self.superseded_at is not None:
            return "superseded"
        return "grace" if at >= self.expires_at else "valid"


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """An installation, what it reported last, and how many devices it may have (None: any)."""

    public_id: str
    name: str
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    blocked_at: datetime | None
    report: devices.Device | None


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half of a key, for whoever checks licences."""

    kid: str
    algorithm: str
    pem: str
    status: str
    signs_from: datetime | None
    published_until: datetime | None

    @property
    def jwk(self) -> dict[str, str]:
        """The key as a JSON Web Key."""
        return signer.jwk(self.kid, self.algorithm, self.pem)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a token is good now. Claims are told of what our keys signed, and to its owner."""

    standing: Standing
    claims: Mapping[str, Any] | None = None
    license: LicenseFacts | None = None

    @property
    def valid(self) -> bool:
        """Whether an installation may go by it."""
        return self.standing in GOOD

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return SENTENCES[self.standing]


# --- what would be licensed ---------------------------------------------------------------------
def content(organization_id: int, *, at: datetime, application: str = "") -> Content:
    """Return what a licence says now: what `entitlements.decide` answers for every feature.

    `application` is a slug; needed where several grant something. Works in the organization's
    scope. Raises NotLicensed and ApplicationNeeded.
    """
    found = entitlements.holdings(organization_id, at=at)
    asked = [
        facts for facts in found.granting if application in ("", facts.version.application_slug)
    ]
    mine = [facts for facts in asked if found.granted_by(facts)]
    if not mine:
        raise _nothing(Reason.NOT_INCLUDED if asked else found.why_nothing())
    if len(mine) > 1:
        known = ", ".join(sorted(facts.version.application_slug for facts in mine))
        raise ApplicationNeeded(f"Say for which application: {known}.", param="application")
    [facts] = mine
    organization = tenants.organization(organization_id)
    return content_of(organization, facts, found.granted_by(facts), at=at)


def content_for(organization_id: int, subscription_id: int, *, at: datetime) -> Content | None:
    """Return what a licence of this subscription says now, or None when it grants nothing."""
    found = entitlements.holdings(organization_id, at=at)
    facts = next((one for one in found.granting if one.id == subscription_id), None)
    if facts is None:
        return None
    organization = tenants.organization(organization_id)
    return content_of(organization, facts, found.granted_by(facts), at=at)


def _nothing(reason: Reason) -> NotLicensed:
    said = f"There is nothing to license. {REASONS[reason]}"
    return NotLicensed(said, reason=str(reason))


def terms_of(organization_id: int) -> Terms:
    """Return how the organization's licences are: as agreed, or as the settings say."""
    row = LicenseTerms.objects.filter(organization_id=organization_id).first()
    if row is None:
        lifetime = timedelta(days=settings.LICENSE_LIFETIME_DAYS)
        return Terms(lifetime, timedelta(days=settings.LICENSE_GRACE_DAYS))
    lifetime, grace = timedelta(days=row.lifetime_days), timedelta(days=row.grace_days)
    return Terms(lifetime, grace, row.bound, agreed=True)


# --- licences and instances ---------------------------------------------------------------------
def get(public_id: str, *, organization_id: int | None = None) -> LicenseFacts:
    """Return the licence with this public id (of the organization), or raise UnknownLicense."""
    found = _find(public_id, organization_id)
    if found is None:
        raise UnknownLicense("There is no such licence.")
    return found


def licenses_of(organization_id: int, *, limit: int = 100) -> list[LicenseFacts]:
    """Return the organization's latest licences."""
    rows = _rows().filter(organization_id=organization_id)
    return [license_facts(row) for row in rows[:limit]]


def current_licenses(organization_id: int, *, at: datetime) -> list[LicenseFacts]:
    """Return those that nothing took the place of, that nobody revoked and that are good."""
    rows = _rows().filter(
        organization_id=organization_id, superseded_at=None, revoked_at=None, ends_at__gt=at
    )
    return [license_facts(row) for row in rows]


def current(
    organization_id: int, *, subscription_id: int, instance_id: int | None
) -> LicenseFacts | None:
    """Return the licence of a subscription, for an instance or (None) for any, if there is one."""
    row = (
        _rows()
        .filter(
            organization_id=organization_id,
            subscription_id=subscription_id,
            instance=instance_id,
            superseded_at=None,
            revoked_at=None,
        )
        .first()
    )
    return None if row is None else license_facts(row)


def _rows() -> Any:
    return License.objects.select_related(
        "organization", "subscription__application", "instance"
    ).order_by("-id")


def _find(public_id: str, organization_id: int | None) -> LicenseFacts | None:
    rows = _rows().filter(public_id=public_id)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    row = rows.first()
    return None if row is None else license_facts(row)


def license_facts(row: License) -> LicenseFacts:
    """Return a row's facts; organization, subscription, application and instance come with it."""
    return LicenseFacts(
        id=row.pk,
        public_id=row.public_id,
        organization_id=row.organization_id,
        organization=row.organization.public_id,
        subscription_id=row.subscription_id,
        subscription=row.subscription.public_id,
        application=row.subscription.application.slug,
        instance="" if row.instance is None else row.instance.name,
        kid=row.key_id,
        plan=row.plan,
        claims=row.claims,
        token=row.token,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        ends_at=row.ends_at,
        superseded_at=row.superseded_at,
        revoked_at=row.revoked_at,
        revoked_because=row.revoked_because,
    )


def find_instance(organization_id: int, name: str) -> Instance | None:
    """Return the organization's instance of this name, if it was seen."""
    return Instance.objects.filter(organization_id=organization_id, name=name).first()


def get_instance(public_id: str, *, organization_id: int | None = None) -> Instance:
    """Return the instance with this public id (of the organization), or raise UnknownInstance."""
    rows = Instance.objects.filter(public_id=public_id)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = rows.first()
    if found is None:
        raise UnknownInstance("There is no such instance.")
    return found


def instances_of(organization_id: int) -> list[InstanceFacts]:
    """Return every instance that asked for a licence or reported devices, by name."""
    rows = {row.name: row for row in Instance.objects.filter(organization_id=organization_id)}
    reports = {one.instance: one for one in devices.last_reports(organization_id)}
    return [
        _instance_facts(name, rows.get(name), reports.get(name))
        for name in sorted(rows.keys() | reports.keys())
    ]


def _instance_facts(
    name: str, row: Instance | None, report: devices.Device | None
) -> InstanceFacts:
    if row is None:
        return InstanceFacts("", name, None, None, None, report)
    times = row.first_seen_at, row.last_seen_at, row.blocked_at
    return InstanceFacts(row.public_id, name, *times, report)


# --- keys ---------------------------------------------------------------------------------------
def signing_keys() -> Sequence[SigningKey]:
    """Return every key, the newest first; needs the ops scope."""
    return list(SigningKey.objects.order_by("-id"))


def public_keys(at: datetime) -> list[PublicKey]:
    """Return the keys that licences may be checked with: the one that signs, then the others."""
    with rls.ops_scope("licences: public keys"):
        rows = [row for row in signing_keys() if row.is_published(at)]
    found = [
        PublicKey(
            row.kid, row.algorithm, row.public_pem, row.status, row.signs_from, row.published_until
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: one.status != SigningKey.Status.SIGNING)


def keys_out_of_reach() -> list[str]:
    """Return the ids of the keys whose private part none of ENCRYPTION_KEYS opens.

    Needs the ops scope. Retired keys sign nothing any more and are not looked at.
    """
    kept = (SigningKey.Status.SIGNING, SigningKey.Status.NEXT)
    rows = SigningKey.objects.filter(status__in=kept)
    return [row.kid for row in rows if not crypto.opens(row.sealed_private_pem)]


# --- verdicts -----------------------------------------------------------------------------------
def judge(
    token: str, *, at: datetime, organization_id: int | None = None, instance: str = ""
) -> Verdict:
    """Say whether a token is a good licence now, by our own books: sooner than any list says it.

    For an `organization_id` only its own count; those of others are as unknown as any. `instance`
    is who holds it up. Works in that organization's scope, or in the ops scope.
    """
    claims = _signed(token, at)
    if isinstance(claims, Standing):
        return Verdict(claims)
    found = _find(str(claims.get("jti", "")), organization_id)
    if found is None or found.token != token:
        return Verdict(Standing.UNKNOWN)
    when = at if organization_id is not None else tenants.now_for(found.organization_id, at)
    return Verdict(_standing(found, when, instance), claims, found)


def revocations(at: datetime) -> list[tuple[str, datetime]]:
    """Return id and time of each revoked licence that would be good otherwise, oldest first."""
    rows = License.objects.filter(revoked_at__isnull=False, ends_at__gt=at).order_by("revoked_at")
    return [(row.public_id, row.revoked_at) for row in rows if row.revoked_at is not None]


def _signed(token: str, at: datetime) -> Mapping[str, Any] | Standing:
    """Return the claims of what one of our keys signed as a licence, or why it is none."""
    try:
        header = signer.header_of(token if len(token) <= LONGEST_TOKEN else "")
    except signer.BadSignature:
        return Standing.MALFORMED
    if header.get("typ") != signer.LICENSE_TYPE:
        return Standing.MALFORMED
    key = next((one for one in public_keys(at) if one.kid == header.get("kid")), None)
    if key is None:
        return Standing.UNKNOWN_KEY
    try:
        claims = signer.claims_of(token, algorithm=key.algorithm, public_pem=key.pem)
    except signer.BadSignature:
        return Standing.BAD_SIGNATURE
    return claims if is_public_id(str(claims.get("jti")), "lic") else Standing.UNKNOWN


def _standing(found: LicenseFacts, at: datetime, instance: str) -> Standing:
    """Return how a licence of ours stands at the instant: by itself, then by what is agreed."""
    if found.revoked_at is not None:
        return Standing.REVOKED
    if at >= found.ends_at:
        return Standing.EXPIRED
    if at < found.issued_at - CLOCKS_DIFFER:
        return Standing.NOT_YET_VALID
    if instance and found.instance not in ("", instance):
        return Standing.WRONG_INSTANCE
    return _standing_now(found, at)


def _standing_now(found: LicenseFacts, at: datetime) -> Standing:
    blocked = Q(organization_id=found.organization_id, name=found.instance)
    if found.instance and Instance.objects.filter(blocked, blocked_at__isnull=False).exists():
        return Standing.BLOCKED
    now = content_for(found.organization_id, found.subscription_id, at=at)
    if now is None:
        return Standing.NOT_LICENSED
    if says_too_much(found.claims, now):
        return Standing.OUTDATED
    return Standing.GRACE if at >= found.expires_at else Standing.OK
