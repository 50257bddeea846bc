from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.tenants import selectors, services
from apps.tenants.models import ApiKey, Invitation, Membership, Organization
from tests.conftest import STAFF
from tests.portal import world
from tests.portal.conftest import signed_in
from tests.portal.test_money_pages import plain
from tests.portal.world import Customer


@pytest.fixture
def owner(acme: Customer) -> Client:
    return signed_in(acme.owner)


def roles_of(customer: Customer) -> dict[str, str]:
    with rls.tenant_scope(customer.organization.pk):
        rows = Membership.objects.select_related("user")
        return {row.user.email: row.role for row in rows}


def membership(customer: Customer, role: str) -> str:
    with rls.tenant_scope(customer.organization.pk):
        return Membership.objects.get(user=customer.users[role]).public_id


def invite(customer: Customer, email: str = "new@acme.example", role: str = "MEMBER") -> str:
    """Invite somebody and return the link's path."""
    with rls.tenant_scope(customer.organization.pk):
        actor = selectors.member_actor(customer.owner, selectors.belongings(customer.owner.pk)[0])
        row = services.invite_member(
            customer.organization.pk, email=email, role=role, actor=actor, at=world.NOW
        )
    return f"/portal/invitations/{selectors.invitation_token(row)}/"


def test_a_new_person_joins_with_a_name_and_a_password(acme: Customer) -> None:
    path, visitor = invite(acme), Client()
    assert "new@acme.example is invited as Member." in plain(visitor.get(path).content)
    response = visitor.post(path, {"name": "New Person", "password": world.PASSWORD})
    assert response["Location"] == "/portal/"
    assert "New Person" not in plain(visitor.get("/portal/").content)
    assert roles_of(acme)["new@acme.example"] == "MEMBER"
    assert visitor.get(path).status_code == 410  # a link works once


def test_a_weak_password_is_refused_and_nobody_joins(acme: Customer) -> None:
    path = invite(acme)
    response = Client().post(path, {"name": "New", "password": "short"})
    assert response.status_code == 422
    assert "at least 10 characters" in plain(response.content)
    assert "new@acme.example" not in roles_of(acme)


def test_a_person_with_an_account_signs_in_first_and_then_joins(
    acme: Customer, stranger: Customer
) -> None:
    path = invite(acme, stranger.owner.email)
    refused = Client().post(path, {"name": "X", "password": world.PASSWORD})
    assert "There is an account for this e-mail already; sign in with it." in plain(refused.content)
    client = signed_in(stranger.owner)
    assert client.post(path)["Location"] == "/portal/"
    assert roles_of(acme)[stranger.owner.email] == "MEMBER"
    assert "Acme" in plain(client.get("/portal/").content)  # the one just joined is chosen


def test_somebody_elses_invitation_cannot_be_taken_up(acme: Customer, stranger: Customer) -> None:
    path = invite(acme)
    response = signed_in(stranger.owner).post(path)
    assert response.status_code == 422
    assert stranger.owner.email not in roles_of(acme)


@pytest.mark.parametrize("broken", ["expired", "revoked", "forged"])
def test_an_invitation_that_is_over_says_so(acme: Customer, owner: Client, broken: str) -> None:
    path = invite(acme)
    if broken == "revoked":
        with rls.tenant_scope(acme.organization.pk):
            row = Invitation.objects.get()
        owner.post(f"/portal/team/invitations/{row.public_id}/revoke/")
    path = path[:-2] + "x/" if broken == "forged" else path
    later = timedelta(days=8) if broken == "expired" else timedelta()
    with clock.frozen(world.NOW + later):
        response = Client().get(path)
    assert response.status_code == 410
    assert "This invitation is over" in plain(response.content)


def test_inviting_shows_the_open_invitation_and_never_its_link(owner: Client) -> None:
    response = owner.post(
        "/portal/team/", {"email": "a@acme.example", "role": "ADMIN"}, follow=True
    )
    page = response.content.decode()
    assert "a@acme.example is invited." in plain(response.content)
    assert "/portal/invitations/" not in page


def test_an_admin_offers_no_more_than_the_role_admin(acme: Customer) -> None:
    client = signed_in(acme.users["ADMIN"])
    form = client.get("/portal/team/").content.decode()
    assert 'value="OWNER"' not in form
    response = client.post("/portal/team/", {"email": "x@acme.example", "role": "OWNER"})
    assert response.status_code == 422
    with rls.tenant_scope(acme.organization.pk):
        assert not Invitation.objects.exists()


def test_roles_are_changed_and_members_removed_by_owners_only(
    acme: Customer, owner: Client
) -> None:
    member = membership(acme, "MEMBER")
    for role in ("BILLING_ADMIN", "ADMIN"):
        client = signed_in(acme.users[role])
        assert client.post(f"/portal/team/{member}/remove/").status_code == 403
    owner.post(f"/portal/team/{member}/role/", {"role": "ADMIN"})
    assert roles_of(acme)["member@acme.example"] == "ADMIN"
    owner.post(f"/portal/team/{member}/remove/")
    assert "member@acme.example" not in roles_of(acme)


@pytest.mark.parametrize("path", ["role", "remove"])
def test_the_last_owner_stays(acme: Customer, owner: Client, path: str) -> None:
    mine = membership(acme, "OWNER")
    response = owner.post(f"/portal/team/{mine}/{path}/", {"role": "MEMBER"}, follow=True)
    assert "keeps at least one owner" in plain(response.content)
    assert roles_of(acme)["owner@acme.example"] == "OWNER"


def test_a_key_is_shown_once_and_stops_when_revoked(acme: Customer, owner: Client) -> None:
    made = owner.post("/portal/developers/", {"name": "ci", "scopes": ["usage:write"]})
    found = re.search(r"bk_test_[0-9a-z]{44}", made.content.decode())
    assert found is not None
    assert made["Cache-Control"] == "private, no-store"
    assert found.group() not in owner.get("/portal/developers/").content.decode()
    holder = selectors.key_holder(found.group())
    assert holder is not None
    assert holder.is_good(world.NOW)
    with rls.tenant_scope(acme.organization.pk):
        key = ApiKey.objects.get()
    owner.post(f"/portal/developers/{key.public_id}/revoke/")
    holder = selectors.key_holder(found.group())
    assert holder is not None
    assert not holder.is_good(world.NOW)


def test_a_key_is_rotated_and_its_heir_shown_once(acme: Customer, owner: Client) -> None:
    made = owner.post("/portal/developers/", {"name": "ci", "scopes": ["usage:write"]})
    with rls.tenant_scope(acme.organization.pk):
        key = ApiKey.objects.get()
    shown = owner.post(f"/portal/developers/{key.public_id}/rotate/")
    old, new = (re.search(r"bk_test_[0-9a-z]{44}", page.content.decode()) for page in (made, shown))
    assert old is not None
    assert new is not None
    assert new.group() != old.group()
    with rls.tenant_scope(acme.organization.pk):
        key.refresh_from_db()
    assert key.expires_at == world.NOW + timedelta(hours=24)
    owner.post(f"/portal/developers/{key.public_id}/revoke/")
    again = owner.post(f"/portal/developers/{key.public_id}/rotate/", follow=True)
    assert "works no longer" in plain(again.content)


def test_an_owner_hands_over_and_keeps_the_billing(acme: Customer, owner: Client) -> None:
    heir = membership(acme, "MEMBER")
    answer = owner.post(f"/portal/team/{heir}/transfer/", follow=True)
    assert "has a new owner" in plain(answer.content)
    assert roles_of(acme)["owner@acme.example"] == "BILLING_ADMIN"
    assert sorted(roles_of(acme).values()).count("OWNER") == 1


def test_an_invitation_is_sent_again(acme: Customer, owner: Client) -> None:
    owner.post("/portal/team/", {"email": "new@x.example", "role": "MEMBER"})
    with rls.tenant_scope(acme.organization.pk):
        first = Invitation.objects.get(revoked_at=None)
    owner.post(f"/portal/team/invitations/{first.public_id}/resend/")
    with rls.tenant_scope(acme.organization.pk):
        second = Invitation.objects.get(revoked_at=None)
    assert second.email == first.email
    assert second.pk != first.pk


@pytest.mark.parametrize("scopes", [[], ["organizations:write"], ["everything"]])
def test_a_key_for_nothing_or_for_the_platform_is_not_made(
    acme: Customer, owner: Client, scopes: list[str]
) -> None:
    response = owner.post("/portal/developers/", {"name": "x", "scopes": scopes})
    assert response.status_code == 422
    with rls.tenant_scope(acme.organization.pk):
        assert not ApiKey.objects.exists()


DETAILS = {
    "name": "Acme",
    "legal_name": "Acme GmbH",
    "email": "pay@acme.example",
    "address": "Hauptstr. 1",
    "postcode": "10115",
    "city": "Berlin",
    "region": "BE",
    "country": "DE",
    "tax_id": "DE123456789",
    "timezone": "Europe/Berlin",
    "locale": "de",
}


def test_the_details_are_saved_and_reach_the_next_invoice(acme: Customer, owner: Client) -> None:
    assert owner.post("/portal/details/", DETAILS).status_code == 302
    with rls.tenant_scope(acme.organization.pk):
        row = Organization.objects.get()
    assert {name: getattr(row, name) for name in DETAILS} == DETAILS


@pytest.mark.parametrize(
    ("country", "tax_id", "said"),
    [
        ("DE", "DE136695976", "This is well-formed."),
        ("DE", "DE136695978", "The check digits do not agree"),
        ("DE", "FR40303265045", "This is another country's id."),
        ("FR", "none", "This is no tax id of the country"),
        ("US", "12-3456789", ""),
        ("ZZ", "DE136695976", ""),
    ],
)
def test_a_tax_id_is_judged_while_it_is_typed(
    acme: Customer, owner: Client, country: str, tax_id: str, said: str
) -> None:
    asked = {"country": country, "tax_id": tax_id}
    answer = owner.get("/portal/details/tax-id/", asked).content.decode()
    assert answer.startswith(said)
    assert bool(answer) == bool(said)


def test_a_wrong_tax_id_is_kept_and_pointed_out(acme: Customer, owner: Client) -> None:
    wrong = {**DETAILS, "tax_id": "DE136695978", "locale": "en"}
    assert owner.post("/portal/details/", wrong).status_code == 302
    assert "The check digits do not agree" in owner.get("/portal/details/").content.decode()


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("verified", "The register confirms this id."),
        ("unreachable", "the register has not answered yet"),
        ("invalid", "The register does not know this id."),
    ],
)
def test_the_page_says_what_the_register_said(
    acme: Customer, owner: Client, status: str, said: str
) -> None:
    with rls.ops_scope("test: what the register said"):
        Organization.objects.update(
            country="DE", tax_id="DE136695976", tax_id_status=status, locale="en"
        )
    assert said in owner.get("/portal/details/").content.decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [("country", "ZZ"), ("timezone", "Mars/Base"), ("email", "nobody"), ("name", "")],
)
def test_malformed_details_are_refused_at_their_field(
    acme: Customer, owner: Client, field: str, value: str
) -> None:
    response = owner.post("/portal/details/", {**DETAILS, field: value})
    assert response.status_code == 422
    assert f'id="id_{field}_error"' in response.content.decode()
    with rls.tenant_scope(acme.organization.pk):
        assert Organization.objects.get().legal_name == ""


def test_the_activity_names_people_and_what_they_changed(acme: Customer, owner: Client) -> None:
    member = membership(acme, "MEMBER")
    owner.post(f"/portal/team/{member}/role/", {"role": "ADMIN"})
    page = plain(owner.get("/portal/activity/").content)
    assert "Changed a role · Owner of Acme" in page
    assert "Role: Member → Admin" in page


def test_names_are_shown_as_text(acme: Customer, owner: Client) -> None:
    with rls.ops_scope("test: a hostile name"):
        services.update_organization(
            acme.organization.pk,
            changes={"name": "<script>alert(1)</script>"},
            actor=STAFF,
            at=world.NOW,
        )
    assert "<script>alert" not in owner.get("/portal/").content.decode()


def test_the_activity_writes_amounts_as_money_and_names_plans(acme: Customer) -> None:
    page = plain(signed_in(acme.owner).get("/portal/activity/").content)
    assert "Amount: $50.00" in page
    assert "Plan: AI Gateway · Gateway" in page
    assert "currency:" not in page


def test_refusals_speak_german_and_name_no_ids(acme: Customer) -> None:
    with rls.tenant_scope(acme.organization.pk):
        services.update_organization(
            acme.organization.pk, changes={"locale": "de"}, actor=STAFF, at=world.NOW
        )
    assert acme.subscription is not None
    client = signed_in(acme.owner)
    client.post(f"/portal/plan/{acme.subscription.public_id}/resume/")
    said = plain(client.get("/portal/plan/").content)
    assert "Nur ein ruhendes Abonnement kann fortgesetzt werden." in said
    refused = plain(client.post("/portal/plan/subscribe/gateway/", {"quantity": "5"}).content)
    assert "Sie haben für diese Anwendung schon einen Tarif" in refused
    assert "sub_" not in refused.split("Überspringen")[-1].split("schon einen Tarif")[0]


def test_a_form_without_its_token_is_refused_in_the_readers_language(db: None) -> None:
    client = Client(enforce_csrf_checks=True, headers={"accept-language": "de"})
    refused = client.post("/portal/login/", {"username": "x", "password": "y"})
    assert refused.status_code == 403
    assert "Gehen Sie zurück" in plain(refused.content)
