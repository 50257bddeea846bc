"""People at the machines' door by password: register, sign in, stay, leave."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache

from apps.audit.models import AuditEntry
from apps.core import clock, rls
from apps.tenants import bearers, services
from apps.tenants.errors import SessionOver
from apps.tenants.models import ApiSession, Membership, Organization, RefreshToken, User
from apps.tenants.services import IssuerTerms
from apps.tenants.services.accounts import ADDRESS
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.issuers import Issuer, claims_of, encoded, pem_of
from tests.portal import people
from tests.worlds import NOW, World

NEW = {
    "email": "Ann@Pied-Piper.example",
    "password": "correct horse battery",
    "organization": "Pied Piper",
    "timezone": "America/Los_Angeles",
}
OWNER = {"email": "owner@acme.example", "password": worlds.PASSWORD}
anybody = Api(None)


@pytest.fixture(autouse=True)
def _nobody_has_tried() -> None:
    cache.clear()


def sign_in(**more: str) -> dict[str, Any]:
    reply = anybody.post("auth/login", {**OWNER, **more})
    assert reply.status_code == 200, reply.content
    return dict(reply.json())


def refresh(token: str, **more: str) -> Any:
    return anybody.post("auth/refresh", {"refresh_token": token, **more})


def with_(tokens: dict[str, Any]) -> Api:
    return Api(tokens["access_token"])


# --- register -----------------------------------------------------------------------------------
def test_who_registers_owns_a_new_organization_and_is_signed_in(world: World) -> None:
    reply = anybody.post("auth/register", NEW)
    assert reply.status_code == 201
    tokens = reply.json()
    assert tokens["user"]["email"] == "ann@pied-piper.example"
    [mine] = tokens["organizations"]
    assert (mine["slug"], mine["role"]) == ("pied-piper", "OWNER")
    me = with_(tokens).get("me").json()
    assert (me["organization"], me["role"]) == (mine["id"], "OWNER")
    shown = with_(tokens).get("organizations/pied-piper").json()
    assert (shown["name"], shown["timezone"]) == ("Pied Piper", "America/Los_Angeles")
    assert with_(tokens).get("organizations/acme").status_code == 404


def test_an_organization_without_a_slug_gets_one_made_of_its_name(world: World) -> None:
    names = {"Hooli_XYZ (US)": "hooli-xyz-us", "___": "organization"}
    for i, (name, slug) in enumerate(names.items()):
        person = {"email": f"ann{i}@hooli.example", "password": NEW["password"]}
        reply = anybody.post("auth/register", {**person, "organization": name})
        assert reply.status_code == 201, reply.content
        assert [row["slug"] for row in reply.json()["organizations"]] == [slug]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"email": "owner@ACME.example"}, 409, "already_member"),
        ({"slug": "acme"}, 409, "slug_taken"),
        ({"password": "password12"}, 400, "invalid"),
        ({"email": "no address"}, 400, "invalid"),
        ({"timezone": "Mars/Olympus"}, 400, "invalid"),
        ({"role": "OWNER"}, 400, "invalid_request"),
    ],
)
def test_a_registration_that_is_refused_leaves_nothing(
    world: World, change: dict[str, str], status: int, code: str
) -> None:
    before = _everybody()
    reply = anybody.post("auth/register", {**NEW, **change})
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert _everybody() == before


def _everybody() -> tuple[int, int, int]:
    with rls.ops_scope("test: count"):
        return User.objects.count(), Organization.objects.count(), Membership.objects.count()


def test_the_same_name_twice_makes_two_slugs(world: World) -> None:
    anybody.post("auth/register", NEW)
    second = anybody.post("auth/register", {**NEW, "email": "bob@pied-piper.example"}).json()
    [mine] = second["organizations"]
    assert mine["slug"].startswith("pied-piper-")


def test_nobody_registers_where_it_is_off(world: World, settings: Any) -> None:
    settings.ENABLE_REGISTRATION = False
    before = _everybody()
    assert anybody.post("auth/register", NEW).status_code == 403
    assert _everybody() == before


def test_an_address_that_nobody_has_shown_makes_nobody_known(world: World) -> None:
    """Whoever registers with a stranger's address must not share what the stranger may see."""
    anybody.post("auth/register", NEW)
    issuer = Issuer()
    terms = IssuerTerms(
        audiences=("billing",),
        public_key=pem_of(issuer.keys["issuer-RS256"][1]),
        matches_email=True,
    )
    with rls.ops_scope("test: trust"):
        services.define_token_issuer(issuer.issuer, terms=terms, actor=STAFF, at=NOW)
    token = issuer.token(NOW, email=NEW["email"], email_verified=True)
    assert Api(token).get("me").json()["code"] == "not_a_member"


# --- sign in --------------------------------------------------------------------------------------
def test_a_password_opens_what_the_role_opens(world: World) -> None:
    tokens = sign_in()
    assert tokens["token_type"] == "Bearer"
    assert [one["slug"] for one in tokens["organizations"]] == ["acme"]
    assert with_(tokens).get("invoices").status_code == 200
    assert with_(tokens).get("me").json()["id"] == world.owner.public_id


def test_unknown_addresses_and_wrong_passwords_get_one_answer(world: World) -> None:
    with rls.ops_scope("test: somebody who is switched off"):
        off = services.create_user(
            "off@acme.example", password=worlds.PASSWORD, actor=STAFF, at=NOW
        )
        User.objects.filter(pk=off.pk).update(is_active=False)
    bodies = [
        {**OWNER, "password": "wrong"},
        {**OWNER, "email": "nobody@acme.example"},
        {**OWNER, "email": "off@acme.example"},
    ]
    answers = [anybody.post("auth/login", body) for body in bodies]
    told = [{**one.json(), "request_id": ""} for one in answers]
    assert {one.status_code for one in answers} == {401}
    assert told[0] == told[1] == told[2]
    assert told[0]["code"] == "wrong_credentials"


def test_an_organization_may_be_named_and_is_then_the_only_one(
    world: World, stranger: World
) -> None:
    with rls.ops_scope("test: a second membership"):
        services.add_member(stranger.id, user_id=world.owner.pk, role="MEMBER", actor=STAFF, at=NOW)
    assert with_(sign_in()).get("me").json()["code"] == "organization_needed"
    tokens = sign_in(organization="globex")
    assert with_(tokens).get("me").json()["role"] == "MEMBER"
    elsewhere: dict[str, Any] = {"X-Organization": "acme"}
    assert with_(tokens).get("me", **elsewhere).status_code == 403
    back = refresh(tokens["refresh_token"], organization="acme").json()
    assert with_(back).get("me").json()["role"] == "OWNER"
    refused = anybody.post("auth/login", {**OWNER, "organization": "initech"})
    assert refused.status_code == 404


def test_a_second_factor_is_asked_for_here_too(world: World) -> None:
    secret, codes = people.with_app(world.owner)
    refused = anybody.post("auth/login", OWNER)
    assert (refused.status_code, refused.json()["code"]) == (401, "second_factor_required")
    wrong = anybody.post("auth/login", {**OWNER, "code": "000000"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "wrong_code")
    assert with_(sign_in(code=codes[0])).get("me").status_code == 200
    again = anybody.post("auth/login", {**OWNER, "code": codes[0]})
    assert again.json()["code"] == "wrong_code"
    with clock.frozen(NOW + timedelta(minutes=2)):
        code = people.code_at(secret)
        assert with_(sign_in(code=code)).get("me").status_code == 200
        assert anybody.post("auth/login", {**OWNER, "code": code}).json()["code"] == "wrong_code"


def test_a_wrong_password_does_not_tell_of_a_second_factor(world: World) -> None:
    people.with_app(world.owner)
    reply = anybody.post("auth/login", {**OWNER, "password": "wrong", "code": "000000"})
    assert reply.json()["code"] == "wrong_credentials"


def test_codes_are_guessed_no_faster_here_than_in_the_portal(world: World) -> None:
    """Both doors count the attempts together, whatever addresses they come from."""
    secret, _ = people.with_app(world.owner)
    cache.clear()
    with clock.frozen(NOW + timedelta(minutes=2)):
        codes = [anybody.post("auth/login", {**OWNER, "code": "000000"}) for _ in range(5)]
        assert {one.status_code for one in codes} == {401}
        browser = people.sign_in(OWNER["email"], password=OWNER["password"])
        answer = browser.post("/portal/login/second/", {"code": people.code_at(secret)})
        assert answer.status_code == 429


def test_guessing_is_slowed_down_for_an_account_from_an_address(world: World) -> None:
    wrong = {**OWNER, "password": "wrong"}
    statuses = [anybody.post("auth/login", wrong).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    reply = anybody.post("auth/login", OWNER)
    assert (reply.status_code, reply.json()["code"]) == (429, "too_many_attempts")
    assert 0 < int(reply["Retry-After"]) <= 300
    with clock.frozen(NOW + timedelta(minutes=5)):
        assert anybody.post("auth/login", OWNER).status_code == 200


def test_a_good_sign_in_forgives_the_bad_ones(world: World) -> None:
    for _ in range(3):
        for password in ("wrong", "wrong", worlds.PASSWORD):
            anybody.post("auth/login", {**OWNER, "password": password})
    sign_in()


def test_an_address_that_tries_many_accounts_is_slowed_down(world: World) -> None:
    def attempt(number: int, forwarded: str) -> int:
        body = {"email": f"u{number}@acme.example", "password": "x"}
        header: dict[str, Any] = {"X-Forwarded-For": forwarded}
        return int(anybody.post("auth/login", body, **header).status_code)

    for _ in range(ADDRESS.attempts):
        ADDRESS.spend("127.0.0.1", at=NOW)
    assert attempt(1, "10.0.0.1") == 429  # what a client writes itself is not read


def test_behind_a_proxy_its_word_counts(world: World, settings: Any) -> None:
    settings.TRUSTED_PROXIES = 1
    for _ in range(ADDRESS.attempts):
        ADDRESS.spend("10.0.0.1", at=NOW)
    for forwarded, status in (("1.1.1.1, 10.0.0.1", 429), ("10.0.0.1, 1.1.1.1", 200)):
        header: dict[str, Any] = {"X-Forwarded-For": forwarded}
        assert anybody.post("auth/login", OWNER, **header).status_code == status


# --- stay -----------------------------------------------------------------------------------------
def test_an_access_token_lives_a_quarter_of_an_hour(world: World) -> None:
    api = with_(sign_in())
    for seconds, status in ((15 * 60 - 1, 200), (15 * 60 + 6, 401)):
        with clock.frozen(NOW + timedelta(seconds=seconds)):
            assert api.get("me").status_code == status


def test_refreshing_gives_new_tokens_and_uses_the_old_one_up(world: World) -> None:
    first = sign_in()
    second = refresh(first["refresh_token"])
    assert second.status_code == 200
    assert second.json()["refresh_token"] != first["refresh_token"]
    assert with_(second.json()).get("me").status_code == 200


def test_a_refresh_token_that_comes_twice_ends_the_session_for_both(world: World) -> None:
    first = sign_in()
    other = sign_in()
    second = refresh(first["refresh_token"]).json()
    reply = refresh(first["refresh_token"])
    assert (reply.status_code, reply.json()["code"]) == (401, "refresh_reused")
    assert refresh(second["refresh_token"]).json()["code"] == "session_over"
    for tokens in (first, second):
        assert with_(tokens).get("me").json()["code"] == "session_over"
    assert with_(other).get("me").status_code == 200  # another session is another one
    with rls.ops_scope("test: the record"):
        assert AuditEntry.objects.filter(action="user.session_stolen").count() == 1


def test_a_session_that_is_not_used_ends_after_thirty_days(world: World) -> None:
    token = sign_in()["refresh_token"]
    with clock.frozen(NOW + timedelta(days=30) - timedelta(seconds=1)):
        token = refresh(token).json()["refresh_token"]
    with clock.frozen(NOW + timedelta(days=60)):
        assert refresh(token).json()["code"] == "session_over"


@pytest.mark.parametrize("token", ["", "rt_0", "x" * 200, "rt_" + "0" * 48])
def test_what_is_no_refresh_token_refreshes_nothing(world: World, token: str) -> None:
    assert refresh(token).status_code == (401 if token else 400)


# --- leave ----------------------------------------------------------------------------------------
def test_signing_out_ends_the_session_at_once(world: World) -> None:
    tokens = sign_in()
    for _ in range(2):
        left = anybody.post("auth/logout", {"refresh_token": tokens["refresh_token"]})
        assert left.json() == {"object": "session", "signed_out": True}
    assert with_(tokens).get("me").json()["code"] == "session_over"
    assert refresh(tokens["refresh_token"]).status_code == 401


def test_another_password_ends_every_session(world: World) -> None:
    tokens = [sign_in(), sign_in()]
    with rls.ops_scope("test: another password"):
        services.change_password(
            world.owner.public_id, password="another long one", actor=STAFF, at=NOW
        )
    assert {with_(one).get("me").status_code for one in tokens} == {401}


def test_signing_out_everywhere_ends_every_session(world: World) -> None:
    tokens = [sign_in(), sign_in()]
    with rls.ops_scope("test: sign out"):
        assert services.sign_out_everywhere(world.owner.pk, at=NOW) == 2
        assert services.sign_out_everywhere(world.owner.pk, at=NOW) == 0
    assert {with_(one).get("me").status_code for one in tokens} == {401}


def test_who_is_switched_off_is_out(world: World) -> None:
    tokens = sign_in()
    with rls.ops_scope("test: off"):
        User.objects.filter(pk=world.owner.pk).update(is_active=False)
    assert with_(tokens).get("me").status_code == 403
    assert refresh(tokens["refresh_token"]).status_code == 401


# --- what is kept, and what is signed -------------------------------------------------------------
def test_no_token_is_stored(world: World) -> None:
    tokens = sign_in()
    with rls.ops_scope("test: look"):
        stored = str([*RefreshToken.objects.values(), *ApiSession.objects.values()])
    assert tokens["refresh_token"] not in stored
    assert tokens["access_token"] not in stored


@pytest.mark.parametrize(
    "header", [{"alg": "none"}, {"alg": "RS256"}, {"alg": "HS512"}, {"alg": "HS256", "typ": "JWT"}]
)
def test_nobody_else_signs_in_our_name(world: World, settings: Any, header: Any) -> None:
    claims = claims_of(settings.API_BASE_URL, NOW, sub=world.owner.public_id, sid="ses_0")
    claims["aud"] = settings.API_BASE_URL
    forged = f"{encoded(header)}.{encoded(claims)}.{encoded(b'signature')}"
    assert Api(forged).get("me").json()["code"] == "invalid_token"


def test_a_session_is_its_users_alone(world: World, stranger: World) -> None:
    tokens = sign_in()
    with rls.ops_scope("test: whose"):
        claims = bearers.claims_of(tokens["access_token"], at=NOW)
        other = type(claims)(**{**_fields(claims), "subject": stranger.owner.public_id})
        with pytest.raises(SessionOver):
            bearers.bearer(other)


def _fields(claims: Any) -> dict[str, Any]:
    return {name: getattr(claims, name) for name in claims.__slots__}


def test_the_former_addresses_do_the_same(world: World) -> None:
    made = anybody.post("/api/auth/register", NEW)
    assert (made.status_code, made.json()["object"]) == (201, "tokens")
    again = anybody.post("/api/auth/login", {k: NEW[k] for k in ("email", "password")})
    assert (again.status_code, again.json()["user"]) == (200, made.json()["user"])


def test_what_expires_says_when(world: World) -> None:
    told = datetime.fromisoformat(sign_in()["access_token_expires_at"])
    assert told == NOW + timedelta(minutes=15)
