"""Licences in the portal: fetched, copied, revoked; installations seen and blocked."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.core import rls
from apps.licensing.models import Instance, License
from apps.usage import services as usage
from apps.usage.devices import NewReport
from tests.conftest import STAFF
from tests.portal.conftest import signed_in
from tests.portal.test_money_pages import text
from tests.portal.world import NOW, Customer

PAGE = "/portal/licences/"


@pytest.fixture
def owner(acme: Customer) -> Client:
    """The owner of a customer with fifty devices."""
    return signed_in(acme.owner)


def licences(customer: Customer) -> list[License]:
    with rls.tenant_scope(customer.organization.pk):
        return list(License.objects.all())


def test_a_licence_is_fetched_shown_and_downloaded(acme: Customer, owner: Client) -> None:
    assert "No licence" in text(owner, "licences/")
    assert owner.post(f"{PAGE}fetch/", {"instance": "plant-1"})["Location"] == PAGE
    [made] = licences(acme)
    shown = text(owner, "licences/")
    for said in (made.token, "maxDevices", "plant-1", "BEGIN PUBLIC KEY", "Good"):
        assert said in shown, said
    file = owner.get(f"{PAGE}{made.public_id}.jwt")
    assert (file["Content-Type"], file.content.decode()) == ("application/jwt", made.token)
    assert owner.post(f"{PAGE}fetch/", {"instance": "plant-1"}).status_code == 302
    assert len(licences(acme)) == 1  # it holds: no other is signed


def test_a_wrong_name_is_said_at_its_field(acme: Customer, owner: Client) -> None:
    answered = owner.post(f"{PAGE}fetch/", {"instance": "two words"})
    assert answered.status_code == 422
    assert "An instance is named by" in answered.content.decode()
    assert licences(acme) == []


def test_a_licence_is_revoked(acme: Customer, owner: Client) -> None:
    owner.post(f"{PAGE}fetch/", {})
    [made] = licences(acme)
    assert owner.post(f"{PAGE}{made.public_id}/revoke/").status_code == 302
    assert licences(acme)[0].revoked_at is not None
    assert "Revoked" in text(owner, "licences/")


def test_installations_show_their_devices_and_are_blocked(acme: Customer, owner: Client) -> None:
    owner.post(f"{PAGE}fetch/", {"instance": "plant-1"})
    with rls.ops_scope("test"):
        report = NewReport("plant-1", 42, 45)
        usage.report_devices(acme.organization.pk, report=report, actor=STAFF, at=NOW)
        row = Instance.objects.get()
    assert "42 / 50" in text(owner, "licences/")
    assert owner.post(f"{PAGE}instances/{row.public_id}/block/").status_code == 302
    assert "Blocked" in text(owner, "licences/")
    refused = owner.post(f"{PAGE}fetch/", {"instance": "plant-1"})
    assert (refused.status_code, len(licences(acme))) == (422, 1)
    assert owner.post(f"{PAGE}instances/{row.public_id}/unblock/").status_code == 302
    assert owner.post(f"{PAGE}fetch/", {"instance": "plant-1"}).status_code == 302


def test_another_customers_licence_is_not_there(
    acme: Customer, owner: Client, stranger: Customer
) -> None:
    owner.post(f"{PAGE}fetch/", {"instance": "plant-1"})
    [made] = licences(acme)
    theirs = signed_in(stranger.owner)
    with rls.tenant_scope(acme.organization.pk):
        instance = Instance.objects.get().public_id
    assert theirs.get(f"{PAGE}{made.public_id}.jwt").status_code == 404
    assert theirs.post(f"{PAGE}{made.public_id}/revoke/").status_code == 404
    assert theirs.post(f"{PAGE}instances/{instance}/block/").status_code == 404
    assert licences(acme)[0].revoked_at is None


def test_a_member_without_the_capability_fetches_nothing(acme: Customer, owner: Client) -> None:
    member = signed_in(acme.users["MEMBER"])
    assert member.get(PAGE).status_code == 403
    assert member.post(f"{PAGE}fetch/", {}).status_code == 403
    assert licences(acme) == []
