"""Members, invitations and keys over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache

from apps.core import rls
from apps.core.models import IdempotencyKey
from apps.tenants import services as tenants
from apps.tenants.models import User
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World


@pytest.fixture
def owner(world: World) -> Api:
    """Acme's owner, signed in by password."""
    cache.clear()
    return signed_in("owner@acme.example")


def signed_in(email: str) -> Api:
    body = {"email": email, "password": worlds.PASSWORD}
    return Api(Api(None).post("auth/login", body).json()["access_token"])


def person(world: World, role: str) -> User:
    with rls.ops_scope("test: a member"):
        user = tenants.create_user(
            f"{role.lower()}@acme.example", password=worlds.PASSWORD, actor=STAFF, at=NOW
        )
        tenants.add_member(world.id, user_id=user.pk, role=role, actor=STAFF, at=NOW)
    return user


def member(api: Api, email: str) -> dict[str, Any]:
    found = {one["email"]: one for one in api.get("members").json()["data"]}
    return dict(found[email])


def test_an_owner_changes_roles_and_removes_members(owner: Api, world: World) -> None:
    person(world, "MEMBER")
    other = signed_in("member@acme.example")
    bob = member(owner, "member@acme.example")
    assert owner.patch(f"members/{bob['id']}", {"role": "ADMIN"}).json()["role"] == "ADMIN"
    assert other.get("me").json()["role"] == "ADMIN"
    assert owner.call("DELETE", f"members/{bob['id']}").status_code == 200
    assert other.get("me").json()["code"] == "not_a_member"


def test_the_last_owner_stays(owner: Api) -> None:
    ann = member(owner, "owner@acme.example")
    for reply in (
        owner.patch(f"members/{ann['id']}", {"role": "MEMBER"}),
        owner.call("DELETE", f"members/{ann['id']}"),
    ):
        assert (reply.status_code, reply.json()["code"]) == (409, "last_owner")


def test_ownership_is_handed_over(owner: Api, world: World) -> None:
    person(world, "MEMBER")
    ann, bob = (member(owner, f"{one}@acme.example") for one in ("owner", "member"))
    reply = owner.post(f"members/{ann['id']}/transfer-ownership", {"to": bob["id"]})
    assert (reply.status_code, reply.json()["role"]) == (200, "OWNER")
    assert owner.get("me").json()["role"] == "BILLING_ADMIN"


def test_a_customers_key_invites_and_makes_nobody_owner(api: Api, owner: Api, world: World) -> None:
    ann = member(owner, "owner@acme.example")
    assert api.patch(f"members/{ann['id']}", {"role": "MEMBER"}).status_code == 403
    for role, status in (("MEMBER", 201), ("OWNER", 403)):
        body = {"email": f"{role}@x.example", "role": role}
        assert api.post("invitations", body).status_code == status


def test_an_invitation_is_sent_again_and_withdrawn(owner: Api) -> None:
    first = owner.post("invitations", {"email": "new@x.example", "role": "MEMBER"}).json()
    second = owner.post(f"invitations/{first['id']}/resend").json()
    assert second["id"] != first["id"]
    assert owner.post(f"invitations/{first['id']}/revoke").status_code == 404
    assert owner.post(f"invitations/{second['id']}/revoke").json()["revoked_at"] is not None


def test_the_platform_names_whom_it_invites_to(platform: Api, world: World) -> None:
    body = {"email": "new@x.example", "role": "OWNER"}
    assert platform.post("invitations", body).status_code == 400
    assert platform.post("invitations", {**body, "organization": "acme"}).status_code == 201


def test_a_key_is_made_shown_once_rotated_and_revoked(owner: Api, world: World) -> None:
    body = {"name": "ci", "scopes": ["usage:read"]}
    made = owner.post("api-keys", body).json()
    assert Api(made["key"]).get("usage").status_code == 200
    assert made["key"] not in owner.get("api-keys").content.decode()
    new = owner.post(f"api-keys/{made['id']}/rotate", {"overlap_hours": 0}).json()
    assert Api(made["key"]).get("me").json()["code"] == "api_key_expired"
    assert Api(new["key"]).get("me").status_code == 200
    for _ in range(2):
        assert owner.post(f"api-keys/{new['id']}/revoke").json()["revoked_at"] is not None
    assert Api(new["key"]).get("me").json()["code"] == "api_key_revoked"


def test_an_answer_with_a_key_in_it_is_not_kept(owner: Api, world: World) -> None:
    header: dict[str, Any] = {"Idempotency-Key": "once"}
    body = {"name": "ci", "scopes": ["usage:read"]}
    keys = {owner.post("api-keys", body, **header).json()["key"] for _ in range(2)}
    assert len(keys) == 2
    with rls.ops_scope("test: look"):
        assert not IdempotencyKey.objects.exists()


def test_a_key_makes_no_stronger_one(world: World) -> None:
    api = Api(worlds.make_key(world.organization, ["api_keys:write"]))
    reply = api.post("api-keys", {"name": "x", "scopes": ["invoices:read"]})
    assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
