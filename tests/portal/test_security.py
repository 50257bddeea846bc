"""The second factor, the sessions, and what protects an account."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.db import ProgrammingError
from django.test import Client

from apps.audit.models import AuditEntry
from apps.core import clock, rls
from apps.core.errors import DomainError
from apps.tenants import securing, services
from tests.conftest import STAFF
from tests.portal import people, world
from tests.portal.conftest import signed_in
from tests.portal.people import CODE, code_at, is_in, mails, sign_in, with_app
from tests.portal.test_money_pages import plain
from tests.portal.world import Customer

SECOND = "/portal/login/second/"
LATER = world.NOW + timedelta(minutes=2)  # when the app shows another code


@pytest.fixture
def acme(db: None) -> Iterator[Customer]:
    """A customer with four people and nothing bought, at noon of 10 December 2023."""
    people.forget_attempts()
    with clock.frozen(world.NOW):
        yield world.make_customer(plan="")


def acts() -> list[str]:
    with rls.ops_scope("test: the record"):
        rows = AuditEntry.objects.filter(action__startswith="user.").order_by("id")
        return list(rows.values_list("action", flat=True))


def secret_on(page: str) -> str:
    return page.split('class="secret"><code>')[1].split("</code>")[0].replace(" ", "")


# --- an authenticator app -------------------------------------------------------------------------
def test_an_app_is_set_up_by_a_code_and_asked_for_from_then_on(acme: Customer) -> None:
    client = sign_in(acme.owner.email)
    path = "/portal/security/authenticator/"
    secret = secret_on(client.get(path).content.decode())
    assert client.post(path, {"code": "000000"}).status_code == 422
    assert secret_on(client.get(path).content.decode()) == secret  # mistyping changes nothing
    made = client.post(path, {"code": code_at(secret)})
    codes = CODE.findall(made.content.decode().replace("<pre", "\n<pre").replace(">", ">\n"))
    assert len(codes) == 10
    assert "user.authenticator_added" in acts()
    assert any("An authenticator app was set up." in text for text in mails())
    with clock.frozen(LATER):
        other = sign_in(acme.owner.email)
        assert not is_in(other)
        assert other.post(SECOND, {"code": code_at(secret)})["Location"] == "/portal/"
        assert is_in(other)


def test_without_the_second_factor_nothing_opens(acme: Customer) -> None:
    with_app(acme.owner)
    client = sign_in(acme.owner.email)
    for path in ("/portal/", "/portal/team/", "/portal/security/", "/admin/"):
        assert "login" in client.get(path)["Location"], path
    assert "_auth_user_id" not in client.session


def test_a_code_counts_once(acme: Customer) -> None:
    secret, _ = with_app(acme.owner)
    used = code_at(secret)
    assert sign_in(acme.owner.email).post(SECOND, {"code": used}).status_code == 422
    with clock.frozen(LATER):
        again = code_at(secret)
        assert sign_in(acme.owner.email).post(SECOND, {"code": again}).status_code == 302
        assert sign_in(acme.owner.email).post(SECOND, {"code": again}).status_code == 422


def test_codes_of_clocks_that_differ_by_a_step_count_and_others_do_not(acme: Customer) -> None:
    secret, _ = with_app(acme.owner)
    with clock.frozen(world.NOW + timedelta(hours=1)):
        for seconds, status in ((-60, 422), (60, 422), (-30, 302), (30, 302)):
            code = code_at(secret, clock.now() + timedelta(seconds=seconds))
            reply = sign_in(acme.owner.email).post(SECOND, {"code": code})
            assert reply.status_code == status, seconds


def test_a_recovery_code_stands_in_once_and_is_told(acme: Customer) -> None:
    _, codes = with_app(acme.owner)
    mails()
    assert sign_in(acme.owner.email).post(SECOND, {"code": codes[3]}).status_code == 302
    assert sign_in(acme.owner.email).post(SECOND, {"code": codes[3]}).status_code == 422
    assert ["A recovery code was used." in text for text in mails()] == [True]


def test_guessing_codes_is_slowed_down_and_the_right_password_forgives_nothing(
    acme: Customer,
) -> None:
    secret, _ = with_app(acme.owner)
    people.forget_attempts()
    with clock.frozen(LATER):
        statuses = []
        for _ in range(6):
            client = sign_in(acme.owner.email)
            statuses.append(client.post(SECOND, {"code": "000000"}).status_code)
        assert statuses == [422] * 5 + [429]
        assert client.post(SECOND, {"code": code_at(secret)}).status_code == 429
        assert not is_in(client)


def test_a_day_has_no_more_than_fifty_guesses(acme: Customer) -> None:
    with_app(acme.owner)
    people.forget_attempts()
    refused: list[str] = []
    for window in range(11):
        at = world.NOW + timedelta(minutes=5 * window)
        for _ in range(5):
            with pytest.raises(DomainError) as refusal, rls.ops_scope("test: a guess"):
                services.use_code(acme.owner, code="000000", at=at)
            refused.append(refusal.value.code)
    assert refused == ["wrong_code"] * 50 + ["too_many_attempts"] * 5


def test_who_is_waited_for_is_forgotten_after_ten_minutes_and_by_another_password(
    acme: Customer,
) -> None:
    secret, _ = with_app(acme.owner)
    client, other = sign_in(acme.owner.email), sign_in(acme.owner.email)
    with clock.frozen(world.NOW + timedelta(minutes=11)):
        assert client.post(SECOND, {"code": code_at(secret)})["Location"] == "/portal/login/"
    with rls.ops_scope("test: another password"):
        services.change_password(
            acme.owner.public_id, password="another horse", actor=STAFF, at=world.NOW
        )
    with clock.frozen(LATER):
        assert other.post(SECOND, {"code": code_at(secret)})["Location"] == "/portal/login/"


def test_removing_the_last_factor_takes_the_recovery_codes_along(acme: Customer) -> None:
    _, codes = with_app(acme.owner)
    client = sign_in(acme.owner.email)
    client.post(SECOND, {"code": codes[0]})
    client.post("/portal/security/authenticator/remove/")
    with rls.ops_scope("test: what is left"):
        found = securing.security(acme.owner.pk)
    assert (found.has_second_factor, found.recovery_codes_left) == (False, 0)
    assert is_in(sign_in(acme.owner.email))


def test_new_recovery_codes_replace_the_old_ones(acme: Customer) -> None:
    _, codes = with_app(acme.owner)
    client = sign_in(acme.owner.email)
    client.post(SECOND, {"code": codes[0]})
    assert client.post("/portal/security/recovery-codes/").status_code == 200
    assert sign_in(acme.owner.email).post(SECOND, {"code": codes[1]}).status_code == 422


def test_secrets_are_sealed(acme: Customer) -> None:
    secret, codes = with_app(acme.owner)
    with rls.ops_scope("test: what is kept"):
        kept = str([row.data for row in Authenticator.objects.all()])
    assert secret not in kept
    assert not any(code in kept for code in codes)


def test_tenants_and_strangers_see_no_factors(acme: Customer) -> None:
    """The table is not theirs to read, whatever a page asks."""
    with_app(acme.owner)
    with pytest.raises(ProgrammingError), rls.tenant_scope(acme.organization.pk):
        securing.has_second_factor(acme.owner.pk)


# --- it is you ------------------------------------------------------------------------------------
SENSITIVE = [
    "/portal/security/password/",
    "/portal/security/address/",
    "/portal/security/authenticator/",
    "/portal/security/authenticator/remove/",
    "/portal/security/recovery-codes/",
    "/portal/security/passkeys/",
    "/portal/security/passkeys/1/remove/",
    "/portal/security/accounts/1/remove/",
]


@pytest.mark.parametrize("path", SENSITIVE)
def test_an_hour_later_whoever_sits_there_shows_that_it_is_they(acme: Customer, path: str) -> None:
    client = sign_in(acme.owner.email)
    with clock.frozen(world.NOW + timedelta(hours=1)):
        answers = {"password": "another horse battery", "email": "x@x.example", "code": "1"}
        assert client.post(path, answers)["Location"].startswith("/portal/security/confirm/")
        wrong = client.post("/portal/security/confirm/", {"password": "wrong"})
        assert wrong.status_code == 422
        client.post("/portal/security/confirm/", {"password": world.PASSWORD})
        found = client.post(path, answers)
        assert "confirm" not in found.headers.get("Location", "")


def test_who_has_a_second_factor_shows_that_one(acme: Customer) -> None:
    secret, codes = with_app(acme.owner)
    client = sign_in(acme.owner.email)
    client.post(SECOND, {"code": codes[0]})
    with clock.frozen(world.NOW + timedelta(hours=1)):
        confirm = "/portal/security/confirm/?next=/portal/security/password/"
        assert client.post(confirm, {"password": world.PASSWORD}).status_code == 422
        shown = client.post(confirm, {"code": code_at(secret)})
        assert shown["Location"] == "/portal/security/password/"


# --- password and sessions ------------------------------------------------------------------------
def test_another_password_keeps_this_browser_and_ends_the_others(acme: Customer) -> None:
    here, there = sign_in(acme.owner.email), sign_in(acme.owner.email)
    key = here.session.session_key
    chosen = {"password": "another horse battery"}
    assert here.post("/portal/security/password/", chosen)["Location"] == "/portal/security/"
    assert is_in(here)
    assert here.session.session_key != key
    assert not is_in(there)
    assert plain(here.get("/portal/security/").content).count("(this one)") == 1


def test_signing_in_gives_the_session_another_key(acme: Customer) -> None:
    """Whoever has planted a session's key beforehand has nothing of it."""
    client = Client()
    client.get("/portal/login/passkey/anybody/")
    planted = client.session.session_key
    sign_in(acme.owner.email, client=client)
    assert is_in(client)
    assert client.session.session_key != planted
    victim = Client()
    victim.cookies["sessionid"] = planted or ""
    assert not is_in(victim)


def test_each_session_is_listed_and_can_be_ended(acme: Customer) -> None:
    here = sign_in(acme.owner.email)
    there = Client(headers={"user-agent": "Mozilla/5.0 (X11; Linux) Gecko Firefox/140.0"})
    sign_in(acme.owner.email, client=there)
    with rls.ops_scope("test: a program"):
        services.sign_in(
            acme.owner.email, password=world.PASSWORD, address="192.0.2.1", at=world.NOW
        )
        places = securing.places(acme.owner.pk, current=str(here.session.session_key), at=world.NOW)
    assert [(one.is_current, one.is_browser) for one in places] == [
        (True, True), (False, True), (False, False),
    ]  # fmt: skip
    page = plain(here.get("/portal/security/").content)
    assert "Firefox, Linux" in page
    assert "A program at the API" in page
    for one in places[1:]:
        here.post(f"/portal/security/sessions/{one.id}/end/")
    assert is_in(here)
    assert not is_in(there)
    with rls.ops_scope("test: what is left"):
        left = securing.places(acme.owner.pk, current="", at=world.NOW)
    assert len(left) == 1


def test_a_session_that_is_used_is_seen_and_one_that_was_left_is_gone(acme: Customer) -> None:
    here, there = sign_in(acme.owner.email), sign_in(acme.owner.email)
    there.post("/portal/logout/")
    later = world.NOW + timedelta(hours=3)
    with clock.frozen(later), rls.ops_scope("test: where"):
        here.get("/portal/security/")
        [place] = securing.places(acme.owner.pk, current="", at=later)
    assert (place.began_at, place.last_seen_at) == (world.NOW, later)


def test_who_ends_their_own_session_is_signed_out(acme: Customer) -> None:
    here = sign_in(acme.owner.email)
    with rls.ops_scope("test: where"):
        [place] = securing.places(acme.owner.pk, current="", at=world.NOW)
    with clock.frozen(world.NOW + timedelta(hours=1)):
        assert here.post(f"/portal/security/sessions/{place.id}/end/").status_code == 302
        assert not is_in(here)


def test_a_session_from_before_there_was_a_list_gets_onto_it(acme: Customer) -> None:
    old = signed_in(acme.owner)
    assert is_in(old)
    with rls.ops_scope("test: where"):
        assert len(securing.places(acme.owner.pk, current="", at=world.NOW)) == 1
    sign_in(acme.owner.email).post("/portal/security/sessions/end/")
    assert not is_in(old)


def test_somebody_elses_session_cannot_be_ended(acme: Customer) -> None:
    victim = sign_in(acme.owner.email)
    with rls.ops_scope("test: the victim's"):
        [place] = securing.places(acme.owner.pk, current="", at=world.NOW)
    attacker = sign_in(acme.users["MEMBER"].email)
    attacker.post(f"/portal/security/sessions/{place.id}/end/")
    assert is_in(victim)


def test_somebody_elses_passkey_is_not_there_to_be_removed(acme: Customer) -> None:
    with rls.ops_scope("test: a passkey of the owner's"):
        theirs = Authenticator.objects.create(
            user=acme.owner, type="webauthn", data={"name": "laptop"}
        )
    attacker = sign_in(acme.users["MEMBER"].email)
    for number in (theirs.pk, theirs.pk + 1):
        assert attacker.post(f"/portal/security/passkeys/{number}/remove/").status_code == 404
    with rls.ops_scope("test: it is there"):
        assert Authenticator.objects.filter(pk=theirs.pk).exists()


def test_signing_out_everywhere_means_here_too(acme: Customer) -> None:
    here, there = sign_in(acme.owner.email), sign_in(acme.owner.email)
    assert here.post("/portal/security/sessions/end/")["Location"] == "/portal/login/"
    assert not is_in(here)
    assert not is_in(there)


def test_guessing_passwords_is_slowed_down(acme: Customer) -> None:
    data = {"username": acme.owner.email, "password": "wrong"}
    replies = [Client().post("/portal/login/", data) for _ in range(6)]
    assert [reply.status_code for reply in replies] == [422] * 5 + [429]
    assert 0 < int(replies[-1]["Retry-After"]) <= 300
    assert not is_in(sign_in(acme.owner.email))


def test_the_page_is_one_tap_away_and_works_without_an_organization(acme: Customer) -> None:
    assert "/portal/security/" in signed_in(acme.owner).get("/portal/").content.decode()
    with rls.ops_scope("test: a loner"):
        loner = services.create_user(
            "loner@x.example", password=world.PASSWORD, actor=STAFF, at=world.NOW
        )
    assert "loner@x.example" in plain(signed_in(loner).get("/portal/security/").content)


def test_the_pages_of_allauth_are_not_there(acme: Customer) -> None:
    client: Any = signed_in(acme.owner)
    for path in ("accounts/login/", "accounts/2fa/", "accounts/email/", "accounts/sessions/"):
        assert client.get(f"/{path}").status_code == 404
