"""Signing up, showing that an address is theirs, passwords that were forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.tenants import services
from apps.tenants.models import ApiSession, Organization, User
from tests.conftest import STAFF
from tests.portal import people, world
from tests.portal.conftest import signed_in
from tests.portal.people import is_in, link_in, mails, sign_in
from tests.portal.test_money_pages import plain
from tests.portal.world import Customer

ANN = {
    "name": "Ann",
    "organization": "Pied Piper",
    "country": "DE",
    "currency": "EUR",
    "email": "ann@piper.example",
    "password": "correct horse battery",
}


@pytest.fixture
def acme(db: None) -> Iterator[Customer]:
    """A customer with four people and nothing bought, at noon of 10 December 2023."""
    people.forget_attempts()
    with clock.frozen(world.NOW):
        yield world.make_customer(plan="")


def user_of(email: str) -> User | None:
    with rls.ops_scope("test: a user"):
        return User.objects.filter(email=email).first()


def counted() -> tuple[int, int]:
    with rls.ops_scope("test: count"):
        return User.objects.count(), Organization.objects.count()


# --- sign up --------------------------------------------------------------------------------------
def test_who_signs_up_confirms_the_address_and_owns_an_organization(acme: Customer) -> None:
    client = Client()
    assert "ann@piper.example" in plain(client.post("/portal/sign-up/", ANN).content)
    assert not is_in(client)
    [text] = mails()
    assert text.startswith("ann@piper.example\n")
    link = link_in(text)
    assert unquote(client.get(link)["Location"]) == f"/portal/login/?next={link}"
    answers = {"username": ANN["email"], "password": ANN["password"], "next": link}
    assert client.post("/portal/login/", answers)["Location"] == link
    ann = user_of("ann@piper.example")
    assert ann is not None
    assert ann.email_verified_at is None
    assert client.get(link).status_code == 200  # a program that follows links confirms nothing
    assert "Confirm that ann@piper.example is yours" in plain(client.get("/portal/").content)
    client.post(link)
    ann.refresh_from_db()
    assert ann.email_verified_at == world.NOW
    page = plain(client.get("/portal/").content)
    assert "Pied Piper" in page
    assert "Confirm that" not in page
    with rls.ops_scope("test: the organization"):
        made = Organization.objects.get(slug="pied-piper")
    assert (made.currency, made.country) == ("EUR", "DE")


def test_a_known_address_looks_like_a_new_one_and_its_owner_is_told(acme: Customer) -> None:
    taken = {**ANN, "email": acme.owner.email}
    before = counted()
    known = Client().post("/portal/sign-up/", taken)
    assert counted() == before
    [text] = mails()
    assert "there is one already" in text
    new = Client().post("/portal/sign-up/", ANN)
    as_new = plain(new.content).replace("ann@piper.example", acme.owner.email)
    assert (known.status_code, plain(known.content)) == (new.status_code, as_new)


@pytest.mark.parametrize(
    "change", [{"password": "password12"}, {"email": "ann"}, {"country": "XX"}]
)
def test_a_sign_up_that_is_refused_leaves_nothing(acme: Customer, change: dict[str, str]) -> None:
    before = counted()
    assert Client().post("/portal/sign-up/", {**ANN, **change}).status_code == 422
    assert counted() == before
    assert mails() == []


def test_nobody_signs_up_where_it_is_off(acme: Customer, settings: Any) -> None:
    settings.ENABLE_REGISTRATION = False
    before = counted()
    assert "/portal/sign-up/" not in Client().get("/portal/login/").content.decode()
    assert Client().post("/portal/sign-up/", ANN).status_code == 404
    assert counted() == before


def test_the_link_confirms_nothing_for_anybody_else(acme: Customer) -> None:
    """Who made the account with a stranger's address is not helped by the stranger's click."""
    Client().post("/portal/sign-up/", ANN)
    [text] = mails()
    stranger = signed_in(acme.owner)
    assert stranger.get(link_in(text)).status_code == 410
    assert stranger.post(link_in(text)).status_code == 410
    ann = user_of("ann@piper.example")
    assert ann is not None
    assert ann.email_verified_at is None


def test_a_link_of_last_week_is_over(acme: Customer) -> None:
    Client().post("/portal/sign-up/", ANN)
    [text] = mails()
    with clock.frozen(world.NOW + timedelta(days=4)):
        client = sign_in(ANN["email"], password=ANN["password"])
        assert client.post(link_in(text)).status_code == 410


def test_the_mail_is_sent_again_a_few_times(acme: Customer) -> None:
    Client().post("/portal/sign-up/", ANN)
    client = sign_in(ANN["email"], password=ANN["password"])
    mails()
    for _ in range(7):
        client.post("/portal/security/address/again/")
    assert len(mails()) == 5


def test_an_unconfirmed_account_protects_nothing_for_whoever_made_it(acme: Customer) -> None:
    Client().post("/portal/sign-up/", ANN)
    client = sign_in(ANN["email"], password=ANN["password"])
    page = client.get("/portal/security/authenticator/").content.decode()
    secret = page.split('class="secret"><code>')[1].split("</code>")[0].replace(" ", "")
    refused = client.post("/portal/security/authenticator/", {"code": people.code_at(secret)})
    assert refused.status_code == 422
    assert "Confirm your e-mail address first." in plain(refused.content)


# --- another address ------------------------------------------------------------------------------
def test_another_address_counts_once_it_is_confirmed(acme: Customer) -> None:
    client, old = sign_in(acme.owner.email), acme.owner.email
    client.post("/portal/security/address/", {"email": "New@acme.example"})
    acme.owner.refresh_from_db()
    assert acme.owner.email == old
    told, asked = sorted(mails(), key=lambda text: text.startswith("new@acme.example"))
    assert told.startswith(old)
    assert client.post(link_in(asked))["Location"] == "/portal/security/"
    acme.owner.refresh_from_db()
    assert (acme.owner.email, acme.owner.email_wanted) == ("new@acme.example", "")
    assert not is_in(sign_in(old))
    assert is_in(sign_in("new@acme.example"))


def test_somebody_elses_address_cannot_be_had_and_looks_free(acme: Customer) -> None:
    client, theirs = sign_in(acme.owner.email), acme.users["MEMBER"].email
    free = client.post("/portal/security/address/", {"email": "free@acme.example"}, follow=True)
    taken = client.post("/portal/security/address/", {"email": theirs}, follow=True)
    assert plain(taken.content) == plain(free.content).replace("free@acme.example", theirs)
    assert all(text.startswith(acme.owner.email) for text in mails() if theirs not in text)
    acme.owner.refresh_from_db()
    assert acme.owner.email != theirs


# --- forgotten ------------------------------------------------------------------------------------
def forget(email: str) -> tuple[str, str]:
    """Ask for another password; return the page's words and the link that came, if any."""
    page = plain(Client().post("/portal/password/", {"email": email}).content)
    found = mails()
    return page, link_in(found[0]) if found else ""


def test_another_password_ends_every_session_and_works_once(acme: Customer) -> None:
    laptop = sign_in(acme.owner.email)
    with rls.ops_scope("test: a program"):
        program = services.sign_in(
            acme.owner.email, password=world.PASSWORD, address="192.0.2.1", at=world.NOW
        )
    _, link = forget(acme.owner.email)
    client = Client()
    assert client.get(link).status_code == 200
    assert client.post(link, {"password": "short"}).status_code == 422
    assert is_in(laptop)
    chosen = {"password": "another horse battery"}
    assert client.post(link, chosen)["Location"] == "/portal/login/"
    assert not is_in(client)  # the link signs nobody in
    assert not is_in(laptop)
    with rls.ops_scope("test: the program"):
        assert ApiSession.objects.get(pk=program.session.pk).revoked_at == world.NOW
    assert client.post(link, {"password": "third horse battery"}).status_code == 410
    assert not is_in(sign_in(acme.owner.email))
    assert is_in(sign_in(acme.owner.email, password=chosen["password"]))
    [told] = mails()
    assert "Your password was changed." in told


def test_who_is_unknown_gets_the_same_answer_and_no_mail(acme: Customer) -> None:
    page, link = forget(acme.owner.email)
    other, nothing = forget("nobody@acme.example")
    assert link
    assert nothing == ""
    assert page == other.replace("nobody@acme.example", acme.owner.email)


@pytest.mark.parametrize("by", ["time", "sign-in", "another password", "forgery"])
def test_a_reset_link_does_not_outlive_what_it_was_for(acme: Customer, by: str) -> None:
    _, link = forget(acme.owner.email)
    at = world.NOW + timedelta(minutes=61 if by == "time" else 1)
    with clock.frozen(at):
        if by == "sign-in":
            sign_in(acme.owner.email)
        if by == "another password":
            with rls.ops_scope("test: another password"):
                services.change_password(
                    acme.owner.public_id,
                    password="third horse battery",
                    actor=STAFF,
                    at=at,
                )
        if by == "forgery":
            link = link[:-3] + "xx/"
        assert Client().post(link, {"password": "another horse battery"}).status_code == 410
    assert not is_in(sign_in(acme.owner.email, password="another horse battery"))


def test_a_reset_by_mail_asks_for_the_second_factor_all_the_same(acme: Customer) -> None:
    people.with_app(acme.owner)
    mails()
    _, link = forget(acme.owner.email)
    Client().post(link, {"password": "another horse battery"})
    client = sign_in(acme.owner.email, password="another horse battery")
    assert not is_in(client)
    assert client.get("/portal/login/second/").status_code == 200


def test_asking_for_passwords_is_slowed_down(acme: Customer) -> None:
    for _ in range(8):
        Client().post("/portal/password/", {"email": acme.owner.email})
    assert len(mails()) == 5
