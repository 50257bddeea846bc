from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from apps.core import rls
from apps.portal import urls
from apps.portal.access import rule_of
from apps.subscriptions.models import Subscription
from apps.tenants import services as tenants
from apps.tenants.models import ApiKey, Membership
from tests.conftest import STAFF
from tests.portal import world
from tests.portal.conftest import signed_in
from tests.portal.world import Customer

OPEN = {
    "login", "logout", "choose", "theme", "invitation", "claim_seat", "second_factor",
    "passkey_question", "provider", "provider_back", "sign_up", "sign_up_with", "forgotten",
    "reset",
}  # fmt: skip
PERSONAL = {
    "security", "confirm", "password", "address", "prove_again", "prove", "authenticator",
    "remove_authenticator", "recovery_codes", "passkey", "remove_passkey", "disconnect",
    "end_session", "end_all_sessions",
}  # fmt: skip
PAGES = [
    "", "usage/", "alerts/", "plan/", "invoices/", "details/", "licences/", "team/", "developers/",
    "activity/", "seats/",
]  # fmt: skip
SEEN_BY = {
    "OWNER": set(PAGES),
    "BILLING_ADMIN": set(PAGES) - {"details/", "developers/"},
    "ADMIN": {"", "usage/", "licences/", "team/", "seats/"},
    "MEMBER": {"", "usage/"},
}


def test_every_page_says_who_may_see_it() -> None:
    for pattern in urls.urlpatterns:
        rule = rule_of(pattern.callback)
        assert rule.is_open == (pattern.name in OPEN), pattern.name
        assert rule.is_personal == (pattern.name in PERSONAL), pattern.name
        assert rule.is_open or rule.is_personal or rule.capability, pattern.name


def test_without_signing_in_every_closed_page_leads_to_the_sign_in(acme: Customer) -> None:
    for path in [*PAGES, "security/", "security/passkeys/"]:
        response = Client().get(f"/portal/{path}")
        assert response["Location"] == f"/portal/login/?next=/portal/{path}"


@pytest.mark.parametrize("role", SEEN_BY)
def test_each_role_sees_its_pages_and_is_told_who_may_see_the_others(
    acme: Customer, role: str
) -> None:
    client = signed_in(acme.users[role])
    for path in PAGES:
        response = client.get(f"/portal/{path}")
        assert response.status_code == (200 if path in SEEN_BY[role] else 403), path
        if response.status_code == 403:
            assert "Owner" in response.content.decode()


def test_a_member_sees_no_amounts(acme: Customer) -> None:
    client = signed_in(acme.users["MEMBER"])
    for path in ("", "usage/"):
        assert "$" not in client.get(f"/portal/{path}").content.decode()


def test_a_stranger_gets_the_same_404_as_for_what_does_not_exist(
    acme: Customer, stranger: Customer
) -> None:
    client = signed_in(stranger.owner)
    subscription, number = acme.subscription, "CH-000002"
    assert subscription is not None
    sub = subscription.public_id
    with rls.tenant_scope(acme.organization.pk):
        member = Membership.objects.get(role="MEMBER").public_id
    nobody = client.get("/portal/invoices/CH-999999/")
    assert nobody.status_code == 404
    for path in (
        f"invoices/{number}/",
        f"invoices/{number}/pdf/",
        f"invoices/upcoming/{sub}/",
        f"usage/{sub}/ai_requests.csv",
        f"plan/{sub}/seats/seats/",
        f"plan/{sub}/cancel/",
    ):
        response = client.get(f"/portal/{path}")
        assert (response.status_code, response.content) == (404, nobody.content), path
    for path in (
        f"plan/{sub}/seats/seats/",
        f"plan/{sub}/cancel/",
        f"plan/{sub}/keep/",
        f"plan/{sub}/resume/",
        f"team/{member}/role/",
        f"team/{member}/remove/",
    ):
        data = {"quantity": "9", "reason": "unused", "role": "OWNER"}
        response = client.post(f"/portal/{path}", data)
        assert (response.status_code, response.content) == (404, nobody.content), path
    with rls.tenant_scope(acme.organization.pk):
        assert Subscription.objects.get().cancel_at is None
        assert Membership.objects.get(public_id=member).role == "MEMBER"


def test_a_forbidden_request_changes_nothing(acme: Customer) -> None:
    assert acme.subscription is not None
    client = signed_in(acme.users["MEMBER"])
    key = {"name": "mine", "scopes": ["usage:write"]}
    assert client.post("/portal/developers/", key).status_code == 403
    path = f"/portal/plan/{acme.subscription.public_id}/cancel/"
    assert client.post(path, {"reason": "unused"}).status_code == 403
    with rls.tenant_scope(acme.organization.pk):
        assert not ApiKey.objects.exists()
        assert Subscription.objects.get().cancel_at is None


def test_sign_in_leads_where_the_visitor_wanted_to_go(acme: Customer) -> None:
    data = {"username": "Owner@ACME.example", "password": world.PASSWORD, "next": "/portal/team/"}
    response = Client().post("/portal/login/", data)
    assert (response.status_code, response["Location"]) == (302, "/portal/team/")


@pytest.mark.parametrize("next_page", ["https://evil.example/", "//evil.example", "javascript:x"])
def test_sign_in_leads_nowhere_else(acme: Customer, next_page: str) -> None:
    data = {"username": acme.owner.email, "password": world.PASSWORD, "next": next_page}
    assert Client().post("/portal/login/", data)["Location"] == "/portal/"


def test_a_wrong_password_and_an_unknown_person_look_the_same(acme: Customer) -> None:
    wrong = Client().post("/portal/login/", {"username": acme.owner.email, "password": "x"})
    nobody = Client().post("/portal/login/", {"username": "no@body.example", "password": "x"})
    assert _sentence(wrong.content) == _sentence(nobody.content)
    assert "_auth_user_id" not in wrong.wsgi_request.session


def _sentence(body: bytes) -> list[str]:
    return re.findall(r'role="alert".*?<p>(.*?)</p>', body.decode(), re.DOTALL)


def test_signing_out_takes_a_post(acme: Customer) -> None:
    client = signed_in(acme.owner)
    assert client.get("/portal/logout/").status_code == 405
    assert client.post("/portal/logout/")["Location"] == "/portal/login/"
    assert client.get("/portal/")["Location"].startswith("/portal/login/")


def test_who_belongs_to_two_organizations_chooses(acme: Customer, stranger: Customer) -> None:
    with rls.ops_scope("test: a second membership"):
        tenants.add_member(
            stranger.organization.pk,
            user_id=acme.owner.pk,
            role="MEMBER",
            actor=STAFF,
            at=world.NOW,
        )
    client = signed_in(acme.owner)
    assert client.get("/portal/")["Location"] == "/portal/choose/"
    client.post("/portal/choose/", {"organization": stranger.organization.public_id})
    page = client.get("/portal/").content.decode()
    assert "Globex" in page
    assert client.get("/portal/invoices/").status_code == 403  # a member there, an owner elsewhere


def test_an_organization_one_does_not_belong_to_cannot_be_chosen(
    acme: Customer, stranger: Customer
) -> None:
    client = signed_in(acme.owner)
    response = client.post("/portal/choose/", {"organization": stranger.organization.public_id})
    assert response.status_code == 200
    assert "Acme" in client.get("/portal/").content.decode()


def test_who_belongs_nowhere_is_told_so(acme: Customer) -> None:
    with rls.ops_scope("test: a loner"):
        loner = tenants.create_user(
            "loner@x.example", password=world.PASSWORD, actor=STAFF, at=world.NOW
        )
    client = signed_in(loner)
    assert "No organization yet" in client.get("/portal/", follow=True).content.decode()


def test_pages_are_not_kept_by_caches_and_run_no_foreign_code(acme: Customer) -> None:
    response = signed_in(acme.owner).get("/portal/")
    assert response["Cache-Control"] == "private, no-store"
    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son[a-z]+=", response.content.decode())


def test_the_theme_is_remembered_and_leads_back(acme: Customer) -> None:
    client = Client()
    response = client.post("/portal/theme/", {"theme": "dark", "next": "/portal/login/"})
    assert response["Location"] == "/portal/login/"
    assert 'data-theme="dark"' in client.get("/portal/login/").content.decode()
    elsewhere = client.post("/portal/theme/", {"theme": "dark", "next": "https://evil.example/"})
    assert elsewhere["Location"] == "/portal/"


def test_the_activity_can_be_hidden(acme: Customer, settings: pytest.FixtureRequest) -> None:
    settings.ENABLE_AUDIT_LOG = False  # type: ignore[attr-defined]
    client = signed_in(acme.owner)
    assert client.get("/portal/activity/").status_code == 404
    assert reverse("portal:activity") not in client.get("/portal/").content.decode()


def test_a_request_without_its_token_is_refused_on_a_page_of_ours(acme: Customer) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(acme.owner)
    response = client.post("/portal/developers/", {"name": "x", "scopes": ["usage:write"]})
    assert response.status_code == 403
    assert "This is not open to you" in response.content.decode()


def test_a_refusal_speaks_the_members_language(acme: Customer) -> None:
    with rls.tenant_scope(acme.organization.pk):
        changes = {"locale": "de"}
        tenants.update_organization(
            acme.organization.pk, changes=changes, actor=STAFF, at=world.NOW
        )
    page = signed_in(acme.users["MEMBER"]).get("/portal/plan/").content.decode()
    assert "Das steht Ihnen nicht offen" in page
    assert "Inhaber" in page
