from __future__ import annotations

import pytest

from apps.core import rls
from apps.core.errors import Invalid
from apps.invoicing import books
from apps.subscriptions import selectors, services
from apps.subscriptions.changes import NOW, PERIOD_END, Behaviour, ChangePlan
from apps.subscriptions.errors import AlreadyBilled, AlreadySubscribed, NoWayToPay, WrongState
from apps.subscriptions.services import Begin
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing import world
from tests.invoicing.world import day
from tests.subscriptions import desk


@pytest.fixture(autouse=True)
def _catalog(db: None) -> None:
    desk.load()


def test_an_end_now_gives_back_what_is_left(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    world.use(organization, *world.hourly(day(6, 8), 3))
    with rls.tenant_scope(organization.pk):
        seen = selectors.preview_cancel(facts.public_id, at=day(6, 16), when=NOW)
        ending = services.cancel(facts.public_id, when=NOW, actor=STAFF, at=day(6, 16))
    assert (ending.cancel_at, ending.next_boundary_at) == (day(6, 16), day(6, 16))
    assert seen.agreement == ending.agreement
    desk.bill(day(6, 16))
    # 50.00 for half of June back, three calls at 1.00 billed
    assert sorted(desk.lines(organization)[1]) == [
        ("base", "ended", -15_00), ("calls", "usage", 3_00), ("seats", "ended", -10_00),
    ]  # fmt: skip
    ended = desk.now(organization, facts)
    assert (ended.status, ended.ended_at) == ("canceled", day(6, 16))
    desk.bill(day(9, 1))
    assert len(world.invoices(organization)) == 2
    assert books.verify().hold


def test_an_end_without_proration_bills_the_usage_only(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        services.cancel(facts.public_id, when=NOW, prorate=False, actor=STAFF, at=day(6, 16))
    desk.bill(day(7, 1))
    assert desk.lines(organization)[1:] == [[]]
    assert desk.now(organization, facts).status == "canceled"


def test_an_end_at_an_instant_comes_then_and_can_be_moved(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        services.cancel(facts.public_id, when=day(6, 26), actor=STAFF, at=day(6, 10))
        moved = services.cancel(facts.public_id, when=day(7, 11), actor=STAFF, at=day(6, 12))
        with pytest.raises(Invalid):
            services.cancel(facts.public_id, when=day(6, 11), actor=STAFF, at=day(6, 12))
    assert moved.cancel_at == day(7, 11)
    desk.bill(day(8, 1))
    # July was billed whole; 21 of its 31 days come back: 50.00 × 21/31
    _, july, closing = desk.lines(organization)
    assert july == [("base", "recurring", 30_00), ("seats", "recurring", 20_00)]
    assert closing == [("base", "ended", -20_32), ("seats", "ended", -13_55)]
    assert books.verify().hold


def test_a_cancellation_calls_off_what_was_to_change(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        services.change_plan(
            facts.public_id,
            plan="large",
            behaviour=Behaviour.NEXT_PERIOD,
            actor=STAFF,
            at=day(6, 5),
        )
        ending = services.cancel(facts.public_id, actor=STAFF, at=day(6, 6), reason="too dear")
        assert (ending.scheduled, ending.cancel_reason) == ((), "too dear")
        with pytest.raises(WrongState, match="take that back"):
            services.change_plan(facts.public_id, plan="large", actor=STAFF, at=day(6, 7))
        kept = services.uncancel(facts.public_id, actor=STAFF, at=day(6, 8))
        assert (kept.cancel_at, kept.phases[-1].end) == (None, None)
    desk.bill(day(7, 1))
    assert desk.lines(organization)[1] == desk.lines(organization)[0]


def test_an_end_that_was_billed_stays(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    desk.bill(day(7, 1))
    with rls.tenant_scope(organization.pk), pytest.raises(AlreadyBilled):
        services.cancel(facts.public_id, when=NOW, actor=STAFF, at=day(6, 16))


def test_a_trial_ends_at_once_when_it_is_to(organization: Organization) -> None:
    facts = world.subscribe(organization, "tried", start=day(6, 1), at=day(6, 1))
    with rls.tenant_scope(organization.pk):
        ended = services.cancel(facts.public_id, when=NOW, actor=STAFF, at=day(6, 3))
    assert (ended.status, ended.ended_at) == ("canceled", day(6, 3))
    desk.bill(day(7, 1))
    assert world.invoices(organization) == []


def test_a_pause_now_closes_and_a_resumption_keeps_the_cycle(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        seen = selectors.preview_pause(facts.public_id, at=day(6, 10), when=NOW)
        pausing = services.pause(facts.public_id, when=NOW, actor=STAFF, at=day(6, 10))
        assert seen.agreement == pausing.agreement
        assert services.pause(facts.public_id, actor=STAFF, at=day(6, 11)) == pausing
    desk.bill(day(6, 12))
    assert desk.now(organization, facts).status == "paused"
    with rls.tenant_scope(organization.pk):
        services.resume(facts.public_id, restart=False, actor=STAFF, at=day(6, 25))
    desk.bill(day(7, 1))
    # Paused on the 10th: 21 of 30 days back. On from the 25th: 6 of 30 days, then July.
    assert desk.lines(organization)[1:] == [
        [("base", "ended", -21_00), ("seats", "ended", -14_00)],
        [("base", "recurring", 6_00), ("seats", "recurring", 4_00)],
        [("base", "recurring", 30_00), ("seats", "recurring", 20_00)],
    ]
    assert books.verify().hold


def test_a_pause_with_an_end_resumes_by_itself_with_a_new_cycle(
    organization: Organization,
) -> None:
    facts = desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        services.pause(facts.public_id, until=day(8, 11), actor=STAFF, at=day(6, 10))
    desk.bill(day(7, 5))
    assert desk.now(organization, facts).status == "paused"
    assert services.apply_changes_due(as_of=day(8, 10), actor=STAFF, at=day(8, 10)) == 0
    assert services.apply_changes_due(as_of=day(8, 12), actor=STAFF, at=day(8, 12)) == 1
    desk.bill(day(8, 12))
    assert [(i.issued_at, i.total) for i in world.invoices(organization)] == [
        (day(6, 1), 50_00), (day(7, 1), 0), (day(8, 11), 50_00),
    ]  # fmt: skip
    assert desk.now(organization, facts).status == "active"
    assert books.verify().hold


def test_a_pause_can_be_taken_back_until_it_begins(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        services.pause(facts.public_id, until=day(8, 1), actor=STAFF, at=day(6, 10))
        again = services.resume(facts.public_id, actor=STAFF, at=day(6, 12))
    assert (again.status, again.pause_at, again.scheduled) == ("active", None, ())
    desk.bill(day(7, 1))
    assert [i.total for i in world.invoices(organization)] == [50_00, 50_00]


def test_what_is_not_billed_cannot_be_paused(organization: Organization) -> None:
    facts = world.subscribe(organization, "tried", start=day(6, 1), at=day(6, 1))
    with rls.tenant_scope(organization.pk):
        with pytest.raises(WrongState):
            services.pause(facts.public_id, actor=STAFF, at=day(6, 3))
        assert selectors.get(facts.public_id) == facts


def test_a_pause_ends_after_it_begins(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        with pytest.raises(Invalid):
            services.pause(
                facts.public_id, when=PERIOD_END, until=day(6, 20), actor=STAFF, at=day(6, 3)
            )
        assert selectors.get(facts.public_id).pause_at is None


def test_a_canceled_subscription_begins_anew_as_another(organization: Organization) -> None:
    facts = desk.subscribed(organization, seats=4)
    with rls.tenant_scope(organization.pk):
        services.cancel(facts.public_id, actor=STAFF, at=day(6, 10))
        with pytest.raises(WrongState):
            services.reactivate(facts.public_id, actor=STAFF, at=day(6, 11))
    desk.bill(day(7, 1))
    with rls.tenant_scope(organization.pk):
        again = services.reactivate(facts.public_id, actor=STAFF, at=day(7, 20))
        with pytest.raises(AlreadySubscribed):
            services.reactivate(facts.public_id, actor=STAFF, at=day(7, 21))
    assert (again.follows_id, again.status) == (facts.id, "active")
    desk.bill(day(7, 20))
    assert desk.lines(organization)[-1] == [
        ("base", "recurring", 30_00), ("seats", "recurring", 40_00),
    ]  # fmt: skip


def test_a_trial_is_extended_and_billed_from_its_new_end(organization: Organization) -> None:
    facts = world.subscribe(organization, "tried", start=day(6, 1), at=day(6, 1))
    with rls.tenant_scope(organization.pk):
        longer = services.extend_trial(
            facts.public_id, until=day(6, 20), actor=STAFF, at=day(6, 10)
        )
        with pytest.raises(Invalid):
            services.extend_trial(facts.public_id, until=day(6, 15), actor=STAFF, at=day(6, 10))
    assert (longer.trial_end, longer.next_boundary_at) == (day(6, 20), day(6, 20))
    desk.bill(day(7, 20))
    assert [i.issued_at for i in world.invoices(organization)] == [day(6, 20), day(7, 20)]
    with rls.tenant_scope(organization.pk), pytest.raises(WrongState):
        services.extend_trial(facts.public_id, until=day(8, 20), actor=STAFF, at=day(7, 20))


def test_a_plan_that_wants_a_card_begins_no_trial_without_one(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        options = {"plan": "guarded", "start": day(6, 1), "actor": STAFF, "at": day(6, 1)}
        with pytest.raises(NoWayToPay):
            services.subscribe(organization.pk, **options)  # type: ignore[arg-type]
        assert selectors.of_organization(organization.pk) == []
        begun = services.subscribe(organization.pk, begin=Begin(card=True), **options)  # type: ignore[arg-type]
    assert (begun.status, begun.trial_end) == ("trialing", day(6, 15))


def test_a_cycle_on_the_first_of_the_month_bills_the_days_up_to_it(
    organization: Organization,
) -> None:
    with rls.tenant_scope(organization.pk):
        services.subscribe(
            organization.pk,
            plan="small",
            start=day(6, 11),
            seats=2,
            begin=Begin(anchor=day(7, 1)),
            actor=STAFF,
            at=day(6, 11),
        )
    desk.bill(day(7, 1))
    # 20 of June's 30 days, then July
    assert desk.lines(organization) == [
        [("base", "recurring", 20_00), ("seats", "recurring", 13_33)],
        [("base", "recurring", 30_00), ("seats", "recurring", 20_00)],
    ]
    assert books.verify().hold


def test_a_scheduled_change_does_not_outlive_the_subscription(organization: Organization) -> None:
    facts = world.subscribe(organization, "tried", start=day(6, 1), at=day(6, 1))
    with rls.tenant_scope(organization.pk):
        wish = ChangePlan(selectors.get(facts.public_id).version.public_id)
        assert (
            services.change(
                facts.public_id,
                wish=wish,
                behaviour=Behaviour.NEXT_PERIOD,
                actor=STAFF,
                at=day(6, 2),
            )
            == facts
        )
        services.change_plan(
            facts.public_id,
            plan="large",
            behaviour=Behaviour.NEXT_PERIOD,
            actor=STAFF,
            at=day(6, 2),
        )
        services.cancel(facts.public_id, when=NOW, actor=STAFF, at=day(6, 3))
    assert services.apply_changes_due(as_of=day(7, 1), actor=STAFF, at=day(7, 1)) == 0
