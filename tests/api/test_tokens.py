"""People at the machines' door: a token's role decides, in one organization."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core import rls
from apps.tenants import services as tenants
from apps.tenants.models import User
from apps.tenants.services import IssuerTerms
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.issuers import Issuer, pem_of
from tests.worlds import NOW, World


@pytest.fixture
def issuer(world: World) -> Issuer:
    """An issuer whose verified addresses count, by a key that needs no network."""
    found = Issuer()
    terms = IssuerTerms(
        audiences=("billing",),
        public_key=pem_of(found.keys["issuer-RS256"][1]),
        matches_email=True,
    )
    with rls.ops_scope("test: trust"):
        tenants.define_token_issuer(found.issuer, terms=terms, actor=STAFF, at=NOW)
    return found


def as_(issuer: Issuer, user: User, **claims: Any) -> Api:
    told = {"sub": "x", "email": user.email, "email_verified": True, **claims}
    return Api(issuer.token(NOW, **told))


def person(world: World, role: str) -> User:
    with rls.ops_scope("test: a member"):
        user = tenants.create_user(
            f"{role.lower()}@acme.example", password=worlds.PASSWORD, actor=STAFF, at=NOW
        )
        tenants.add_member(world.id, user_id=user.pk, role=role, actor=STAFF, at=NOW)
    return user


def test_me_tells_who_calls_and_as_what(issuer: Issuer, world: World) -> None:
    reply = as_(issuer, world.owner).get("me").json()
    assert (reply["object"], reply["role"]) == ("member", "OWNER")
    assert (reply["id"], reply["organization"]) == (
        world.owner.public_id,
        world.organization.public_id,
    )


@pytest.mark.parametrize(
    ("role", "statuses"),
    [
        ("BILLING_ADMIN", {"subscriptions": 200, "invoices": 200, "organizations": 200}),
        ("ADMIN", {"subscriptions": 200, "invoices": 403, "organizations": 403}),
        ("MEMBER", {"subscriptions": 200, "invoices": 403, "organizations": 403}),
    ],
)
def test_a_role_opens_what_it_opens_in_the_portal(
    issuer: Issuer, world: World, role: str, statuses: dict[str, int]
) -> None:
    api = as_(issuer, person(world, role))
    assert {path: api.get(path).status_code for path in statuses} == statuses
    assert api.get("usage").status_code == 200
    assert api.get("plans").status_code == 200


def test_what_a_role_lacks_is_named(issuer: Issuer, world: World) -> None:
    reply = as_(issuer, person(world, "MEMBER")).get("invoices").json()
    assert reply["code"] == "forbidden"
    assert reply["extra"] == {"capability": "view_invoices"}


def test_nobody_sends_usage_or_acts_for_the_platform_by_a_token(
    issuer: Issuer, world: World
) -> None:
    owner = as_(issuer, world.owner)
    sent = owner.post("events", {"specversion": "1.0"})
    assert (sent.status_code, sent.json()["extra"]) == (403, {"capability": "write_usage"})
    assert owner.post("organizations", {"slug": "x", "name": "X"}).status_code == 403


def test_an_owner_changes_and_the_audit_says_who(issuer: Issuer, world: World) -> None:
    reply = as_(issuer, world.owner).patch("organizations/acme", {"name": "Renamed"})
    assert (reply.status_code, reply.json()["name"]) == (200, "Renamed")


def test_a_stranger_is_told_nothing(issuer: Issuer, world: World, stranger: World) -> None:
    api = as_(issuer, world.owner)
    for path in ("organizations/globex", f"invoices/{stranger.first_invoice}"):
        assert api.get(path).status_code == 404
    for asked in ("globex", stranger.organization.public_id, "nobody", "\x01", "x" * 300):
        header: dict[str, Any] = {"X-Organization": asked}
        reply = api.get("me", **header)
        assert (reply.status_code, reply.json()["code"]) == (403, "not_a_member")


def test_who_belongs_to_several_names_one(issuer: Issuer, world: World, stranger: World) -> None:
    with rls.ops_scope("test: a second membership"):
        tenants.add_member(stranger.id, user_id=world.owner.pk, role="MEMBER", actor=STAFF, at=NOW)
    api = as_(issuer, world.owner)
    reply = api.get("me")
    assert (reply.status_code, reply.json()["code"]) == (400, "organization_needed")
    for asked, role in (("acme", "OWNER"), (stranger.organization.public_id, "MEMBER")):
        header: dict[str, Any] = {"X-Organization": asked}
        assert api.get("me", **header).json()["role"] == role


def test_a_token_that_is_over_says_so(issuer: Issuer, world: World) -> None:
    now = int(NOW.timestamp())
    over = as_(issuer, world.owner, iat=now - 700, nbf=now - 700, exp=now - 100).get("me")
    assert (over.status_code, over.json()["code"]) == (401, "token_expired")
    assert over["WWW-Authenticate"] == 'Bearer realm="api", error="invalid_token"'
