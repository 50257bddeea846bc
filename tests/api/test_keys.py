"""Who may call: keys, scopes, and what a refusal says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from apps.audit.models import AuditEntry
from apps.core import clock, rls
from apps.tenants import services as tenants
from apps.tenants.models import ApiKey
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World


def test_me_tells_whose_key_this_is(api: Api, world: World) -> None:
    reply = api.get("me").json()
    assert reply["object"] == "api_key"
    assert reply["organization"] == world.organization.public_id
    assert reply["livemode"] is False
    assert "usage:write" in reply["scopes"]
    assert api.key is not None
    assert api.key not in str(reply)


def test_a_platform_key_belongs_to_no_organization(platform: Api) -> None:
    assert platform.get("me").json()["organization"] is None


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_api_key"),
        ("", "missing_api_key"),
        ("Bearer", "missing_api_key"),
        ("Bearer   ", "missing_api_key"),
        ("Basic YTpi", "missing_api_key"),
        ("bk_test_0000", "missing_api_key"),
        ("Bearer bk_test_00000000000000000000000000000000000000000000", "invalid_api_key"),
        ("Bearer ключ", "invalid_api_key"),
        ("Bearer " + "x" * 100_000, "invalid_api_key"),
        ("Bearer a b c", "invalid_api_key"),
    ],
)
def test_without_a_good_key_there_is_401(world: World, header: str | None, code: str) -> None:
    sent: dict[str, Any] = {} if header is None else {"Authorization": header}
    reply = Api(None).get("me", **sent)
    assert (reply.status_code, reply.json()["code"]) == (401, code)
    assert reply["WWW-Authenticate"].startswith("Bearer")


def test_keys_in_the_query_are_not_read(world: World) -> None:
    key = worlds.make_key(world.organization)
    assert Api(None).get("invoices", {"api_key": key}).status_code == 401


def test_an_expired_key_is_refused_from_the_instant_on(world: World) -> None:
    api = Api(worlds.make_key(world.organization, expires_at=NOW))
    with clock.frozen(NOW - timedelta(microseconds=1)):
        assert api.get("me").status_code == 200
    assert api.get("me").json()["code"] == "api_key_expired"


def test_a_revoked_key_stops_at_once(api: Api, world: World) -> None:
    with rls.tenant_scope(world.id):
        key = ApiKey.objects.get().public_id
        tenants.revoke_api_key(key, actor=STAFF, at=NOW)
    assert api.get("me").json()["code"] == "api_key_revoked"


def test_a_missing_scope_is_named(world: World) -> None:
    reply = Api(worlds.make_key(world.organization, ["plans:read"])).get("invoices")
    assert (reply.status_code, reply.json()["code"]) == (403, "missing_scope")
    assert reply.json()["extra"] == {"scope": "invoices:read"}
    assert "invoices:read" in reply.json()["detail"]


def test_writing_does_not_include_reading(world: World) -> None:
    api = Api(worlds.make_key(world.organization, ["subscriptions:write"]))
    assert api.get("subscriptions").status_code == 403


def test_the_last_use_of_a_key_is_noted_once_a_minute(api: Api, world: World) -> None:
    def noted() -> object:
        with rls.tenant_scope(world.id):
            return ApiKey.objects.get().last_used_at

    api.get("me")
    assert noted() == NOW
    with clock.frozen(NOW + timedelta(seconds=59)):
        api.get("me")
        assert noted() == NOW
    with clock.frozen(NOW + timedelta(seconds=60)):
        api.get("me")
        assert noted() == NOW + timedelta(seconds=60)


def test_the_callers_request_id_comes_back(api: Api) -> None:
    sent: dict[str, Any] = {"X-Request-Id": "trace-0123456789"}
    reply = api.get("invoices/nothing", **sent)
    assert reply["X-Request-Id"] == reply.json()["request_id"] == "trace-0123456789"


def test_an_answer_and_its_audit_entry_share_the_request_id(api: Api, world: World) -> None:
    reply = api.patch("organizations/acme", {"name": "Renamed"})
    with rls.tenant_scope(world.id):
        entry = AuditEntry.objects.order_by("-id").first()
    assert entry is not None
    assert (entry.action, entry.actor_kind) == ("organization.updated", "api_key")
    assert entry.request_id == reply["X-Request-Id"]
