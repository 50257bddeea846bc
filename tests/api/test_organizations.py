"""Organizations over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core import rls
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World


def count() -> int:
    with rls.ops_scope("test"):
        return Organization.objects.count()


def test_a_key_of_an_organization_lists_that_one(api: Api, stranger: World) -> None:
    assert [one["slug"] for one in api.get("organizations").json()["data"]] == ["acme"]


def test_a_platform_key_lists_all_newest_first(platform: Api, stranger: World) -> None:
    listed = platform.get("organizations").json()["data"]
    assert [one["slug"] for one in listed] == ["globex", "acme"]


def test_an_organization_is_found_by_id_slug_and_external_id(api: Api, world: World) -> None:
    with rls.tenant_scope(world.id):
        tenants.map_external_id(
            world.id, application="gateway", external_id="cust-7", actor=STAFF, at=NOW
        )
    for reference in (world.organization.public_id, "acme", "ext:cust-7"):
        found = api.get(f"organizations/{reference}").json()
        assert found["id"] == world.organization.public_id


def test_the_platform_creates_an_organization(platform: Api) -> None:
    body = {"slug": "initech", "name": "Initech", "currency": "EUR", "timezone": "Europe/Berlin"}
    reply = platform.post("organizations", body)
    assert reply.status_code == 201
    made = reply.json()
    assert (made["slug"], made["currency"], made["country"]) == ("initech", "EUR", "US")
    assert platform.get(f"organizations/{made['id']}").json() == made


def test_a_key_of_an_organization_creates_none(api: Api) -> None:
    before = count()
    reply = api.post("organizations", {"slug": "initech", "name": "Initech"})
    assert (reply.status_code, reply.json()["code"]) == (403, "platform_key_needed")
    assert count() == before


@pytest.mark.parametrize(
    ("change", "status", "code", "param"),
    [
        ({"slug": "acme"}, 409, "slug_taken", "slug"),
        ({"slug": "No Slug"}, 400, "invalid", "slug"),
        ({"currency": "XXQ"}, 400, "invalid", "currency"),
        ({"timezone": "Mars/Olympus"}, 400, "invalid", "timezone"),
        ({"country": "ZZ"}, 400, "invalid", "country"),
        ({"email": "nobody"}, 400, "invalid", "email"),
        ({"name": ""}, 400, "invalid_request", "name"),
        ({"name": 7}, 400, "invalid_request", "name"),
        ({"id": "org_1"}, 400, "invalid_request", "id"),
    ],
)
def test_a_malformed_organization_is_refused_by_name(
    platform: Api, change: dict[str, object], status: int, code: str, param: str
) -> None:
    before = count()
    body = {"slug": "initech", "name": "Initech", **change}
    problem = platform.post("organizations", body).json()
    assert (problem["status"], problem["code"], problem["param"]) == (status, code, param)
    assert problem["errors"][0]["pointer"] == f"/{param}"
    assert count() == before


def test_details_change_and_the_rest_stays(api: Api) -> None:
    body = {"legal_name": "Acme GmbH", "country": "de", "metadata": {"crm": "42"}}
    reply = api.patch("organizations/acme", body)
    assert reply.status_code == 200
    changed = reply.json()
    assert (changed["legal_name"], changed["country"]) == ("Acme GmbH", "DE")
    assert (changed["name"], changed["metadata"]) == ("Acme", {"crm": "42"})
    assert api.get("organizations/acme").json() == changed


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"currency": "EUR"}, "/currency"),
        ({"slug": "other"}, "/slug"),
        ({"is_staff": True}, "/is_staff"),
        ({"billing_entity": 2}, "/billing_entity"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"metadata": {"k" * 41: "v"}}, "/metadata/0"),
        ({"metadata": []}, "/metadata"),
        ({"name": None}, "/name"),
    ],
)
def test_what_may_not_change_is_refused_with_its_place(
    api: Api, body: dict[str, object], pointer: str
) -> None:
    before = api.get("organizations/acme").json()
    problem = api.patch("organizations/acme", body).json()
    assert problem["status"] == 400
    assert problem["errors"][0]["pointer"].startswith(pointer.rsplit("/0", 1)[0])
    assert api.get("organizations/acme").json() == before


def test_upcoming_invoices_of_an_organization(api: Api, world: World) -> None:
    listed = api.get("organizations/acme/upcoming-invoices").json()["data"]
    assert [one["subscription"] for one in listed] == [world.subscription.public_id]
    assert listed[0]["total"] == 51_51


def test_where_a_customer_is_and_its_tax_id_are_told(api: Api) -> None:
    body = {"country": "de", "tax_id": "DE 136 695 976", "city": "Berlin", "postcode": "10117"}
    changed = api.patch("organizations/acme", body).json()
    assert (changed["city"], changed["postcode"], changed["region"]) == ("Berlin", "10117", "")
    assert changed["tax_id_status"] == "valid_format"
    assert changed["tax_id_checked_at"] == "2023-12-10T12:00:00Z"
    assert api.patch("organizations/acme", {"country": "FR"}).json()["tax_id_status"] == "invalid"


TERMS: dict[str, Any] = {
    "billing_entity": "default",
    "parent": "globex",
    "tax_exemption": "exempt",
    "tax_exemption_reason": "VATEX-EU-132",
    "invoice_grouping": "consolidated",
    "invoice_hold": True,
}


def test_the_platform_sets_how_a_customer_is_billed(
    platform: Api, api: Api, stranger: World
) -> None:
    reply = platform.patch("organizations/acme", {**TERMS, "city": "Berlin"})
    assert reply.status_code == 200
    made = reply.json()
    payer = stranger.organization.public_id
    assert {key: made[key] for key in TERMS} == {**TERMS, "parent": payer}
    assert made["city"] == "Berlin"
    seen = api.get("organizations/acme").json()
    assert seen == {**made, "parent": None}  # others are none of its business
    assert platform.patch("organizations/acme", {"parent": ""}).json()["parent"] is None


@pytest.mark.parametrize("term", sorted(TERMS))
def test_a_customer_changes_no_terms(api: Api, stranger: World, term: str) -> None:
    before = api.get("organizations/acme").json()
    reply = api.patch("organizations/acme", {term: TERMS[term], "city": "Berlin"})
    assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")
    assert api.get("organizations/acme").json() == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"parent": "acme"}, 409, "payer_ring"),
        ({"parent": "nobody"}, 404, "not_found"),
        ({"billing_entity": "nobody"}, 404, "not_found"),
        ({"tax_exemption": "always"}, 400, "invalid_request"),
        ({"invoice_hold": "yes"}, 400, "invalid_request"),
        ({"invoice_hold": True, "email": "nobody"}, 400, "invalid"),
    ],
)
def test_terms_that_cannot_be_are_refused_whole(
    platform: Api, body: dict[str, object], status: int, code: str
) -> None:
    before = platform.get("organizations/acme").json()
    problem = platform.patch("organizations/acme", body).json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert platform.get("organizations/acme").json() == before
