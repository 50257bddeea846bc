from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from apps.core import rls
from apps.core.errors import Forbidden, Invalid, NotFound
from apps.subscriptions import selectors, services
from apps.subscriptions.errors import (
    AlreadySubscribed,
    NoWayToPay,
    PriceNotAgreed,
    WrongCurrency,
    WrongState,
)
from apps.subscriptions.models import QuantityStep, Subscription, SubscriptionItem
from apps.tenants import roles
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.invoicing import world
from tests.invoicing.world import NOW, day
from tests.races import at_once


@pytest.fixture(autouse=True)
def _catalog(request: pytest.FixtureRequest) -> None:
    if "committed_db" in request.fixturenames:
        request.getfixturevalue("committed_db")
    else:
        request.getfixturevalue("db")
    world.load()


def test_the_total_of_seats_includes_the_included_ones(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(1, 1))
    assert facts.quantities(day(1, 1)) == {"seats": Decimal(3)}


def test_one_live_subscription_per_application(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    with pytest.raises(AlreadySubscribed):
        world.subscribe(organization, start=day(2, 1))
    with rls.tenant_scope(organization.pk):
        assert Subscription.objects.count() == 1


def test_sixteen_at_once_leave_one_subscription(committed_db: str) -> None:
    organization = make_organization("acme")

    def attempt() -> bool:
        try:
            world.subscribe(organization, start=day(1, 1))
        except AlreadySubscribed:
            return False
        return True

    assert sum(at_once(8, attempt)) == 1


def test_another_currency_is_refused(db: None) -> None:
    euros = make_organization("euros", currency="EUR")
    with pytest.raises(WrongCurrency):
        world.subscribe(euros, start=day(1, 1))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"plan": "bespoke"}, PriceNotAgreed),
        ({"plan": "gateway", "agreed": {"base": Decimal(1)}}, Invalid),
        ({"plan": "bespoke", "agreed": {"nothing": Decimal(1)}}, Invalid),
        ({"plan": "bespoke", "agreed": {"base": Decimal(-1)}}, Invalid),
        ({"plan": "trial", "seats": 3}, Invalid),
        ({"plan": "gateway", "seats": -1}, Invalid),
        ({"plan": "gateway", "seats": 10**7}, Invalid),
        ({"plan": "gateway", "collection": "barter"}, Invalid),
        ({"plan": "gateway", "collection": "stripe_invoice"}, NoWayToPay),
        ({"plan": "nothing"}, NotFound),
    ],
)
def test_a_refused_subscription_leaves_nothing(
    organization: Organization, options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        world.subscribe(organization, start=day(1, 1), **options)  # type: ignore[arg-type]
    with rls.tenant_scope(organization.pk):
        assert not Subscription.objects.exists()
        assert not SubscriptionItem.objects.exists()


def test_a_trial_ends_on_the_local_wall_clock(db: None) -> None:
    berlin = make_organization("berlin", timezone="Europe/Berlin")
    # The clocks go forward on 29 March: 14 local days are 13 days and 23 hours.
    facts = world.subscribe(berlin, "trial", start=day(3, 20, 11))
    assert facts.trial_end == day(4, 3, 10)
    assert facts.next_boundary_at == facts.trial_end


def test_boundaries_keep_the_zone_of_the_start(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(1, 31))
    assert facts.agreement.cycle.boundary(1) == day(2, 28)
    assert facts.agreement.cycle.boundary(2) == day(3, 31)


def test_a_change_of_quantity_is_a_step_and_a_prorated_line(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(6, 1), at=day(6, 1), seats=5)
    world.bill(day(6, 1), at=day(6, 1))
    with rls.tenant_scope(organization.pk):
        services.change_quantity(facts.public_id, quantity=8, actor=STAFF, at=day(6, 16))
        assert [step.quantity for step in QuantityStep.objects.order_by("id")] == [5, 8]
    world.bill(day(7, 1), at=day(7, 1))
    # 3 more seats for half of June: 3 × 12.00 × 15/30; then 5 paid seats for July
    assert world.amounts(world.invoices(organization)[1]) == {
        "base": 50_00,
        "seats": 60_00,
        "seats quantity_changed": 18_00,
        "requests": 0,
        "tokens": 0,
    }


def test_the_quantity_in_force_changes_nothing(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(1, 1), seats=5)
    with rls.tenant_scope(organization.pk):
        services.change_quantity(facts.public_id, quantity=5, actor=STAFF, at=NOW)
        assert QuantityStep.objects.count() == 1


def test_a_member_may_not_change_what_is_bought(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(1, 1), seats=5)
    member = replace(
        STAFF,
        kind="user",
        organization_id=organization.pk,
        capabilities=roles.capabilities_of("ADMIN"),
    )
    with rls.tenant_scope(organization.pk):
        with pytest.raises(Forbidden):
            services.change_quantity(facts.public_id, quantity=9, actor=member, at=NOW)
        assert QuantityStep.objects.count() == 1


def test_a_stranger_finds_no_subscription(
    organization: Organization, other_organization: Organization
) -> None:
    facts = world.subscribe(organization, start=day(1, 1))
    with rls.tenant_scope(other_organization.pk), pytest.raises(NotFound):
        services.cancel(facts.public_id, actor=STAFF, at=NOW)


def test_canceling_bills_what_is_behind_and_nothing_ahead(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(6, 1), at=day(6, 1))
    world.bill(day(6, 1), at=day(6, 1))
    world.use(organization, *world.hourly(day(6, 2), 12))
    with rls.tenant_scope(organization.pk):
        canceled = services.cancel(facts.public_id, actor=STAFF, at=day(6, 10), reason="too dear")
    assert (canceled.status, canceled.cancel_at) == ("active", day(7, 1))
    world.bill(day(8, 1), at=day(8, 1))
    assert [world.amounts(i) for i in world.invoices(organization)] == [
        {"base": 50_00},
        {"requests": 10, "tokens": 1_20},
    ]
    with rls.tenant_scope(organization.pk):
        ended = selectors.get(facts.public_id)
        assert (ended.status, ended.ended_at) == ("canceled", day(7, 1))
    world.subscribe(organization, start=day(8, 1), at=day(8, 1))


def test_a_cancellation_can_be_taken_back_until_it_is_in_force(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(6, 1), at=day(6, 1))
    with rls.tenant_scope(organization.pk):
        services.cancel(facts.public_id, actor=STAFF, at=day(6, 10))
        again = services.uncancel(facts.public_id, actor=STAFF, at=day(6, 11))
    assert again.cancel_at is None
    world.bill(day(7, 1), at=day(7, 1))
    assert world.amounts(world.invoices(organization)[1])["base"] == 50_00


def test_a_canceled_trial_ends_without_a_bill(organization: Organization) -> None:
    facts = world.subscribe(organization, "trial", start=day(6, 1), at=day(6, 1))
    with rls.tenant_scope(organization.pk):
        services.cancel(facts.public_id, actor=STAFF, at=day(6, 2))
    world.bill(day(7, 1), at=day(7, 1))
    assert world.invoices(organization) == []
    with rls.tenant_scope(organization.pk):
        assert selectors.get(facts.public_id).status == "canceled"


def test_a_paused_subscription_starts_a_new_cycle_when_resumed(organization: Organization) -> None:
    facts = world.subscribe(
        organization, "trial", start=day(6, 1), at=day(6, 1), collection="stripe_invoice"
    )
    world.bill(day(6, 20), at=day(6, 20))
    with rls.tenant_scope(organization.pk):
        resumed = services.resume(facts.public_id, actor=STAFF, at=day(6, 25))
    assert (resumed.status, resumed.next_boundary_at) == ("active", day(6, 25))
    world.bill(day(6, 25), at=day(6, 25))
    assert [i.issued_at for i in world.invoices(organization)] == [day(6, 25)]


def test_only_a_paused_subscription_is_resumed(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(6, 1), at=day(6, 1))
    with rls.tenant_scope(organization.pk), pytest.raises(WrongState):
        services.resume(facts.public_id, actor=STAFF, at=NOW)


def test_the_database_keeps_one_value_of_an_item_at_any_instant(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    with rls.tenant_scope(organization.pk):
        item = SubscriptionItem.objects.get(key="base")
        item.pk, item.public_id = None, "si_double"
        with pytest.raises(IntegrityError, match="one_value_at_an_instant"), transaction.atomic():
            item.save(force_insert=True)


def test_the_database_knows_the_table_of_states(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    with (
        pytest.raises(DatabaseError, match="cannot go from active to trialing"),
        rls.tenant_scope(organization.pk),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE subscriptions_subscription SET status = 'trialing'")


def test_an_organization_tries_an_application_once(organization: Organization) -> None:
    facts = world.subscribe(organization, "trial", start=day(6, 1), at=day(6, 1))
    with rls.tenant_scope(organization.pk):
        services.cancel(facts.public_id, actor=STAFF, at=day(6, 2))
    world.bill(day(6, 20), at=day(6, 20))
    again = world.subscribe(organization, "trial", start=day(6, 21), at=day(6, 21))
    assert (again.status, again.trial_end) == ("active", None)
    world.bill(day(6, 21), at=day(6, 21))
    assert [i.total for i in world.invoices(organization)] == [29_00]


def test_what_has_not_started_can_be_called_off(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(8, 1), at=day(6, 1))
    with rls.tenant_scope(organization.pk):
        ended = services.cancel(facts.public_id, actor=STAFF, at=day(6, 2))
    assert (ended.status, ended.ended_at) == ("canceled", day(6, 2))
    world.bill(day(9, 1), at=day(9, 1))
    assert world.invoices(organization) == []


def test_a_plan_that_is_only_a_trial_ends_with_it(organization: Organization) -> None:
    facts = world.subscribe(organization, "trial-only", start=day(6, 1), at=day(6, 1))
    world.bill(day(6, 15), at=day(6, 15))
    with rls.tenant_scope(organization.pk):
        ended = selectors.get(facts.public_id)
    assert (ended.status, ended.ended_at) == ("canceled", day(6, 15))
    assert world.invoices(organization) == []
