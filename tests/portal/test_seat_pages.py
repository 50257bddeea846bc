"""The page of seats, and the door of those who claim one."""

from __future__ import annotations

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.core import rls
from apps.seats import selectors, services
from apps.seats.models import Seat
from tests.conftest import STAFF
from tests.portal import world
from tests.portal.conftest import signed_in
from tests.portal.test_money_pages import plain
from tests.portal.world import Customer


@pytest.fixture
def admin(acme: Customer) -> Client:
    return signed_in(acme.users["ADMIN"])


def subscription(acme: Customer) -> str:
    assert acme.subscription is not None
    return acme.subscription.public_id


def address(acme: Customer) -> str:
    return f"/portal/seats/{subscription(acme)}/seats"


def seats(acme: Customer) -> list[Seat]:
    with rls.tenant_scope(acme.organization.pk):
        return sorted(selectors.seats(acme.organization.pk), key=lambda seat: seat.pk)


def test_who_assigns_sees_what_is_bought_and_who_sits(acme: Customer, admin: Client) -> None:
    assert "0 of 3 assigned" in plain(admin.get("/portal/seats/").content)
    member = acme.users["MEMBER"]
    assert admin.post(f"{address(acme)}/assign/", {"person": member.email}).status_code == 302
    page = plain(admin.get("/portal/seats/").content)
    assert "1 of 3 assigned" in page
    assert member.email in page
    assert "Nobody is called so." in plain(admin.get("/portal/seats/?q=zebra").content)


def test_a_seat_is_revoked_at_once(acme: Customer, admin: Client) -> None:
    admin.post(f"{address(acme)}/assign/", {"person": acme.users["MEMBER"].email})
    [seat] = seats(acme)
    assert admin.post(f"/portal/seats/{seat.public_id}/revoke/").status_code == 302
    assert seats(acme) == []


def test_a_full_house_is_refused_at_the_form(acme: Customer, admin: Client) -> None:
    for number in range(3):
        admin.post(f"{address(acme)}/assign/", {"person": f"guest-{number}@acme.example"})
    refused = admin.post(f"{address(acme)}/assign/", {"person": "one-more@acme.example"})
    assert refused.status_code == 422
    assert "All 3 seats of 'seats' are assigned: buy more, or revoke one." in plain(refused.content)
    assert len(seats(acme)) == 3


def test_a_file_is_checked_and_then_applied(acme: Customer, admin: Client) -> None:
    wrong = SimpleUploadedFile("seats.csv", b"person\nnobody\nnew@acme.example\n")
    checked = admin.post(f"{address(acme)}/file/", {"csv": wrong})
    assert checked.status_code == 422
    assert "Nothing has been changed." in plain(checked.content)
    right = SimpleUploadedFile("seats.csv", b"person\nnew@acme.example\n")
    checked = admin.post(f"{address(acme)}/file/", {"csv": right})
    assert "Is invited to claim a seat" in plain(checked.content)
    assert seats(acme) == []
    done = admin.post(
        f"{address(acme)}/file/", {"checked": "person\nnew@acme.example\n", "apply": "yes"}
    )
    assert done.status_code == 302
    assert [seat.email for seat in seats(acme)] == ["new@acme.example"]


def test_the_page_speaks_german(acme: Customer, admin: Client) -> None:
    with rls.tenant_scope(acme.organization.pk):
        type(acme.organization).objects.update(locale="de")
    assert "0 von 3 vergeben" in plain(admin.get("/portal/seats/").content)


def test_a_new_person_claims_a_seat_with_a_name_and_a_password(acme: Customer) -> None:
    with rls.tenant_scope(acme.organization.pk):
        seat = services.assign_seat(
            subscription(acme), person="new@acme.example", actor=STAFF, at=world.NOW
        )
    path, visitor = f"/portal/seats/claim/{selectors.claim_token(seat)}/", Client()
    assert "has a seat for new@acme.example" in plain(visitor.get(path).content)
    joined = visitor.post(path, {"name": "New Person", "password": world.PASSWORD})
    assert joined["Location"] == "/portal/"
    assert [one.status for one in seats(acme)] == ["active"]
    assert visitor.get(path).status_code == 410  # a link works once


def test_a_link_for_somebody_else_is_refused(acme: Customer, stranger: Customer) -> None:
    with rls.tenant_scope(acme.organization.pk):
        seat = services.assign_seat(
            subscription(acme), person="new@acme.example", actor=STAFF, at=world.NOW
        )
    path = f"/portal/seats/claim/{selectors.claim_token(seat)}/"
    visitor = signed_in(stranger.owner)
    assert "this seat is for somebody else" in plain(visitor.get(path).content)
    assert visitor.post(path, {}).status_code == 410
    assert [one.status for one in seats(acme)] == ["invited"]


def test_a_foreign_seat_is_as_unknown_as_a_made_up_one(acme: Customer, stranger: Customer) -> None:
    with rls.tenant_scope(acme.organization.pk):
        seat = services.assign_seat(
            subscription(acme), person="new@acme.example", actor=STAFF, at=world.NOW
        )
    visitor = signed_in(stranger.owner)
    for one in (seat.public_id, "seat_nothing"):
        assert visitor.post(f"/portal/seats/{one}/revoke/").status_code == 404
    assert visitor.post(f"{address(acme)}/assign/", {"person": "x@y.example"}).status_code == 404
    assert len(seats(acme)) == 1


def test_a_seat_is_released_with_the_next_period_for_what_was_shown(acme: Customer) -> None:
    owner = signed_in(acme.owner)
    owner.post(f"{address(acme)}/assign/", {"person": acme.users["MEMBER"].email})
    [seat] = seats(acme)
    shown = owner.get(f"{address(acme)}/release/?seat={seat.public_id}")
    assert "you pay $0.00 less" in plain(shown.content)  # three are included
    said = dict(re.findall(r'name="(quoted_\w+)" value="([^"]+)"', shown.content.decode()))
    done = owner.post(f"{address(acme)}/release/", {"seat": seat.public_id, **said})
    assert done["Location"] == "/portal/seats/"
    [leaving] = seats(acme)
    assert leaving.leaves_at is not None


def test_an_owner_says_how_far_seats_may_grow(acme: Customer) -> None:
    owner = signed_in(acme.users["OWNER"])
    assert owner.post(f"{address(acme)}/grow/", {"up_to": "0"}).status_code == 422
    assert owner.post(f"{address(acme)}/grow/", {"up_to": "4"}, follow=True).status_code == 200
    assert "where none is free, up to 4" in plain(owner.get("/portal/seats/").content)
    for number in range(4):
        owner.post(f"{address(acme)}/assign/", {"person": f"guest-{number}@acme.example"})
    assert "4 of 4 assigned" in plain(owner.get("/portal/seats/").content)
    owner.post(f"{address(acme)}/grow/", {"up_to": ""})
    assert "Buy a seat by itself" in plain(owner.get("/portal/seats/").content)


def test_who_may_not_manage_billing_does_not_let_seats_grow(acme: Customer, admin: Client) -> None:
    assert "Buy a seat by itself" not in plain(admin.get("/portal/seats/").content)
    assert admin.post(f"{address(acme)}/grow/", {"up_to": "9"}).status_code == 403
