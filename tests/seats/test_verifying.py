"""May this person use this application now? The answer, state by state, and how current it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from apps.core import clock, rls
from apps.seats import selectors, services
from apps.seats.seeing import Book
from apps.seats.services import note_seen
from apps.seats.verifying import Access, Reason, verify
from apps.subscriptions import services as subscriptions
from apps.subscriptions.models import Subscription
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import services as tenants
from apps.tenants.models import Organization, User
from tests.api.client import Api
from tests.conftest import STAFF
from tests.seats.clinic import NOW, START, assign, know_as, standing, subscribe
from tests.worlds import make_key

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
HOSPITAL = "hospital_456"


@pytest.fixture
def known(clinic: Organization, nurses: list[User]) -> None:
    """HealOS calls the clinic and its first nurses by ids of its own."""
    know_as(clinic, organization=HOSPITAL, users={"user_123": nurses[0], "user_124": nurses[1]})


def ask(user: str = "user_123", *, caller: int | None = None, at: datetime = NOW) -> Access:
    return verify(user, application="healos", organization=HOSPITAL, caller=caller, at=at)


def test_who_has_a_seat_has_access(
    clinic: Organization, known: None, team: SubscriptionFacts, nurses: list[User]
) -> None:
    seat = assign(team, nurses[0])
    found = ask()
    assert found == Access(True, Reason.GRANTED, seat.public_id, "active", None, clinic.pk, NOW)
    by_our_ids = verify(
        nurses[0].public_id,
        application="healos",
        organization=clinic.public_id,
        caller=clinic.pk,
        at=NOW,
    )
    assert by_our_ids == found


def test_access_ends_with_the_period_that_is_billed(
    known: None, team: SubscriptionFacts, nurses: list[User]
) -> None:
    assign(team, nurses[0])
    assert ask(at=START - timedelta(days=1)).reason is Reason.NOT_STARTED
    with rls.tenant_scope(team.organization_id):
        Subscription.objects.update(next_boundary=1, next_boundary_at=APRIL)
    assert ask().expires_at == APRIL
    renewing = ask(at=APRIL)
    assert (renewing.has_access, renewing.expires_at) == (True, None)


def test_a_revoked_seat_is_gone_with_the_next_answer(
    known: None, team: SubscriptionFacts, nurses: list[User]
) -> None:
    seat = assign(team, nurses[0])
    assert ask().has_access
    with rls.tenant_scope(team.organization_id):
        services.revoke_seat(seat.public_id, actor=STAFF, at=NOW)
    found = ask()
    assert (found.has_access, found.reason, found.seat_id) == (False, Reason.NO_SEAT, None)
    assert found.subscription_status == "active"


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (["past_due"], Reason.GRANTED),
        (["past_due", "unpaid"], Reason.UNPAID),
        (["paused"], Reason.PAUSED),
    ],
)
def test_each_state_has_its_answer(
    known: None, team: SubscriptionFacts, nurses: list[User], way: list[str], reason: Reason
) -> None:
    assign(team, nurses[0])
    with rls.tenant_scope(team.organization_id):
        for status in way:
            Subscription.objects.update(status=status)
    found = ask()
    assert (found.reason, found.subscription_status) == (reason, way[-1])
    assert found.has_access is (reason is Reason.GRANTED)


def test_a_trial_serves_until_it_is_over(
    clinic: Organization, known: None, nurses: list[User]
) -> None:
    trial = subscribe(clinic, plan="try")
    assign(trial, nurses[0])
    assert trial.trial_end is not None
    assert (ask().has_access, ask().expires_at) == (True, trial.trial_end)
    assert ask(at=trial.trial_end).expires_at is None


def test_a_subscription_to_be_canceled_serves_until_then_and_not_longer(
    known: None, team: SubscriptionFacts, nurses: list[User]
) -> None:
    assign(team, nurses[0])
    with rls.tenant_scope(team.organization_id):
        Subscription.objects.update(next_boundary=1, next_boundary_at=APRIL)
        ends = subscriptions.cancel(team.public_id, actor=STAFF, at=NOW).cancel_at
    assert ends is not None
    assert ask().expires_at == ends
    assert not ask(at=ends).has_access
    assert ask(at=ends).reason is Reason.CANCELED


def test_what_is_unknown_is_an_answer(
    known: None, team: SubscriptionFacts, nurses: list[User], other_organization: Organization
) -> None:
    assign(team, nurses[0])
    assert ask("user_999").reason is Reason.UNKNOWN_USER
    assert ask("user_124").reason is Reason.NO_SEAT
    assert ask("nul\x00").reason is Reason.UNKNOWN_USER
    nobody = verify("user_123", application="pager", organization=HOSPITAL, caller=None, at=NOW)
    assert nobody.reason is Reason.UNKNOWN_APPLICATION
    stranger = ask(caller=other_organization.pk)
    made_up = verify("user_123", application="healos", organization="x", caller=None, at=NOW)
    assert stranger == made_up
    assert stranger.reason is Reason.UNKNOWN_ORGANIZATION


def test_a_person_of_another_organization_is_unknown(
    known: None, team: SubscriptionFacts, other_organization: Organization
) -> None:
    with rls.ops_scope("test: a stranger"):
        user = tenants.create_user(
            "someone@stranger.example", password="demo-pass-2026", actor=STAFF, at=NOW
        )
        tenants.add_member(
            other_organization.pk, user_id=user.pk, role="MEMBER", actor=STAFF, at=NOW
        )
    assert ask(user.public_id).reason is Reason.UNKNOWN_USER


def test_a_test_clock_says_what_time_it_is(
    clinic: Organization, known: None, team: SubscriptionFacts, nurses: list[User]
) -> None:
    assign(team, nurses[0])
    with rls.ops_scope("test: clock"):
        made = tenants.create_test_clock("later", now=APRIL, actor=STAFF, at=NOW)
        tenants.attach_test_clock(clinic.pk, clock=made.public_id, actor=STAFF, at=NOW)
    assert ask().at == APRIL


def test_who_was_seen_is_written_for_many_and_never_earlier(
    team: SubscriptionFacts, nurses: list[User]
) -> None:
    first, second = assign(team, nurses[0]), assign(team, nurses[1])
    later = NOW + timedelta(minutes=9)
    assert note_seen({first.pk: later, second.pk: NOW}) == 2
    assert note_seen({first.pk: NOW}) == 0
    assert [seat.last_seen_at for seat in standing(team)] == [later, NOW]
    with rls.tenant_scope(team.organization_id):
        assert selectors.pool(team.organization_id, team.public_id, at=later).used == 2


def test_a_book_writes_once_what_was_seen_often_and_keeps_what_failed() -> None:
    written: list[Mapping[int, datetime]] = []
    away = [ConnectionError("the database is away")]

    def write(seen: Mapping[int, datetime]) -> int:
        if away:
            raise away.pop()
        written.append(seen)
        return len(seen)

    book = Book(write, pause=3600)
    for minute in range(3):
        book.note(7, NOW + timedelta(minutes=minute), before=None)
    book.note(8, NOW, before=NOW - timedelta(minutes=1))
    with pytest.raises(ConnectionError):
        book.flush()
    assert book.flush() == 1
    assert book.flush() == 0
    assert written == [{7: NOW + timedelta(minutes=2)}]


def test_a_book_is_written_by_a_thread_of_its_own() -> None:
    done = threading.Event()

    def write(seen: Mapping[int, datetime]) -> int:
        done.set()
        return len(seen)

    Book(write, pause=0.01).note(7, NOW, before=None)
    assert done.wait(5)


@pytest.mark.committed
def test_outside_a_transaction_the_question_is_prepared_and_survives_its_loss(
    committed_db: str,
) -> None:
    unknown = ask()
    assert unknown.reason is Reason.UNKNOWN_APPLICATION
    assert ask() == unknown
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'hot\\_%'")
        assert cursor.fetchone() == (1,)
        cursor.execute("DEALLOCATE ALL")
    assert ask() == unknown


# --- over HTTP ------------------------------------------------------------------------------------
@pytest.fixture
def asked_now() -> Iterator[None]:
    """It is the middle of March."""
    with clock.frozen(NOW):
        yield


QUESTION = {"user_id": "user_123", "application_slug": "healos", "external_org_id": HOSPITAL}
FORMER = {"userId": "user_123", "applicationSlug": "healos", "externalOrgId": HOSPITAL}


def test_products_of_before_get_four_fields_and_nothing_else(
    asked_now: None, clinic: Organization, known: None, team: SubscriptionFacts, nurses: list[User]
) -> None:
    seat = assign(team, nurses[0])
    with rls.tenant_scope(clinic.pk):
        Subscription.objects.update(next_boundary=1, next_boundary_at=APRIL)
    api = Api(make_key(clinic, ["seats:verify"]))
    reply = api.post("/verify-seat", FORMER)
    assert reply.status_code == 200
    assert reply.json() == {
        "hasAccess": True,
        "seatId": seat.public_id,
        "subscriptionStatus": "ACTIVE",
        "expiresAt": "2026-04-01T00:00:00Z",
    }
    with rls.tenant_scope(clinic.pk):
        services.revoke_seat(seat.public_id, actor=STAFF, at=NOW)
    assert api.post("/verify-seat", FORMER).json() == {
        "hasAccess": False,
        "seatId": None,
        "subscriptionStatus": "ACTIVE",
        "expiresAt": None,
    }


def test_our_spelling_says_why_and_what_is_granted(
    asked_now: None, clinic: Organization, known: None, team: SubscriptionFacts, nurses: list[User]
) -> None:
    seat = assign(team, nurses[0])
    api = Api(make_key(clinic, ["seats:verify"]))
    body = api.post("verify-seat", {**QUESTION, "include": ["entitlements"]}).json()
    assert (body["has_access"], body["seat_id"]) == (True, seat.public_id)
    assert (body["reason"], body["entitlements"]) == ("granted", {"charts": True})
    refused = api.post("verify-seat", {**QUESTION, "user_id": "user_124"}).json()
    assert (refused["has_access"], refused["reason"]) == (False, "no_seat")
    assert "entitlements" not in refused


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"user_id": 1}', b'{"user_id": "\xff"}', b"[" * 100_000, b'"x"'],
)
def test_what_cannot_be_read_is_refused(clinic: Organization, known: None, body: bytes) -> None:
    api = Api(make_key(clinic, ["seats:verify"]))
    assert api.post("verify-seat", body).status_code == 400
    assert api.post("/verify-seat", body).status_code == 400


def test_half_a_letter_and_a_nul_are_nobody(clinic: Organization, known: None) -> None:
    api = Api(make_key(clinic, ["seats:verify"]))
    for odd in (r"\ud800", r"\u0000", "x" * 5000):
        raw = f'{{"user_id": "{odd}", "application_slug": "healos", "external_org_id": "h"}}'
        reply = api.post("verify-seat", raw.encode())
        assert reply.status_code in {200, 400}
        assert reply.status_code == 400 or reply.json()["has_access"] is False
