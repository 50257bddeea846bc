"""Seats are given to people, and never more of them than are bought."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from apps.core import rls
from apps.core.errors import Forbidden
from apps.seats import selectors, services
from apps.seats.errors import (
    ClaimInvalid,
    NoSeats,
    SeatLimitReached,
    SeatReleasedBefore,
    UnknownPerson,
    UnknownSeat,
)
from apps.seats.models import Pool, Seat
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import selectors as tenants
from apps.tenants import services as tenant_services
from apps.tenants.models import Membership, Organization, User
from tests.conftest import STAFF
from tests.seats.clinic import NOW, assign, deliver, know_as, pool, standing, subscribe

LATER = NOW + timedelta(hours=1)


def test_a_member_gets_a_seat_and_keeps_the_one_they_have(
    team: SubscriptionFacts, nurses: list[User]
) -> None:
    seat = assign(team, nurses[0])
    assert (seat.status, seat.user_id) == ("active", nurses[0].pk)
    assert assign(team, nurses[0].email.upper()).pk == seat.pk
    found = pool(team)
    assert (found.bought, found.assigned, found.used, found.free) == (5, 1, 0, 4)


def test_the_sixth_of_five_seats_is_refused_and_changes_nothing(
    team: SubscriptionFacts, nurses: list[User]
) -> None:
    for nurse in nurses[:5]:
        assign(team, nurse)
    with pytest.raises(SeatLimitReached, match="All 5 seats"):
        assign(team, nurses[5])
    assert pool(team).assigned == len(standing(team)) == 5


def test_a_revoked_seat_is_free_for_somebody_else(
    team: SubscriptionFacts, nurses: list[User]
) -> None:
    held = [assign(team, nurse) for nurse in nurses[:5]]
    with rls.tenant_scope(team.organization_id):
        revoked = services.revoke_seat(held[0].public_id, actor=STAFF, at=LATER)
        again = services.revoke_seat(held[0].public_id, actor=STAFF, at=LATER)
    assert (revoked.status, again.because, again.during.upper) == ("released", "revoked", LATER)
    assign(team, nurses[5])
    assert pool(team).free == 0


def test_a_seat_goes_from_one_person_to_another_even_when_all_are_taken(
    team: SubscriptionFacts, nurses: list[User]
) -> None:
    held = [assign(team, nurse) for nurse in nurses[:5]]
    with rls.tenant_scope(team.organization_id):
        given = services.reassign_seat(
            held[0].public_id, person=nurses[6].email, actor=STAFF, at=LATER
        )
        with pytest.raises(SeatReleasedBefore):
            services.reassign_seat(held[0].public_id, person=nurses[5].email, actor=STAFF, at=LATER)
    assert given.user_id == nurses[6].pk
    assert [seat.user_id for seat in standing(team)] == [n.pk for n in (*nurses[1:5], nurses[6])]


def test_the_applications_own_id_names_a_person(
    clinic: Organization, team: SubscriptionFacts, nurses: list[User]
) -> None:
    know_as(clinic, organization="hospital_456", users={"user_123": nurses[3]})
    assert assign(team, "user_123").user_id == nurses[3].pk
    with pytest.raises(UnknownPerson):
        assign(team, "user_124")


def test_a_stranger_is_no_person_of_the_organization(
    team: SubscriptionFacts, other_organization: Organization
) -> None:
    with rls.ops_scope("test: a stranger"):
        user = tenant_services.create_user(
            "someone@stranger.example", password="demo-pass-2026", actor=STAFF, at=NOW
        )
    with pytest.raises(UnknownPerson):
        assign(team, user.public_id)
    assert pool(team).assigned == 0


def test_an_address_without_an_account_is_invited_and_claims_its_seat(
    team: SubscriptionFacts,
) -> None:
    offered = assign(team, "New@Clinic.example")
    assert (offered.status, offered.email) == ("invited", "new@clinic.example")
    assert assign(team, "new@clinic.example").pk == offered.pk
    token = selectors.claim_token(offered)
    with rls.ops_scope("test: claim"):
        claimed = services.claim_seat(
            token, user=None, password="long-enough-2026", name="New", at=LATER
        )
        role = Membership.objects.get(organization_id=team.organization_id).role
    assert (claimed.pk, claimed.status, claimed.email) == (offered.pk, "active", "")
    assert role == "MEMBER"
    with rls.ops_scope("test: twice"), pytest.raises(ClaimInvalid):
        services.claim_seat(token, user=None, password="long-enough-2026", name="", at=LATER)


def test_a_link_is_for_one_address_and_cannot_be_altered(
    team: SubscriptionFacts, nurses: list[User]
) -> None:
    offered = assign(team, "new@clinic.example")
    token = selectors.claim_token(offered)
    with rls.ops_scope("test: somebody else"):
        with pytest.raises(ClaimInvalid, match="sign in as that user"):
            services.claim_seat(token, user=nurses[0], password="", name="", at=LATER)
        with pytest.raises(ClaimInvalid):
            services.claim_seat(f"{token}x", user=nurses[0], password="", name="", at=LATER)
    assert standing(team)[0].status == "invited"


def test_a_seat_offered_to_somebody_who_has_one_by_then_is_freed(
    clinic: Organization, team: SubscriptionFacts, nurses: list[User]
) -> None:
    offered = assign(team, "new@clinic.example")
    with rls.ops_scope("test: joins otherwise"):
        user = tenant_services.create_user(
            "new@clinic.example", password="long-enough-2026", actor=STAFF, at=NOW
        )
        tenant_services.add_member(clinic.pk, user_id=user.pk, role="MEMBER", actor=STAFF, at=NOW)
    held = assign(team, user)
    with rls.ops_scope("test: claim"):
        token = selectors.claim_token(offered)
        assert services.claim_seat(token, user=user, password="", name="", at=LATER).pk == held.pk
    assert pool(team).assigned == 1


def test_a_plan_without_anything_counted_has_no_seats(
    clinic: Organization, nurses: list[User]
) -> None:
    facts = subscribe(clinic, plan="flat", seats=None)
    with pytest.raises(NoSeats):
        assign(facts, nurses[0])


def test_members_assign_nothing_and_strangers_find_nothing(
    team: SubscriptionFacts, nurses: list[User], other_organization: Organization
) -> None:
    seat = assign(team, nurses[0])
    with rls.ops_scope("test: who they are"):
        mine = tenants.member_actor(nurses[0], tenants.belongings(nurses[0].pk)[0])
    with rls.tenant_scope(team.organization_id), pytest.raises(Forbidden):
        services.revoke_seat(seat.public_id, actor=mine, at=LATER)
    with rls.tenant_scope(other_organization.pk), pytest.raises(UnknownSeat):
        services.revoke_seat(seat.public_id, actor=STAFF, at=LATER)
    assert pool(team).assigned == 1


def test_who_leaves_the_organization_leaves_the_seat(
    team: SubscriptionFacts, nurses: list[User]
) -> None:
    seat = assign(team, nurses[0])
    with rls.tenant_scope(team.organization_id):
        member = Membership.objects.get(user=nurses[0])
        tenant_services.remove_member(member.public_id, actor=STAFF, at=LATER)
    deliver()
    with rls.tenant_scope(team.organization_id):
        seat = selectors.get(seat.public_id)
    assert (seat.status, seat.because) == ("released", "member_removed")
    assert pool(team).assigned == 0


def test_the_database_refuses_a_seat_too_many_whoever_writes_it(
    team: SubscriptionFacts, nurses: list[User]
) -> None:
    for nurse in nurses[:5]:
        assign(team, nurse)
    with rls.tenant_scope(team.organization_id):
        seat = Seat.objects.order_by("id")[0]
        seat.pk, seat.user, seat.public_id = None, nurses[5], "seat_by_hand"
        with pytest.raises(IntegrityError, match="no_more_seats_than_bought"), transaction.atomic():
            seat.save(force_insert=True)
        with pytest.raises(IntegrityError, match="no_more_seats_than_bought"), transaction.atomic():
            Pool.objects.update(bought=4)
        seat.user = nurses[4]
        with pytest.raises(IntegrityError, match="one_seat_a_person"), transaction.atomic():
            seat.save(force_insert=True)


def test_a_released_seat_is_a_fact(team: SubscriptionFacts, nurses: list[User]) -> None:
    seat = assign(team, nurses[0])
    with rls.tenant_scope(team.organization_id):
        services.revoke_seat(seat.public_id, actor=STAFF, at=LATER)
        row = Seat.objects.get()
        row.released_by = "nobody"
        with pytest.raises(Exception, match="never changes"), transaction.atomic():
            row.save()
