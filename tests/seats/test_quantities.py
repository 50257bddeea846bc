"""What is bought and what is assigned stay in step, through every door."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.core import rls
from apps.engine.money import Money
from apps.invoicing import quoting
from apps.invoicing import services as invoicing
from apps.invoicing.errors import QuoteMoved
from apps.seats import selectors, services
from apps.seats.errors import SeatLimitReached, SeatsInUse
from apps.seats.models import Seat
from apps.seats.quoting import coach, quote_seats
from apps.subscriptions import selectors as agreements
from apps.subscriptions import services as subscriptions
from apps.subscriptions.changes import Behaviour, ChangeQuantity
from apps.subscriptions.models import Subscription
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization, User
from tests.conftest import STAFF
from tests.seats.clinic import NOW, START, assign, deliver, pool, standing

APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def bill(as_of: datetime) -> None:
    invoicing.bill_due(as_of=as_of, actor=STAFF, at=as_of)


@pytest.fixture
def full(team: SubscriptionFacts, nurses: list[User]) -> list[Seat]:
    """All five seats are taken, and March is billed."""
    bill(START)
    return [assign(team, nurse) for nurse in nurses[:5]]


def ids(seats: Sequence[Seat]) -> list[str]:
    return [seat.public_id for seat in seats]


def test_more_seats_are_quoted_billed_and_free_at_once(
    team: SubscriptionFacts, full: list[Seat]
) -> None:
    with rls.tenant_scope(team.organization_id):
        quoted = quote_seats(team.public_id, count=2, behaviour=Behaviour.NOW, at=NOW)
        changed = services.buy_seats(
            team.public_id,
            count=2,
            confirmed=invoicing.Confirmed(quoted.amount, NOW),
            actor=STAFF,
            at=NOW,
        )
    # two seats for 15.5 of 31 days: 10_00
    assert quoted.amount == Money(10_00, "USD")
    assert changed.invoice is not None
    assert changed.invoice.total == 10_00
    assert (pool(team).bought, pool(team).free) == (7, 2)


def test_a_quote_that_moved_buys_nothing(team: SubscriptionFacts, full: list[Seat]) -> None:
    with rls.tenant_scope(team.organization_id), pytest.raises(QuoteMoved):
        services.buy_seats(
            team.public_id,
            count=2,
            confirmed=invoicing.Confirmed(Money(1, "USD"), NOW),
            actor=STAFF,
            at=NOW,
        )
    assert pool(team).bought == 5


@pytest.mark.parametrize("behaviour", [Behaviour.NOW, Behaviour.NEXT_PERIOD, Behaviour.RESET])
def test_no_door_sells_the_seat_that_somebody_sits_on(
    team: SubscriptionFacts, full: list[Seat], behaviour: Behaviour
) -> None:
    wish = ChangeQuantity(Decimal(4))
    with rls.tenant_scope(team.organization_id):
        with pytest.raises(SeatsInUse, match="revoke 1 first"):
            quoting.quote_change(team.public_id, wish=wish, behaviour=behaviour, at=NOW)
        with pytest.raises(SeatsInUse):
            agreements.preview(team.public_id, wish, behaviour=behaviour, at=NOW)
        with pytest.raises(SeatsInUse):
            invoicing.change_subscription(
                team.public_id, wish=wish, behaviour=behaviour, actor=STAFF, at=NOW
            )
        with pytest.raises(SeatsInUse):
            subscriptions.change(
                team.public_id, wish=wish, behaviour=behaviour, actor=STAFF, at=NOW
            )
        facts = agreements.get(team.public_id)
    assert (facts.quantities(NOW), facts.scheduled) == ({"seats": Decimal(5)}, ())
    assert pool(team).assigned == 5


def test_fewer_seats_at_once_release_those_that_were_chosen(
    team: SubscriptionFacts, full: list[Seat]
) -> None:
    with rls.tenant_scope(team.organization_id):
        services.release_seats(
            team.public_id,
            count=2,
            seats=ids(full[3:]),
            behaviour=Behaviour.NEXT_INVOICE,
            actor=STAFF,
            at=NOW,
        )
    assert (pool(team).bought, pool(team).assigned) == (3, 3)
    assert ids(standing(team)) == ids(full[:3])


def test_seats_released_at_renewal_stay_until_then_and_go_with_the_bill(
    team: SubscriptionFacts, full: list[Seat], nurses: list[User]
) -> None:
    with rls.tenant_scope(team.organization_id):
        services.release_seats(team.public_id, count=1, seats=ids(full[4:]), actor=STAFF, at=NOW)
    assert (pool(team).bought, pool(team).assigned) == (5, 5)
    with pytest.raises(SeatLimitReached):
        assign(team, nurses[5])
    bill(APRIL)
    with rls.tenant_scope(team.organization_id):
        gone = selectors.get(full[4].public_id)
    assert (gone.status, gone.because, gone.during.upper) == ("released", "fewer", APRIL)
    assert (pool(team).bought, pool(team).assigned) == (4, 4)


def test_nobody_is_assigned_what_a_scheduled_change_takes_away(
    team: SubscriptionFacts, nurses: list[User]
) -> None:
    for nurse in nurses[:3]:
        assign(team, nurse)
    with rls.tenant_scope(team.organization_id):
        services.release_seats(team.public_id, count=2, actor=STAFF, at=NOW)
    with pytest.raises(SeatLimitReached, match="from 1 April 2026 on"):
        assign(team, nurses[3])
    bill(APRIL)
    assert (pool(team).bought, pool(team).assigned) == (3, 3)


def test_seats_stay_when_the_change_they_were_to_go_with_is_called_off(
    team: SubscriptionFacts, full: list[Seat]
) -> None:
    with rls.tenant_scope(team.organization_id):
        changed = services.release_seats(
            team.public_id, count=1, seats=ids(full[4:]), actor=STAFF, at=NOW
        )
        [scheduled] = changed.facts.scheduled
        subscriptions.cancel_scheduled_change(
            team.public_id, change_id=scheduled.public_id, actor=STAFF, at=NOW
        )
    deliver()
    assert {seat.leaves_at for seat in standing(team)} == {None}
    bill(APRIL)
    assert (pool(team).bought, pool(team).assigned) == (5, 5)


def test_the_preview_of_a_release_considers_the_chosen_gone(
    team: SubscriptionFacts, full: list[Seat]
) -> None:
    with rls.tenant_scope(team.organization_id):
        quoted = quote_seats(team.public_id, count=-2, releasing=ids(full[:2]), at=NOW)
        with pytest.raises(SeatsInUse):
            quote_seats(team.public_id, count=-2, releasing=ids(full[:1]), at=NOW)
    assert quoted.amount == Money(-20_00, "USD")
    assert pool(team).assigned == 5


def test_seats_move_with_the_plan_that_calls_them_otherwise(
    team: SubscriptionFacts, full: list[Seat]
) -> None:
    with rls.tenant_scope(team.organization_id):
        subscriptions.change_plan(team.public_id, plan="crew", actor=STAFF, at=NOW)
    found = pool(team)
    assert (found.item, found.bought, found.assigned) == ("people", 5, 5)


def test_a_plan_without_seats_is_refused_while_people_sit(
    team: SubscriptionFacts, full: list[Seat]
) -> None:
    with rls.tenant_scope(team.organization_id), pytest.raises(SeatsInUse):
        subscriptions.change_plan(team.public_id, plan="flat", actor=STAFF, at=NOW)


def test_a_pause_and_a_cancellation_to_come_leave_people_seated(
    team: SubscriptionFacts, full: list[Seat]
) -> None:
    with rls.tenant_scope(team.organization_id):
        subscriptions.cancel(team.public_id, actor=STAFF, at=NOW)
        subscriptions.uncancel(team.public_id, actor=STAFF, at=NOW)
        subscriptions.pause(team.public_id, actor=STAFF, at=NOW)
    bill(APRIL)
    with rls.tenant_scope(team.organization_id):
        resumed = subscriptions.resume(team.public_id, actor=STAFF, at=APRIL + timedelta(days=3))
    assert resumed.status == "active"
    assert (pool(team).bought, pool(team).assigned) == (5, 5)


def test_an_end_releases_everybody_and_taking_it_up_again_seats_them(
    team: SubscriptionFacts, full: list[Seat]
) -> None:
    with rls.tenant_scope(team.organization_id):
        subscriptions.cancel(team.public_id, actor=STAFF, at=NOW)
    bill(APRIL)
    deliver(APRIL)
    assert standing(team) == []
    with rls.tenant_scope(team.organization_id):
        again = subscriptions.reactivate(team.public_id, actor=STAFF, at=APRIL + timedelta(days=1))
    deliver(APRIL + timedelta(days=1))
    back = standing(again)
    assert [seat.follows_id for seat in back] == [seat.pk for seat in full]
    assert pool(again).assigned == 5


def test_what_is_not_paid_is_taken_and_what_is_paid_comes_back_once(
    clinic: Organization, team: SubscriptionFacts, full: list[Seat]
) -> None:
    with rls.tenant_scope(clinic.pk):
        services.end_seats(team.public_id, because="unpaid", actor=STAFF, at=NOW)
        services.end_seats(team.public_id, because="unpaid", actor=STAFF, at=NOW)
        assert pool(team).assigned == 0
        assert services.restore_seats(team.public_id, actor=STAFF, at=NOW) == 5
        assert services.restore_seats(team.public_id, actor=STAFF, at=NOW) == 0
    assert [seat.user_id for seat in standing(team)] == [seat.user_id for seat in full]


def test_a_full_pool_that_may_grow_buys_one_more_up_to_its_limit(
    team: SubscriptionFacts, full: list[Seat], nurses: list[User]
) -> None:
    with rls.tenant_scope(team.organization_id):
        services.set_auto_expand(team.public_id, up_to=6, actor=STAFF, at=NOW)
    assign(team, nurses[5])
    assert (pool(team).bought, pool(team).assigned) == (6, 6)
    with pytest.raises(SeatLimitReached):
        assign(team, nurses[6])
    assert pool(team).bought == 6
    with rls.tenant_scope(team.organization_id):
        assert Subscription.objects.get().status == "active"


def test_the_coach_names_who_was_not_seen_and_what_their_seats_cost(
    team: SubscriptionFacts, full: list[Seat]
) -> None:
    later = NOW + timedelta(days=31)
    bill(later)
    services.note_seen({full[0].pk: later, full[1].pk: NOW})
    with rls.tenant_scope(team.organization_id):
        found = selectors.pool(team.organization_id, team.public_id, at=later)
        advice = coach(team.organization_id, found, at=later)
    assert ids(advice.seats) == ids(full[1:])
    assert advice.saves == Money(40_00, "USD")
    assert (found.used, found.assigned) == (1, 5)
