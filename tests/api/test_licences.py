"""Licences over HTTP: fetched, verified, revoked; keys for everybody; customers that join."""

from __future__ import annotations

import json
from datetime import timedelta

import jwt
import pytest
from django.test import Client

from apps.core import clock, rls
from apps.licensing.models import License
from apps.plans import services as plans
from apps.plans.catalog import read_catalog
from apps.tenants.models import Organization
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World

DAY = timedelta(days=1)
TIMELESS = {"verify_exp": False, "verify_nbf": False, "verify_aud": False, "verify_iat": False}


@pytest.fixture
def shop(world: World) -> None:
    """The plans of the licence-based system, on sale."""
    with rls.ops_scope("test: catalogue"):
        plans.load_catalog(read_catalog("licences"), actor=STAFF, at=NOW)


def public_keys() -> dict[str, jwt.PyJWK]:
    found = json.loads(Client().get("/.well-known/licence-keys.json").content)
    return {one["kid"]: jwt.PyJWK(one) for one in found["keys"]}


def claims_of(token: str) -> dict[str, object]:
    """Check a token with the published keys, as an installation would."""
    key = public_keys()[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["RS256"], options=TIMELESS)  # type: ignore[arg-type]


def test_the_licence_that_holds_is_fetched_and_renewed(api: Api) -> None:
    first = api.get("organizations/acme/licence", {"instance": "plant-1"}).json()
    assert claims_of(first["token"]) == first["claims"]
    assert (first["claims"]["aud"], first["state"]) == ("plant-1", "valid")
    assert api.get("organizations/acme/licence", {"instance": "plant-1"}).json() == first
    with clock.frozen(NOW + 4 * DAY):
        fresh = api.get("organizations/acme/licence", {"instance": "plant-1"}).json()
    assert fresh["id"] != first["id"]
    listed = api.get("organizations/acme/licences").json()["data"]
    assert [one["id"] for one in listed] == [fresh["id"], first["id"]]
    assert api.get(f"licences/{first['id']}").json()["state"] == "superseded"


def test_a_revoked_licence_is_refused_at_once_and_is_on_the_list(api: Api) -> None:
    made = api.post("organizations/acme/licences", {}).json()
    assert api.post("licences/verify", {"token": made["token"]}).json()["reason"] == "ok"
    revoked = api.post(f"licences/{made['id']}/revoke", {"reason": "stolen"}).json()
    assert (revoked["state"], revoked["revoked_because"]) == ("revoked", "stolen")
    said = api.post("licences/verify", {"token": made["token"]}).json()
    assert (said["valid"], said["reason"], said["licence"]["id"]) == (False, "revoked", made["id"])
    reply = Client().get("/.well-known/licence-revocations.jwt")
    assert reply["Content-Type"] == "application/jwt"
    assert claims_of(reply.content.decode())["revoked"] == [
        {"jti": made["id"], "revokedAt": int(NOW.timestamp())}
    ]


def test_a_foreign_licence_is_as_unknown_as_none(api: Api, stranger: World) -> None:
    theirs = Api(worlds.make_key(stranger.organization))
    token = theirs.post("organizations/globex/licences", {}).json()["token"]
    said = api.post("licences/verify", {"token": token}).json()
    assert (said["valid"], said["reason"]) == (False, "unknown_licence")
    assert (said["claims"], said["licence"]) == (None, None)


def test_the_platform_verifies_anybodys(platform: Api, api: Api) -> None:
    token = api.post("organizations/acme/licences", {}).json()["token"]
    assert platform.post("licences/verify", {"token": token}).json()["valid"] is True


def test_public_keys_are_for_everybody_and_say_nothing_private(api: Api) -> None:
    said = api.get("licences/public-key").json()
    pem = Client().get("/.well-known/licence-keys.pem").content.decode()
    assert said["public_key"] == pem
    assert pem.startswith("-----BEGIN PUBLIC KEY-----")
    [only] = json.loads(Client().get("/.well-known/licence-keys.json").content)["keys"]
    assert sorted(only) == ["alg", "e", "kid", "kty", "n", "use"]
    assert Client().post("/.well-known/licence-keys.json").status_code == 405


def test_instances_show_what_they_reported_and_are_blocked(api: Api) -> None:
    api.get("organizations/acme/licence", {"instance": "plant-1"})
    report = {"instance_id": "plant-1", "active_devices": 42, "total_devices": 50}
    api.post("usage/reports", report)
    api.post("usage/reports", {**report, "instance_id": "silent"})
    plant, silent = api.get("organizations/acme/instances").json()["data"]
    assert (plant["name"], plant["active_devices"], plant["total_devices"]) == ("plant-1", 42, 50)
    assert (silent["name"], silent["id"], silent["first_seen_at"]) == ("silent", None, None)
    assert api.post(f"instances/{plant['id']}/block").json()["blocked_at"] is not None
    refused = api.get("organizations/acme/licence", {"instance": "plant-1"})
    assert (refused.status_code, refused.json()["code"]) == (409, "instance_blocked")
    assert api.post(f"instances/{plant['id']}/unblock").json()["blocked_at"] is None
    assert api.get("organizations/acme/licence", {"instance": "plant-1"}).status_code == 200


def test_terms_are_agreed_by_the_platform(api: Api, platform: Api) -> None:
    usual = api.get("organizations/acme/licence-terms").json()
    assert (usual["lifetime_days"], usual["grace_days"], usual["agreed"]) == (7, 3, False)
    wanted = {"lifetime_days": 366, "grace_days": 30, "bound": True}
    agreed = platform.call("PUT", "organizations/acme/licence-terms", wanted).json()
    assert (agreed["lifetime_days"], agreed["agreed"]) == (366, True)
    refused = api.get("organizations/acme/licence")
    assert (refused.status_code, refused.json()["code"]) == (422, "instance_needed")


def test_a_customer_joins_with_trial_and_licence_in_one_answer(shop: None, platform: Api) -> None:
    body = {"name": "Pied Piper", "email": "billing@piper.example", "instance": "attic"}
    made = platform.post("customers", body, **{"Idempotency-Key": "join-1"})
    said = made.json()
    assert (made.status_code, said["status"]) == (201, "trialing")
    assert said["trial_ends_at"] == "2023-12-24T12:00:00Z"
    assert said["customer"]["slug"] == "pied-piper"
    claims = claims_of(said["licence"]["token"])
    assert (claims["plan"], claims["customerName"]) == ("trial", "Pied Piper")
    again = platform.post("customers", body, **{"Idempotency-Key": "join-1"})
    assert (again.json(), again["Idempotent-Replayed"]) == (said, "true")
    with rls.ops_scope("test"):
        assert Organization.objects.filter(name="Pied Piper").count() == 1
    another = platform.post("customers", body).json()
    assert another["customer"]["slug"].startswith("pied-piper-")


def test_who_let_a_customer_join_makes_a_key_for_its_installation(
    shop: None, platform: Api
) -> None:
    customer = platform.post("customers", {"name": "Pied Piper"}).json()["customer"]["id"]
    wanted = {
        "organization": customer,
        "name": "attic",
        "scopes": ["licences:read", "usage:write"],
    }
    attic = Api(platform.post("api-keys", wanted).json()["key"])
    renewed = attic.get(f"/api/licenses/{customer}")
    assert (renewed.status_code, claims_of(renewed.json()["license"])["sub"]) == (200, customer)
    report = {"instance_id": "attic", "active_devices": 2, "total_devices": 5}
    assert attic.post("usage/reports", report).status_code == 201
    assert attic.get("organizations/acme/licence").status_code == 404
    assert attic.post(f"organizations/{customer}/licences", {}).status_code == 403


def test_a_customer_whose_plan_is_unknown_does_not_join(shop: None, platform: Api) -> None:
    refused = platform.post("customers", {"name": "Hooli", "plan": "none-such"})
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown_plan")
    with rls.ops_scope("test"):
        assert not Organization.objects.filter(name="Hooli").exists()
        assert not License.objects.exists()


def test_an_upgrade_is_in_the_licence_that_is_fetched_next(shop: None, platform: Api) -> None:
    made = platform.post("customers", {"name": "Pied Piper"}).json()
    change = {"action": "plan", "plan": "professional"}
    with clock.frozen(NOW + DAY):
        changed = platform.post(f"subscriptions/{made['subscription']}/changes", change)
        assert changed.status_code == 200, changed.content
        fresh = platform.get(f"organizations/{made['customer']['id']}/licence").json()
    assert (fresh["plan"], fresh["claims"]["features"]["maxDevices"]) == ("professional", 50)
    old = platform.post("licences/verify", {"token": made["licence"]["token"]}).json()
    assert (old["valid"], old["licence"]["state"]) == (True, "superseded")


def test_customers_join_at_the_former_address_too(shop: None, platform: Api) -> None:
    body = {"company_name": "Pied Piper", "email": "billing@piper.example"}
    made = platform.post("/api/customers", body)
    assert made.status_code == 201
    customer = made.json()["customer_id"]
    assert claims_of(made.json()["license"])["customerId"] == customer
    assert made.json()["trial_ends_at"] == "2023-12-24T12:00:00Z"
    listed = platform.get("/api/customers", {"limit": 1}).json()
    assert [one["customer_id"] for one in listed["customers"]] == [customer]
    following = {"starting_after": listed["next_cursor"]}
    assert [one["company_name"] for one in platform.get("/api/customers", following).json()[
        "customers"
    ]] == ["Acme"]  # fmt: skip
    renamed = platform.patch(f"/api/customers/{customer}", {"company_name": "Hooli"}).json()
    assert (renamed["company_name"], renamed["email"]) == ("Hooli", "billing@piper.example")
    assert platform.get(f"/api/customers/{customer}").json() == renamed


def test_the_former_addresses_answer_in_the_former_words(api: Api) -> None:
    key = api.get("/api/licenses/public-key").json()["public_key"]
    token = api.get("/api/licenses/acme").json()["license"]
    claims = jwt.decode(token, key, algorithms=["RS256"], options=TIMELESS)  # type: ignore[arg-type]
    good = api.post("/api/licenses/verify", {"license": token}).json()
    assert good == {"valid": True, "reason": "ok", "license": claims}
    assert api.post("/api/licenses/acme/revoke").json() == {"status": "success", "revoked": 1}
    bad = api.post("/api/licenses/verify", {"license": token}).json()
    assert (bad["valid"], bad["reason"]) == (False, "revoked")
