"""Seats that are billed by who has one: the quantity follows the people, both ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.core import clock, outbox, rls
from apps.invoicing import services as invoicing
from apps.invoicing.models import Invoice
from apps.seats import bulk, quoting, services
from apps.seats.errors import BilledByPeople, BulkRefused, SeatLimitReached
from apps.seats.models import Seat
from apps.subscriptions.changes import Behaviour, ChangeQuantity
from apps.subscriptions.models import Subscription
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization, User
from tests.conftest import STAFF
from tests.seats import clinic as story
from tests.seats.clinic import NOW, START, assign, pool, standing

APRIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def ward(clinic: Organization) -> SubscriptionFacts:
    """31_00 a month for everybody who has a seat: nobody yet."""
    facts = story.subscribe(clinic, plan="ward", seats=0)
    bill(START)
    return facts


def bill(as_of: datetime) -> None:
    invoicing.bill_due(as_of=as_of, actor=STAFF, at=as_of)


def deliver(at: datetime = NOW) -> None:
    """Let the rooms hear at that moment what happened."""
    with clock.frozen(at):
        while outbox.deliver_due():
            pass


def bought(facts: SubscriptionFacts) -> int:
    return pool(facts).bought


def revoke(facts: SubscriptionFacts, seat: Seat, at: datetime) -> None:
    with rls.tenant_scope(facts.organization_id):
        services.revoke_seat(seat.public_id, actor=STAFF, at=at)
    deliver(at)


def totals(facts: SubscriptionFacts) -> list[int]:
    with rls.tenant_scope(facts.organization_id):
        return list(Invoice.objects.order_by("id").values_list("total", flat=True))


def test_who_comes_is_billed_from_that_moment_on(
    ward: SubscriptionFacts, nurses: list[User]
) -> None:
    for nurse in nurses[:2]:
        assign(ward, nurse)
    deliver()
    assert (bought(ward), pool(ward).assigned) == (2, 2)
    bill(APRIL)
    # April for two, 62_00; and 15.5 of the 31 days of March for two, 31_00
    assert totals(ward)[-1] == 93_00


def test_who_leaves_is_given_back(ward: SubscriptionFacts, nurses: list[User]) -> None:
    seats = [assign(ward, nurse) for nurse in nurses[:2]]
    deliver()
    bill(APRIL)
    revoke(ward, seats[0], APRIL + timedelta(days=15))
    assert bought(ward) == 1
    bill(APRIL + timedelta(days=30))
    # May for one, 31_00; less half of April for the one who left, 15_50
    assert totals(ward)[-1] == 15_50


def test_what_was_bought_at_first_follows_the_first_who_sits(
    clinic: Organization, nurses: list[User]
) -> None:
    five = story.subscribe(clinic, plan="ward", seats=5)
    bill(START)
    assign(five, nurses[0])
    deliver()
    assert (bought(five), pool(five).assigned) == (1, 1)


def test_nobody_buys_or_releases_them_by_hand(ward: SubscriptionFacts, nurses: list[User]) -> None:
    assign(ward, nurses[0])
    wish = ChangeQuantity(Decimal(9), "seats")
    with rls.tenant_scope(ward.organization_id):
        for refused in (
            lambda: services.buy_seats(ward.public_id, count=1, actor=STAFF, at=NOW),
            lambda: services.release_seats(ward.public_id, count=1, actor=STAFF, at=NOW),
            lambda: quoting.quote_seats(ward.public_id, count=1, at=NOW),
            lambda: invoicing.change_subscription(
                ward.public_id, wish=wish, behaviour=Behaviour.NOW, actor=STAFF, at=APRIL
            ),
        ):
            with pytest.raises(BilledByPeople):
                refused()
    assert bought(ward) == 1


def test_a_limit_holds(ward: SubscriptionFacts, nurses: list[User]) -> None:
    with rls.tenant_scope(ward.organization_id):
        services.set_auto_expand(ward.public_id, up_to=2, actor=STAFF, at=NOW)
    for nurse in nurses[:2]:
        assign(ward, nurse)
    with pytest.raises(SeatLimitReached):
        assign(ward, nurses[2])
    assert bought(ward) == 2


def test_a_file_brings_as_many_as_it_names(ward: SubscriptionFacts, nurses: list[User]) -> None:
    assign(ward, nurses[0])
    rows = bulk.read("person,action\n" + "".join(f"{nurse.email},\n" for nurse in nurses[:4]))
    with rls.tenant_scope(ward.organization_id):
        foreseen = services.preview_bulk(ward.public_id, rows=rows, actor=STAFF)
        assert (foreseen.wrong, foreseen.buys, bought(ward)) == ([], 3, 1)
        services.apply_bulk(ward.public_id, rows=rows, actor=STAFF, at=NOW)
    assert (bought(ward), pool(ward).assigned) == (4, 4)


def test_a_file_is_refused_beyond_the_limit_and_buys_nothing(
    ward: SubscriptionFacts, nurses: list[User]
) -> None:
    with rls.tenant_scope(ward.organization_id):
        services.set_auto_expand(ward.public_id, up_to=2, actor=STAFF, at=NOW)
    rows = bulk.read("person\n" + "".join(f"{nurse.email}\n" for nurse in nurses[:3]))
    with rls.tenant_scope(ward.organization_id):
        foreseen = services.preview_bulk(ward.public_id, rows=rows, actor=STAFF)
        assert [one.row.person for one in foreseen.wrong] == [nurses[2].email]
        with pytest.raises(BulkRefused):
            services.apply_bulk(ward.public_id, rows=rows, actor=STAFF, at=NOW)
    assert (bought(ward), standing(ward)) == (0, [])


def test_while_it_is_not_paid_the_quantity_stays_and_the_people_come_back(
    ward: SubscriptionFacts, nurses: list[User]
) -> None:
    for nurse in nurses[:2]:
        assign(ward, nurse)
    deliver()
    with rls.tenant_scope(ward.organization_id):
        for status in ("past_due", "unpaid"):
            Subscription.objects.update(status=status)
        services.end_seats(ward.public_id, because="unpaid", actor=STAFF, at=NOW)
    deliver()
    assert (bought(ward), pool(ward).assigned) == (2, 0)
    with rls.tenant_scope(ward.organization_id):
        Subscription.objects.update(status="active")
        services.restore_seats(ward.public_id, actor=STAFF, at=NOW)
    deliver()
    assert (bought(ward), pool(ward).assigned) == (2, 2)
