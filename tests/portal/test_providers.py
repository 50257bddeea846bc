"""Signing in by another provider: who is matched, who is not, and what no attempt can do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from django.conf import LazySettings
from django.test import Client

from apps.core import clock, rls
from apps.tenants import securing, services
from apps.tenants.models import Organization, User
from tests.conftest import STAFF
from tests.portal import people, world
from tests.portal.people import is_in, mails, sign_in
from tests.portal.test_money_pages import plain
from tests.portal.test_people_pages import invite, roles_of
from tests.portal.world import Customer
from tests.provider import CLIENT, SECRET, Provider

LEAVE = "/portal/login/with/oidc/"
BACK = "/portal/login/with/oidc/back/"


@pytest.fixture
def acme(db: None) -> Iterator[Customer]:
    """A customer with four people and nothing bought, at noon of 10 December 2023."""
    people.forget_attempts()
    with clock.frozen(world.NOW):
        yield world.make_customer(plan="")


@pytest.fixture
def provider(acme: Customer, settings: LazySettings) -> Iterator[Provider]:
    """A provider that is configured here."""
    with Provider().serving() as found:
        settings.LOGIN_PROVIDERS = [found.settings()]
        yield found


def come_by(
    provider: Provider,
    email: str,
    *,
    verified: object = True,
    client: Client | None = None,
    uid: str = "p-1",
    **form: str,
) -> tuple[Client, Any]:
    """Sign somebody in at the provider, and send them back here."""
    client = client or Client()
    sent = client.post(LEAVE, form)["Location"]
    claims = {"sub": uid, "email": email, "email_verified": verified, "name": "Pat Lee"}
    return client, client.get(BACK + provider.sign_in(sent, **claims))


def verified(user: User, *, at: object) -> None:
    with rls.ops_scope("test: an address"):
        User.objects.filter(pk=user.pk).update(email_verified_at=at)


def connections(user: User) -> int:
    with rls.ops_scope("test: connections"):
        return len(securing.security(user.pk).connections)


def test_buttons_appear_where_a_provider_is_configured(
    provider: Provider, settings: LazySettings
) -> None:
    assert "Continue with Single sign-on" in plain(Client().get("/portal/login/").content)
    settings.LOGIN_PROVIDERS = []
    assert "Continue with" not in plain(Client().get("/portal/login/").content)
    assert Client().post(LEAVE).status_code == 404


def test_an_address_verified_on_both_sides_signs_in_and_is_connected(
    acme: Customer, provider: Provider
) -> None:
    client, reply = come_by(provider, "Owner@ACME.example", next="/portal/team/")
    assert reply["Location"] == "/portal/team/"
    assert is_in(client)
    assert connections(acme.owner) == 1
    assert any("An account at another provider was connected." in text for text in mails())
    # From now on the account counts, whatever address it has.
    again, _ = come_by(provider, "elsewhere@x.example", verified=False)
    assert is_in(again)
    assert connections(acme.owner) == 1


@pytest.mark.parametrize("claim", [False, None, "false", "true", 1])
def test_an_address_that_the_provider_has_not_verified_opens_nothing(
    acme: Customer, provider: Provider, claim: object
) -> None:
    client, reply = come_by(provider, acme.owner.email, verified=claim)
    assert reply["Location"] == "/portal/login/"
    assert "has not verified your e-mail address" in plain(client.get("/portal/login/").content)
    assert not is_in(client)
    assert connections(acme.owner) == 0


def test_an_address_that_is_not_proved_here_opens_nothing(
    acme: Customer, provider: Provider
) -> None:
    """Or who signs up with a stranger's address waits for the stranger to come by a provider."""
    verified(acme.owner, at=None)
    client, _ = come_by(provider, acme.owner.email)
    assert not is_in(client)
    assert connections(acme.owner) == 0


def test_staff_are_never_matched_by_an_address(acme: Customer, provider: Provider) -> None:
    with rls.ops_scope("test: staff"):
        staff = services.create_user(
            "boss@house.example",
            password=world.PASSWORD,
            groups=["Admin"],
            actor=STAFF,
            at=world.NOW,
        )
    client, _ = come_by(provider, staff.email)
    assert not is_in(client)
    inside = sign_in(staff.email)
    come_by(provider, "other@house.example", client=inside)
    assert connections(staff) == 1
    assert is_in(come_by(provider, "other@house.example")[0])


def test_the_second_factor_is_asked_for_all_the_same(acme: Customer, provider: Provider) -> None:
    secret, _ = people.with_app(acme.owner)
    client, reply = come_by(provider, acme.owner.email)
    assert reply["Location"] == "/portal/login/second/"
    assert not is_in(client)
    with clock.frozen(world.NOW + timedelta(minutes=2)):
        client.post("/portal/login/second/", {"code": people.code_at(secret)})
        assert is_in(client)


def test_who_is_switched_off_stays_out(acme: Customer, provider: Provider) -> None:
    come_by(provider, acme.owner.email)
    with rls.ops_scope("test: switched off"):
        User.objects.filter(pk=acme.owner.pk).update(is_active=False)
    assert not is_in(come_by(provider, acme.owner.email)[0])


def test_nobody_new_gets_an_organization_without_asking_for_it(
    acme: Customer, provider: Provider
) -> None:
    client, reply = come_by(provider, "pat@hooli.example")
    assert reply["Location"] == "/portal/sign-up/with/"
    with rls.ops_scope("test: nothing yet"):
        assert not User.objects.filter(email="pat@hooli.example").exists()
        assert Organization.objects.count() == 1
    assert "Pat Lee" in client.get("/portal/sign-up/with/").content.decode()
    form = {"name": "Pat", "organization": "Hooli", "country": "US", "currency": "USD"}
    assert client.post("/portal/sign-up/with/", form)["Location"] == "/portal/"
    assert "Hooli" in plain(client.get("/portal/").content)
    with rls.ops_scope("test: the account"):
        pat = User.objects.get(email="pat@hooli.example")
    assert pat.email_verified_at == world.NOW
    assert not pat.has_usable_password()
    assert is_in(come_by(provider, "pat@hooli.example")[0])


def test_where_nobody_signs_up_who_is_new_is_turned_away(
    acme: Customer, provider: Provider, settings: LazySettings
) -> None:
    settings.ENABLE_REGISTRATION = False
    client, reply = come_by(provider, "pat@hooli.example")
    assert client.get(reply["Location"])["Location"] == "/portal/login/"
    assert not is_in(client)


def test_an_invitation_is_taken_up_by_a_provider(acme: Customer, provider: Provider) -> None:
    path = invite(acme)
    token = path.split("/")[-2]
    client, reply = come_by(provider, "new@acme.example", invitation=token, next=path)
    assert reply["Location"] == "/portal/"
    assert roles_of(acme)["new@acme.example"] == "MEMBER"
    assert is_in(client)
    assert client.get(path).status_code == 410


@pytest.mark.parametrize(("email", "is_verified"), [("x@x.example", True), ("new@acme.example", 0)])
def test_an_invitation_is_for_its_very_address_and_a_verified_one(
    acme: Customer, provider: Provider, email: str, is_verified: object
) -> None:
    path = invite(acme)
    token = path.split("/")[-2]
    client, _ = come_by(provider, email, verified=is_verified, invitation=token, next=path)
    assert not is_in(client)
    assert email not in roles_of(acme)


def test_an_account_is_connected_and_disconnected_on_the_security_page(
    acme: Customer, provider: Provider
) -> None:
    client = sign_in(acme.owner.email)
    come_by(provider, "private@mail.example", verified=False, client=client)
    page = client.get("/portal/security/").content.decode()
    assert "private@mail.example" in page
    with rls.ops_scope("test: the connection"):
        [one] = securing.security(acme.owner.pk).connections
    other = sign_in(acme.users["MEMBER"].email)
    come_by(provider, "private@mail.example", client=other)
    assert connections(acme.users["MEMBER"]) == 0
    assert other.post(f"/portal/security/accounts/{one.id}/remove/").status_code == 404
    client.post(f"/portal/security/accounts/{one.id}/remove/")
    assert connections(acme.owner) == 0


@pytest.mark.parametrize("attack", ["state", "nonce", "audience", "issuer", "subject", "expired"])
def test_an_answer_that_was_made_up_signs_nobody_in(
    acme: Customer, provider: Provider, attack: str
) -> None:
    changes: dict[str, dict[str, Any]] = {
        "nonce": {"nonce": "another"},
        "audience": {"aud": "somebody-else"},
        "issuer": {"iss": "https://evil.example"},
        "expired": {"exp": 1_600_000_000},
    }
    provider.token_changes = changes.get(attack, {})
    provider.info_changes = {"sub": "victim"} if attack == "subject" else {}
    client = Client()
    sent = client.post(LEAVE)["Location"]
    claims = {"sub": "p-1", "email": acme.owner.email, "email_verified": True}
    query = provider.sign_in(sent, **claims)
    # An answer of the attacker's own attempt, slipped to another browser.
    here = Client() if attack == "state" else client
    assert here.get(BACK + query)["Location"] == "/portal/login/"
    assert not is_in(here)
    assert connections(acme.owner) == 0


def test_an_answer_works_once(acme: Customer, provider: Provider) -> None:
    client = Client()
    sent = client.post(LEAVE)["Location"]
    claims = {"sub": "p-1", "email": acme.owner.email, "email_verified": True}
    query = provider.sign_in(sent, **claims)
    client.get(BACK + query)
    client.post("/portal/logout/")
    assert client.get(BACK + query)["Location"] == "/portal/login/"
    assert not is_in(client)


def test_a_provider_that_is_away_says_so(acme: Customer, provider: Provider) -> None:
    client = Client()
    sent = client.post(LEAVE)["Location"]
    query = provider.sign_in(sent, sub="p-1")
    provider.url = "http://127.0.0.1:9"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(provider.codes, "code-0", ("another", {}))
        assert client.get(BACK + query)["Location"] == "/portal/login/"
    assert "could not be reached" in plain(client.get("/portal/login/").content)


def test_signing_in_elsewhere_leads_nowhere_else(acme: Customer, provider: Provider) -> None:
    _, reply = come_by(provider, acme.owner.email, next="https://evil.example/")
    assert reply["Location"] == "/portal/"


@pytest.fixture
def github(provider: Provider, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Provider:
    """GitHub, which is no issuer of OpenID Connect: it tells addresses by a question of its own."""
    settings.LOGIN_PROVIDERS = [
        {
            "provider": "github",
            "provider_id": "github",
            "name": "GitHub",
            "client_id": CLIENT,
            "secret": SECRET,
            "settings": {"oauth_pkce_enabled": True},
        }
    ]
    pages = {
        "access_token_url": "/token",
        "authorize_url": "/authorize",
        "profile_url": "/user",
        "emails_url": "/user/emails",
    }
    for name, page in pages.items():
        monkeypatch.setattr(GitHubOAuth2Adapter, name, provider.url + page)
    return provider


@pytest.mark.parametrize("is_verified", [True, False])
def test_github_signs_in_by_a_verified_address(
    acme: Customer, github: Provider, is_verified: bool
) -> None:
    github.tell_github(is_verified, acme.owner.email)
    client = Client()
    sent = client.post("/portal/login/with/github/")["Location"]
    client.get("/portal/login/with/github/back/" + github.sign_in(sent))
    assert is_in(client) == is_verified
    assert connections(acme.owner) == int(is_verified)
