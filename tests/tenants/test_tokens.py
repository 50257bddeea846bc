"""Tokens of other issuers: whose they are, what they say, and how their keys are kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from apps.core.errors import Conflict, Forbidden, Invalid, NotFound
from apps.tenants import bearers, jwks, services
from apps.tenants.checks import token_issuers
from apps.tenants.errors import InvalidToken, KeysUnavailable, NotAMember, OrganizationNeeded
from apps.tenants.jwks import Key, KeySets, UnfitKey, key_of, key_of_pem, keys_of
from apps.tenants.models import Organization, TokenIssuer, User
from apps.tenants.services import IssuerTerms
from billing_project import issuers
from tests.conftest import STAFF, make_organization
from tests.issuers import Issuer, jwk_of, pem_of, private_key
from tests.prove.tokens_attacks import ATTACKS, OF_A_SESSION

AT = datetime(2026, 3, 1, tzinfo=UTC)
FINANCE = STAFF.__class__("staff", "usr_x", "Finance", None, frozenset({"manage_billing"}))


@pytest.fixture
def issuer(ops: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    """An issuer that is trusted for `desk`, with fresh memory of its keys."""
    monkeypatch.setattr(jwks, "KEY_SETS", KeySets())
    services.define_application("desk", name="Desk", actor=STAFF, at=AT)
    with Issuer().serving() as found:
        trust(found, jwks_url=found.jwks_url)
        yield found


def trust(issuer: Issuer, **terms: Any) -> TokenIssuer:
    given = {"application": "desk", "audiences": ("billing",), **terms}
    return services.define_token_issuer(
        issuer.issuer, terms=IssuerTerms(**given), actor=STAFF, at=AT
    )


def member(organization: Organization, email: str, role: str, subject: str = "") -> User:
    found = User.objects.filter(email=email).first()
    user = found or services.create_user(email, password="long-enough-1", actor=STAFF, at=AT)
    services.add_member(organization.pk, user_id=user.pk, role=role, actor=STAFF, at=AT)
    if subject:
        services.map_external_user(
            organization.pk,
            application="desk",
            external_id=subject,
            user_id=user.pk,
            actor=STAFF,
            at=AT,
        )
    return user


def bearer(token: str, organization: str = "") -> bearers.Bearer:
    return bearers.bearer(bearers.claims_of(token, at=AT), organization=organization)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_names_a_member_by_the_applications_id(
    issuer: Issuer, organization: Organization, algorithm: str
) -> None:
    user = member(organization, "ann@acme.example", "ADMIN", "user-1")
    found = bearer(issuer.token(AT, algorithm=algorithm))
    assert (found.user_id, found.actor.label) == (user.pk, "ADMIN")
    assert found.actor.organization_id == organization.pk
    assert found.expires_at == AT + timedelta(minutes=10)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(issuer: Issuer, organization: Organization, attack: str) -> None:
    member(organization, "ann@acme.example", "OWNER", "user-1")
    terms = {"jwks_url": issuer.jwks_url, "authorized_parties": ("https://app.example",)}
    trust(issuer, **terms)
    assert bearer(issuer.token(AT)).actor.label == "OWNER"
    with pytest.raises(InvalidToken):
        bearers.claims_of(ATTACKS[attack](issuer, AT), at=AT)


@pytest.mark.parametrize("attack", OF_A_SESSION)
def test_an_attack_on_sessions_is_refused(ops: None, attack: str) -> None:
    clerk = Issuer("clerk")
    pem = pem_of(clerk.keys["clerk-RS256"][1])
    parties = ("https://app.example",)
    trust(
        clerk, kind="clerk", application="", audiences=(), authorized_parties=parties,
        public_key=pem,
    )  # fmt: skip
    assert bearers.claims_of(clerk.token(AT, aud=None, sid="sess_1"), at=AT).subject == "user-1"
    with pytest.raises(InvalidToken):
        bearers.claims_of(OF_A_SESSION[attack](clerk, AT), at=AT)


def test_an_organization_is_meant_by_external_or_public_id(
    issuer: Issuer, organization: Organization
) -> None:
    member(organization, "ann@acme.example", "OWNER", "user-1")
    other = make_organization("other")
    member(other, "ann@acme.example", "MEMBER", "user-1")
    services.map_external_id(
        organization.pk, application="desk", external_id="org_2abC", actor=STAFF, at=AT
    )
    assert bearer(issuer.token(AT, org_id="org_2abC")).actor.label == "OWNER"
    assert bearer(issuer.token(AT, o={"id": "org_2abC"})).actor.label == "OWNER"
    assert bearer(issuer.token(AT, org_id=other.public_id)).actor.label == "MEMBER"
    for asked in (other.public_id, "other", "ext:org_2abC"):
        label = "OWNER" if asked == "ext:org_2abC" else "MEMBER"
        assert bearer(issuer.token(AT), asked).actor.label == label
    with pytest.raises(OrganizationNeeded):
        bearer(issuer.token(AT))
    for org_id, asked in (("org_2abC", "other"), ("other", ""), ("org_none", "")):
        with pytest.raises(NotAMember):
            bearer(issuer.token(AT, org_id=org_id), asked)


@pytest.mark.parametrize(
    ("said", "role", "seen"),
    [
        ("org:admin", "OWNER", True),
        ("admin", "OWNER", True),
        ("org:billing", "OWNER", True),
        ("org:member", "OWNER", False),
        ("Kassenwart", "OWNER", True),
        ("org:admin", "MEMBER", False),
    ],
)
def test_a_tokens_role_takes_away_and_never_adds(
    issuer: Issuer, organization: Organization, said: str, role: str, seen: bool
) -> None:
    trust(issuer, jwks_url=issuer.jwks_url, role_map={"kassenwart": "BILLING_ADMIN"})
    member(organization, "ann@acme.example", role, "user-1")
    token = issuer.token(AT, org_id=organization.public_id, org_role=said)
    assert bearer(token).actor.may("view_invoices") == seen


def test_a_verified_address_counts_where_the_issuer_is_believed(
    issuer: Issuer, organization: Organization
) -> None:
    member(organization, "ann@acme.example", "OWNER")
    token = issuer.token(AT, sub="x", email="ANN@acme.example", email_verified=True)
    with pytest.raises(NotAMember):
        bearer(token)
    trust(issuer, jwks_url=issuer.jwks_url, matches_email=True)
    assert bearer(token).actor.label == "OWNER"
    for verified in (False, "true", 1, None):
        with pytest.raises(NotAMember):
            bearer(issuer.token(AT, sub="x", email="ann@acme.example", email_verified=verified))


def test_an_organizations_word_for_a_person_counts_there_alone(
    issuer: Issuer, organization: Organization
) -> None:
    trust(issuer, jwks_url=issuer.jwks_url, matches_email=True)
    member(organization, "ann@acme.example", "OWNER", "ann")
    theirs = make_organization("theirs")
    member(theirs, "ann@acme.example", "MEMBER", "mallory")  # its owner says: mallory is Ann
    with pytest.raises(NotAMember):
        bearer(issuer.token(AT, sub="mallory", org_id=organization.public_id))
    ann: dict[str, Any] = {"email": "ann@acme.example", "email_verified": True}
    assert bearer(issuer.token(AT, sub="mallory"), "theirs").actor.label == "MEMBER"
    assert bearer(issuer.token(AT, sub="new", **ann), "theirs").actor.label == "MEMBER"


def test_the_row_is_asked_while_the_token_lives(issuer: Issuer, organization: Organization) -> None:
    member(organization, "boss@acme.example", "OWNER")
    user = member(organization, "ann@acme.example", "OWNER", "user-1")
    token, row = issuer.token(AT), user.memberships.get()
    services.change_role(row.public_id, role="MEMBER", actor=STAFF, at=AT)
    assert not bearer(token).actor.may("manage_billing")
    services.remove_member(row.public_id, actor=STAFF, at=AT)
    with pytest.raises(NotAMember):
        bearer(token)


def test_a_disabled_issuer_counts_no_more_until_it_is_defined_again(
    issuer: Issuer, organization: Organization
) -> None:
    member(organization, "ann@acme.example", "OWNER", "user-1")
    row = TokenIssuer.objects.get()
    services.disable_token_issuer(row.public_id, actor=STAFF, at=AT)
    with pytest.raises(InvalidToken):
        bearer(issuer.token(AT))
    trust(issuer, jwks_url=issuer.jwks_url)
    assert bearer(issuer.token(AT)).actor.label == "OWNER"


@pytest.mark.parametrize(
    ("terms", "param"),
    [
        ({"audiences": ()}, "audiences"),
        ({"kind": "saml"}, "kind"),
        ({"jwks_url": "ftp://issuer.example"}, "jwks_url"),
        ({"jwks_url": ""}, "jwks_url"),
        ({"public_key": "-----BEGIN PUBLIC KEY-----"}, "public_key"),
        ({"role_map": {"admin": "EMPEROR"}}, "role_map"),
        ({"application": "none"}, "application"),
    ],
)
def test_terms_that_let_anybody_in_or_nobody_are_refused(
    ops: None, terms: dict[str, Any], param: str
) -> None:
    services.define_application("desk", name="Desk", actor=STAFF, at=AT)
    with pytest.raises((Invalid, NotFound)) as refused:
        trust(Issuer(), **{"jwks_url": "https://issuer.example/jwks", **terms})
    assert refused.value.param == param
    assert not TokenIssuer.objects.exists()


def test_only_who_manages_the_platform_trusts_issuers(ops: None) -> None:
    terms = IssuerTerms(audiences=("billing",), jwks_url="https://issuer.example/jwks")
    with pytest.raises(Forbidden):
        services.define_token_issuer("https://x.example", terms=terms, actor=FINANCE, at=AT)
    assert not TokenIssuer.objects.exists()


def test_an_id_stands_for_one_member(issuer: Issuer, organization: Organization) -> None:
    member(organization, "ann@acme.example", "OWNER", "user-1")
    bob = member(organization, "bob@acme.example", "MEMBER")
    stranger = services.create_user("x@x.example", password="long-enough-1", actor=STAFF, at=AT)
    for user, subject, refusal in ((bob, "user-1", Conflict), (stranger, "user-3", NotFound)):
        with pytest.raises(refusal):
            services.map_external_user(
                organization.pk,
                application="desk",
                external_id=subject,
                user_id=user.pk,
                actor=STAFF,
                at=AT,
            )


# --- Keys -------------------------------------------------------------------------------------
def test_keys_that_no_token_may_be_signed_with_are_passed_over() -> None:
    good = jwk_of(private_key("RS256"), "RS256", "good")
    rows: list[Any] = [
        good,
        {**good, "kid": "good", "n": "AQAB"},  # the first one counts
        {**good, "kid": "encrypts", "use": "enc"},
        {**good, "kid": "wraps", "key_ops": ["wrapKey"]},
        {**good, "kid": "otherwise", "alg": "RS512"},
        {**good, "kid": 1},
        {**good, "kid": "small", "n": "u1SU1LfVLPHCozMxH2Mo4lgOEePzNm0tRgeLezV6ffAt0gunVTLw7onL"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"},
        {"kty": "RSA", "kid": "nothing"},
        "row",
    ]
    assert [*keys_of({"keys": rows})] == ["good"]
    nothings: list[Any] = [{}, [], {"keys": {}}, {"keys": [good] * 101}]
    for nothing in nothings:
        with pytest.raises(UnfitKey):
            keys_of(nothing)


def test_a_pem_may_come_in_one_line() -> None:
    pem = pem_of(private_key("ES256"))
    assert key_of_pem(pem.replace("\n", "\\n")).algorithm == "ES256"
    with pytest.raises(UnfitKey):
        key_of(object())


class Fetches:
    """What an issuer shows, and how often it was asked."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] | None = {"a": key_of(private_key("EdDSA").public_key())}
        self.count = 0

    def __call__(self, url: str) -> dict[str, Key]:
        self.count += 1
        if self.keys is None:
            raise KeysUnavailable("away")
        return self.keys


def settled() -> None:
    """Wait for fetches behind the requests' back."""
    for thread in threading.enumerate():
        if thread.daemon and "_renew" in thread.name:
            thread.join()


def test_a_set_is_renewed_behind_the_requests_back_every_five_minutes() -> None:
    fetches = Fetches()
    sets = KeySets(fetches)
    for minute in (0, 4, 5):
        sets.key("u", "a", at=AT + timedelta(minutes=minute))
    assert fetches.count == 1
    sets.key("u", "a", at=AT + timedelta(minutes=5, seconds=1))
    settled()
    assert fetches.count == 2


def test_an_issuer_that_is_away_is_missed_after_a_day() -> None:
    fetches = Fetches()
    sets = KeySets(fetches)
    sets.key("u", "a", at=AT)
    fetches.keys = None
    sets.key("u", "a", at=AT + timedelta(hours=24))
    settled()
    with pytest.raises(KeysUnavailable):
        sets.key("u", "a", at=AT + timedelta(hours=24, minutes=1))


def test_an_issuer_that_never_answered_is_asked_again_after_half_a_minute() -> None:
    fetches = Fetches()
    keys, fetches.keys = fetches.keys, None
    sets = KeySets(fetches)
    for second in (0, 1, 29):
        with pytest.raises(KeysUnavailable):
            sets.key("u", "a", at=AT + timedelta(seconds=second))
    assert fetches.count == 1
    fetches.keys = keys
    assert sets.key("u", "a", at=AT + timedelta(seconds=30)).algorithm == "EdDSA"


def test_an_unknown_key_asks_the_issuer_once_in_half_a_minute() -> None:
    fetches = Fetches()
    sets = KeySets(fetches)
    for second in range(0, 61, 5):
        with pytest.raises(InvalidToken):
            sets.key("u", "b", at=AT + timedelta(seconds=second))
    assert fetches.count == 3  # at 0, 30 and 60 seconds


def test_a_key_set_is_not_fetched_from_where_an_address_points(issuer: Issuer) -> None:
    assert [*jwks.fetch(issuer.jwks_url)] == [*issuer.keys]
    issuer.is_down = True
    for url in (issuer.jwks_url, "http://127.0.0.1:9/jwks"):
        with pytest.raises(KeysUnavailable):
            jwks.fetch(url)


# --- The settings -----------------------------------------------------------------------------
def test_clerk_is_named_by_its_publishable_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLERK_PUBLISHABLE_KEY", "pk_test_Y2xlcmsuYWNtZS5leGFtcGxlJA")
    monkeypatch.setenv("CLERK_AUTHORIZED_PARTIES", "https://app.example, https://b.example")
    [found] = issuers.token_issuers()
    assert found["issuer"] == "https://clerk.acme.example"
    assert found["jwks_url"] == "https://clerk.acme.example/.well-known/jwks.json"
    assert found["parties"] == {"https://app.example", "https://b.example"}
    for wrong in ("pk_test_", "pk_test_YQ", "sk_live_x!"):
        monkeypatch.setenv("CLERK_PUBLISHABLE_KEY", wrong)
        with pytest.raises(ImproperlyConfigured):
            issuers.token_issuers()


def test_a_token_of_the_settings_issuer_comes_in(
    organization: Organization, ops: None, settings: Any
) -> None:
    clerk = Issuer("clerk")
    pem = pem_of(clerk.keys["clerk-RS256"][1])
    settings.TOKEN_ISSUERS = [
        {"issuer": clerk.issuer, "kind": "clerk", "public_key": pem, "matches_email": True}
    ]
    member(organization, "ann@acme.example", "OWNER")
    known: dict[str, Any] = {"email": "ann@acme.example", "email_verified": True}
    assert bearer(clerk.token(AT, aud=None, sid="s", **known)).actor.label == "OWNER"
    assert token_issuers() == []


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"kind": "clerk", "public_key": "none"}, "tenants.E001"),
        ({"kind": "oidc", "audiences": {"a"}}, "tenants.E002"),
        ({"kind": "oidc", "jwks_url": "https://x.example/jwks"}, "tenants.E003"),
    ],
)
def test_a_system_whose_issuer_cannot_be_checked_does_not_start(
    settings: Any, terms: dict[str, Any], code: str
) -> None:
    settings.TOKEN_ISSUERS = [{"issuer": "https://x.example", **terms}]
    assert [one.id for one in token_issuers()] == [code]
