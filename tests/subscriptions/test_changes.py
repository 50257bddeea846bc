from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from psycopg.types.range import TimestamptzRange

from apps.core import rls
from apps.core.errors import DomainError, Invalid, NotFound
from apps.engine.prices import Flat
from apps.invoicing import books
from apps.invoicing import selectors as invoices
from apps.plans import catalog
from apps.plans import selectors as plans
from apps.plans import services as plan_services
from apps.subscriptions import selectors, services
from apps.subscriptions.changes import (
    AddItem,
    Behaviour,
    ChangePlan,
    ChangeQuantity,
    OverridePrice,
    RemoveItem,
    Wish,
)
from apps.subscriptions.errors import AlreadyBilled, WrongState
from apps.subscriptions.models import Change, Phase, QuantityStep, SubscriptionItem
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing import world
from tests.invoicing.world import day
from tests.subscriptions import desk

HALF_TIME = day(6, 16)
FIRST = [("base", "recurring", 30_00), ("seats", "recurring", 20_00)]


@pytest.fixture(autouse=True)
def _catalog(db: None) -> None:
    desk.load()


def version(plan: str) -> str:
    return plans.current_version(plan).public_id


def change(
    organization: Organization,
    facts: SubscriptionFacts,
    wish: Wish,
    behaviour: Behaviour = Behaviour.NEXT_INVOICE,
    *,
    at: datetime = HALF_TIME,
) -> SubscriptionFacts:
    with rls.tenant_scope(organization.pk):
        return services.change(facts.public_id, wish=wish, behaviour=behaviour, actor=STAFF, at=at)


def change_plan(
    organization: Organization, facts: SubscriptionFacts, plan: str, behaviour: Behaviour
) -> SubscriptionFacts:
    with rls.tenant_scope(organization.pk):
        return services.change_plan(
            facts.public_id, plan=plan, behaviour=behaviour, actor=STAFF, at=day(6, 16)
        )


@pytest.mark.parametrize("behaviour", [Behaviour.NOW, Behaviour.NEXT_INVOICE])
def test_an_upgrade_gives_the_rest_back_and_charges_the_new_plan(
    organization: Organization, behaviour: Behaviour
) -> None:
    facts = desk.subscribed(organization)
    changed = change_plan(organization, facts, "large", behaviour)
    assert changed.version.plan_code == "large"
    assert changed.quantities(day(6, 17)) == {"seats": Decimal(2)}
    desk.bill(day(7, 1))
    # Half of June: 30.00 and 2 × 10.00 back, 60.00 and 2 × 20.00 charged; then July, and the setup.
    assert sorted(desk.lines(organization)[1]) == [
        ("base", "ended", -15_00),
        ("base", "recurring", 60_00),
        ("base", "started", 30_00),
        ("seats", "ended", -10_00),
        ("seats", "recurring", 40_00),
        ("seats", "started", 20_00),
        ("setup", "one_time", 99_00),
    ]
    assert books.verify().hold


def test_a_change_without_proration_bills_nothing_for_this_period(
    organization: Organization,
) -> None:
    facts = desk.subscribed(organization)
    change_plan(organization, facts, "large", Behaviour.NONE)
    desk.bill(day(7, 1))
    assert sorted(desk.lines(organization)[1]) == [
        ("base", "recurring", 60_00), ("seats", "recurring", 40_00), ("setup", "one_time", 99_00),
    ]  # fmt: skip
    assert books.verify().hold


def test_a_reset_begins_a_new_cycle_at_full_price(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    changed = change_plan(organization, facts, "large", Behaviour.RESET)
    assert changed.next_boundary_at == day(6, 16)
    desk.bill(day(7, 16))
    first, closing, second = desk.lines(organization)
    assert first == FIRST
    assert sorted(closing) == [
        ("base", "ended", -15_00),
        ("base", "recurring", 60_00),
        ("seats", "ended", -10_00),
        ("seats", "recurring", 40_00),
        ("setup", "one_time", 99_00),
    ]
    assert second == [("base", "recurring", 60_00), ("seats", "recurring", 40_00)]
    assert [i.issued_at for i in world.invoices(organization)] == [
        day(6, 1), day(6, 16), day(7, 16),
    ]  # fmt: skip
    assert books.verify().hold


def test_another_interval_begins_a_new_cycle(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    changed = change_plan(organization, facts, "yearly", Behaviour.NEXT_INVOICE)
    assert changed.agreement.cycle.boundary(2) == day(6, 16, year=2027)
    desk.bill(day(8, 1))
    assert sorted(desk.lines(organization)[1]) == [
        ("base", "ended", -15_00),
        ("base", "recurring", 300_00),
        ("seats", "ended", -10_00),
        ("seats", "recurring", 200_00),
    ]
    assert books.verify().hold


def test_a_change_for_the_next_period_waits_for_it(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    waiting = change_plan(organization, facts, "yearly", Behaviour.NEXT_PERIOD)
    assert waiting.version.plan_code == "small"
    assert [one.effective_at for one in waiting.scheduled] == [day(7, 1)]
    assert change_plan(organization, facts, "yearly", Behaviour.NEXT_PERIOD) == waiting
    world.use(organization, *world.hourly(day(6, 10), 4))  # 4 × 1.00
    desk.bill(day(7, 1))
    assert sorted(desk.lines(organization)[1]) == [
        ("base", "recurring", 300_00), ("calls", "usage", 4_00), ("seats", "recurring", 200_00),
    ]  # fmt: skip
    after = desk.now(organization, facts)
    assert (after.version.plan_code, after.scheduled) == ("yearly", ())
    assert after.next_boundary_at == day(7, 1, year=2027)
    assert books.verify().hold


def test_a_scheduled_change_can_be_called_off(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    waiting = change_plan(organization, facts, "large", Behaviour.NEXT_PERIOD)
    change_id = waiting.scheduled[0].public_id
    with rls.tenant_scope(organization.pk):
        for _ in range(2):
            off = services.cancel_scheduled_change(
                facts.public_id, change_id=change_id, actor=STAFF, at=day(6, 20)
            )
        assert off.scheduled == ()
        with pytest.raises(NotFound):
            services.cancel_scheduled_change(
                facts.public_id, change_id="chg_x", actor=STAFF, at=day(6, 20)
            )
    desk.bill(day(7, 1))
    assert desk.lines(organization)[1] == FIRST


def test_a_change_to_come_that_has_become_impossible_is_called_off_and_billing_goes_on(
    organization: Organization,
) -> None:
    facts = desk.subscribed(organization)
    change(organization, facts, AddItem(version("support")))
    change(organization, facts, RemoveItem("support"), Behaviour.NEXT_PERIOD, at=day(6, 17))
    gone = change(organization, facts, RemoveItem("support"), at=day(6, 18))
    assert [one.action for one in gone.scheduled] == ["remove_item"]
    with rls.tenant_scope(organization.pk):
        assert [line.key for line in invoices.next_lines(gone)[1]][:1] == ["base"]
    desk.bill(day(7, 1))
    with rls.tenant_scope(organization.pk):
        found = Change.objects.get(action="remove_item", effective_at=day(7, 1))
    assert found.status == "canceled"
    # 15.00 a month for two of 30 days: 7.50 − 6.50
    assert desk.lines(organization)[1] == [
        ("base", "recurring", 30_00), ("support", "started", 7_50), ("support", "ended", -6_50),
        ("seats", "recurring", 20_00),
    ]  # fmt: skip
    assert books.verify().hold


def test_changes_to_come_are_carried_out_in_the_order_of_their_time(
    organization: Organization,
) -> None:
    facts = desk.subscribed(organization)
    planned = [
        services.Planned(ChangeQuantity(Decimal(4)), Behaviour.NEXT_INVOICE, day(6, 21)),
        services.Planned(ChangePlan(version("large")), Behaviour.NEXT_INVOICE, day(7, 16)),
    ]
    with rls.tenant_scope(organization.pk):
        services.schedule_changes(facts.public_id, planned=planned, actor=STAFF, at=day(6, 10))
    assert services.apply_changes_due(as_of=day(6, 22), actor=STAFF, at=day(6, 22)) == 1
    assert desk.now(organization, facts).quantities(day(6, 22)) == {"seats": Decimal(4)}
    desk.bill(day(8, 1))
    _, july, august = desk.lines(organization)
    # 2 × 10.00 × 10/30, recorded on the 22nd and due since the 21st
    assert ("seats", "quantity_changed", 6_67) in july
    # 16 of 31 days of July: 4 × 10.00 back, 4 × 20.00 charged
    assert ("seats", "ended", -20_65) in august
    assert ("seats", "started", 41_29) in august
    assert books.verify().hold


def test_an_add_on_comes_and_goes_within_a_period(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    added = change(organization, facts, AddItem(version("support")), at=day(6, 11))
    assert added.version.plan_code == "small"
    assert change(organization, facts, AddItem(version("support")), at=day(6, 12)) == added
    change(organization, facts, RemoveItem("support"), at=day(6, 21))
    desk.bill(day(7, 1))
    # 15.00 for 20 of 30 days, and 10 of them back
    assert sorted(desk.lines(organization)[1]) == [
        ("base", "recurring", 30_00),
        ("seats", "recurring", 20_00),
        ("support", "ended", -5_00),
        ("support", "started", 10_00),
    ]
    assert books.verify().hold


def test_an_add_on_stays_when_the_plan_changes(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    change(organization, facts, AddItem(version("support")), at=day(6, 11))
    changed = change_plan(organization, facts, "large", Behaviour.RESET)
    keys = sorted(i.item.key for i in changed.items_at(day(6, 17)))
    assert keys == ["base", "calls", "seats", "setup", "support"]
    desk.bill(day(6, 16))
    support = [line for line in desk.lines(organization)[1] if line[0] == "support"]
    assert sorted(support) == [
        ("support", "ended", -7_50), ("support", "recurring", 15_00), ("support", "started", 10_00),
    ]  # fmt: skip
    assert books.verify().hold


def test_a_price_agreed_with_the_customer_counts_from_the_next_period(
    organization: Organization,
) -> None:
    facts = desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        services.override_price(
            facts.public_id, key="base", terms=Flat(Decimal(12)), actor=STAFF, at=day(6, 16)
        )
    desk.bill(day(7, 1))
    assert desk.lines(organization)[1] == [
        ("base", "recurring", 12_00), ("seats", "recurring", 20_00),
    ]  # fmt: skip
    again = change(organization, facts, OverridePrice("base", None), at=day(7, 16))
    assert [i.agreed for i in again.items if i.item.key == "base"] == [False, True, False]
    assert books.verify().hold


def test_quantities_without_proration_and_with_a_new_cycle(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    change(organization, facts, ChangeQuantity(Decimal(5)), Behaviour.NONE, at=day(6, 11))
    reset = change(organization, facts, ChangeQuantity(Decimal(1)), Behaviour.RESET, at=day(6, 16))
    assert reset.quantities(day(6, 16)) == {"seats": Decimal(1)}
    desk.bill(day(6, 16))
    # Half the price of five seats is 25.00, but only two were paid for: 20.00 come back.
    assert sorted(desk.lines(organization)[1]) == [
        ("base", "ended", -15_00),
        ("base", "recurring", 30_00),
        ("seats", "ended", -20_00),
        ("seats", "recurring", 10_00),
    ]
    assert books.verify().hold


WISHES = [
    (lambda: ChangePlan(version("large")), Behaviour.NOW),
    (lambda: ChangePlan(version("yearly")), Behaviour.NEXT_INVOICE),
    (lambda: ChangePlan(version("large")), Behaviour.RESET),
    (lambda: ChangeQuantity(Decimal(7)), Behaviour.NEXT_INVOICE),
    (lambda: ChangeQuantity(Decimal(7)), Behaviour.RESET),
    (lambda: AddItem(version("support")), Behaviour.NONE),
    (lambda: OverridePrice("base", Flat(Decimal(1))), Behaviour.NOW),
]


@pytest.mark.parametrize(("wish", "behaviour"), WISHES)
def test_a_preview_stores_nothing_and_bills_what_the_change_bills(
    organization: Organization, wish: object, behaviour: Behaviour
) -> None:
    wanted: Wish = wish()  # type: ignore[operator]
    facts = desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        seen = selectors.preview(facts.public_id, wanted, behaviour=behaviour, at=day(6, 16))
        assert not Change.objects.exists()
    stored = change(organization, facts, wanted, behaviour)
    assert _shape(seen.after) == _shape(stored)


def _shape(facts: SubscriptionFacts) -> object:
    """All but the ids of rows."""
    items = [
        (i.item.key, i.item.during, i.item.terms, i.item.starts, i.item.ends, i.agreed,
         [(s.at, s.quantity, s.proration) for s in i.item.steps])
        for i in facts.items
    ]  # fmt: skip
    phases = [(p.version.plan_code, p.anchor, p.interval, p.during) for p in facts.phases]
    return items, phases, facts.next_boundary_at, facts.version.plan_code


@pytest.mark.parametrize(
    ("wish", "at", "error"),
    [
        (lambda: ChangePlan(version("elsewhere")), day(6, 16), Invalid),
        (lambda: ChangePlan("plv_nothing"), day(6, 16), NotFound),
        (lambda: ChangePlan(version("large"), {"nothing": Decimal(1)}), day(6, 16), Invalid),
        (lambda: AddItem(version("large")), day(6, 16), Invalid),
        (lambda: RemoveItem("base"), day(6, 16), Invalid),
        (lambda: RemoveItem("nothing"), day(6, 16), Invalid),
        (lambda: OverridePrice("nothing", None), day(6, 16), Invalid),
        (lambda: ChangeQuantity(Decimal(-1)), day(6, 16), Invalid),
        (lambda: ChangeQuantity(Decimal("1.5")), day(6, 16), Invalid),
        (lambda: ChangeQuantity(Decimal(3)), day(6, 1), WrongState),
    ],
)
def test_a_refused_change_changes_nothing(
    organization: Organization, wish: object, at: datetime, error: type[DomainError]
) -> None:
    facts = desk.subscribed(organization)
    before = desk.now(organization, facts)
    with pytest.raises(error):
        change(organization, facts, wish(), at=at)  # type: ignore[operator]
    assert desk.now(organization, facts) == before
    with rls.tenant_scope(organization.pk):
        assert not Change.objects.exists()


def test_what_is_billed_cannot_be_changed(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    desk.bill(day(7, 1))
    with pytest.raises(AlreadyBilled):
        change(organization, facts, ChangePlan(version("large")), at=day(6, 16))


def test_a_change_at_the_moment_of_another_is_refused(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    change(organization, facts, ChangePlan(version("large")))
    with pytest.raises(WrongState, match="very moment"):
        change(organization, facts, ChangePlan(version("yearly")))


def test_subscriptions_stay_on_their_version_until_they_are_migrated(
    organization: Organization,
) -> None:
    facts = desk.subscribed(organization)
    dearer = desk.CATALOG.replace('"30.00"', '"35.00"', 1)
    with rls.ops_scope("test: a new version"):
        plan_services.load_catalog(
            catalog.parse_catalog(dearer, source="desk"), actor=STAFF, at=day(6, 5)
        )
    desk.bill(day(7, 1))
    assert desk.lines(organization)[1] == FIRST
    with rls.tenant_scope(organization.pk):
        services.migrate_to_version(
            facts.public_id, version=version("small"), actor=STAFF, at=day(7, 5)
        )
    desk.bill(day(8, 1))
    assert desk.lines(organization)[2][0] == ("base", "recurring", 35_00)
    assert desk.now(organization, facts).version.number == 2
    assert books.verify().hold


def test_the_plan_of_a_trial_changes_without_a_bill(organization: Organization) -> None:
    facts = world.subscribe(organization, "tried", start=day(6, 1), at=day(6, 1))
    wish = ChangePlan(version("large"))
    changed = change(organization, facts, wish, Behaviour.RESET, at=day(6, 5))
    assert (changed.status, changed.next_boundary_at) == ("trialing", day(6, 15))
    desk.bill(day(6, 15))
    assert sorted(desk.lines(organization)[0]) == [
        ("base", "recurring", 60_00), ("setup", "one_time", 99_00),
    ]  # fmt: skip


def test_the_database_keeps_one_phase_at_any_instant(organization: Organization) -> None:
    desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        phase = Phase.objects.get()
        phase.pk, phase.public_id = None, "ph_double"
        with pytest.raises(IntegrityError, match="one_phase_at_an_instant"), transaction.atomic():
            phase.save(force_insert=True)


def test_the_database_keeps_what_a_phase_and_an_item_were(organization: Organization) -> None:
    desk.subscribed(organization)
    with rls.tenant_scope(organization.pk):
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            Phase.objects.update(interval_count=2)
        with pytest.raises(DatabaseError, match="only the end"), transaction.atomic():
            SubscriptionItem.objects.update(starts="none")
        later = TimestamptzRange(day(6, 2), None, "[)")
        with pytest.raises(DatabaseError, match="only the end"), transaction.atomic():
            SubscriptionItem.objects.update(during=later)
        with pytest.raises(DatabaseError, match="denied"), transaction.atomic():
            Phase.objects.all()._raw_delete("default")
        assert QuantityStep.objects.count() == 1


@pytest.mark.parametrize(("plan", "says"), [("support", "add-on"), ("taster", "only a trial")])
def test_a_subscription_does_not_come_to_stand_on_an_add_on_or_a_bare_trial(
    plan: str, says: str, organization: Organization
) -> None:
    facts = desk.subscribed(organization)
    with pytest.raises(Invalid, match=says):
        change(organization, facts, ChangePlan(version(plan)))
    assert desk.now(organization, facts).version.plan_code == "small"


def test_a_bare_trial_is_had_once(organization: Organization) -> None:
    facts = desk.subscribed(organization, "taster", seats=None)
    with rls.tenant_scope(organization.pk):
        services.cancel(facts.public_id, actor=STAFF, at=day(6, 3), when="now")
        with pytest.raises(Invalid, match="was used already"):
            services.subscribe(
                organization.pk, plan="taster", start=day(6, 4), actor=STAFF, at=day(6, 4)
            )
        with pytest.raises(Invalid, match="was used already"):
            services.reactivate(facts.public_id, actor=STAFF, at=day(6, 4))
