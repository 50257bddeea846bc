"""One answer to "may it be used": by state, grant and limit, in its own time and at its price."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.core import rls
from apps.engine.entitlements import Behaviour
from apps.entitlements import selectors
from apps.entitlements.selectors import Caution, Reason
from apps.subscriptions import services as subscriptions
from apps.subscriptions.models import Subscription
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.entitlements import maps
from tests.entitlements.maps import NOW, check, export, seen, subscribe, use


def test_a_limit_says_what_is_used_what_is_left_and_when_it_counts_anew(
    drawer: Organization,
) -> None:
    use(drawer, 30)
    found = check(drawer, "tiles")
    assert (found.allowed, found.reason, found.kind) == (True, Reason.OK, "limit")
    assert seen(found.limit, found.used, found.reserved, found.remaining) == (100, 30, 0, 70)
    assert found.resets_at == datetime(2026, 4, 1, tzinfo=UTC)
    assert (found.behaviour, found.warnings) == (Behaviour.BLOCK, ())


def test_the_limit_itself_is_inside_and_one_more_is_not(drawer: Organization) -> None:
    use(drawer, 98)
    assert check(drawer, "tiles", 2).allowed
    over = check(drawer, "tiles", 3)
    assert seen(over.allowed, over.reason, over.remaining) == (False, Reason.LIMIT_REACHED, 2)


def test_a_soft_limit_warns_and_an_open_one_says_nothing(drawer: Organization) -> None:
    export(drawer, "49.5")
    inside, beyond = check(drawer, "exports", "0.5"), check(drawer, "exports", "0.6")
    assert (inside.allowed, inside.warnings) == (True, ())
    assert (beyond.allowed, beyond.warnings) == (True, (Caution.LIMIT_PASSED,))
    use(drawer, 1, who="a")
    use(drawer, 1, who="b")
    open_one = check(drawer, "viewers")
    assert seen(open_one.allowed, open_one.warnings, open_one.remaining) == (True, (), 0)
    assert seen(open_one.used, open_one.resets_at) == (2, None)


def test_what_no_meter_counts_is_held_against_the_number_itself(drawer: Organization) -> None:
    assert check(drawer, "styles", 3).allowed
    over = check(drawer, "styles", 4)
    assert seen(over.reason, over.limit, over.used) == (Reason.LIMIT_REACHED, 3, None)


def test_switches_and_settings_answer_too(drawer: Organization) -> None:
    assert check(drawer, "offline").allowed
    assert check(drawer, "history").reason == Reason.NOT_INCLUDED
    said = check(drawer, "support")
    assert (said.allowed, said.kind, said.value) == (True, "config", "standard")


def test_what_is_unknown_is_not_allowed_and_never_an_error(
    drawer: Organization, other_organization: Organization
) -> None:
    assert check(drawer, "none_such").reason == Reason.UNKNOWN_FEATURE
    assert check(drawer, "\ud800").reason == Reason.UNKNOWN_FEATURE
    assert check(drawer, "x" * 5000).reason == Reason.UNKNOWN_FEATURE
    assert check(other_organization, "tiles").reason == Reason.NO_SUBSCRIPTION


@pytest.mark.parametrize(
    ("status", "allowed", "reason"),
    [
        ("active", True, Reason.OK),
        ("past_due", True, Reason.OK),
        ("unpaid", False, Reason.UNPAID),
        ("paused", False, Reason.PAUSED),
    ],
)
def test_a_subscription_grants_until_it_is_unpaid_or_paused(
    drawer: Organization, status: str, allowed: bool, reason: Reason
) -> None:
    rows = Subscription.objects.filter(organization=drawer)
    path = {"unpaid": ["past_due", "unpaid"]}.get(status, [status])
    with rls.ops_scope("test: a state that payments will bring"):
        for step in path:
            rows.update(status=step)
    found = check(drawer, "tiles")
    assert (found.allowed, found.reason) == (allowed, reason)


def test_a_trial_grants_and_an_ended_subscription_does_not(
    shop: None, organization: Organization
) -> None:
    facts = subscribe(organization, "maps-try", start=NOW)
    found = check(organization, "tiles", at=NOW + timedelta(days=1))
    assert seen(found.allowed, found.limit) == (True, 5)
    assert found.resets_at == facts.trial_end
    assert found.price is not None
    assert found.price.amount == 0  # nothing is billed yet
    with rls.tenant_scope(organization.pk):
        subscriptions.cancel(facts.public_id, when="now", actor=STAFF, at=NOW + timedelta(days=2))
    assert check(organization, "tiles", at=NOW + timedelta(days=3)).reason == Reason.CANCELED


def test_add_ons_add_to_what_the_plan_grants(drawer: Organization) -> None:
    with rls.tenant_scope(drawer.pk):
        [facts] = subscriptions_of(drawer)
        subscriptions.add_item(facts, plan="maps-more", actor=STAFF, at=NOW)
    later = NOW + timedelta(hours=1)
    assert check(drawer, "tiles", at=later).limit == 120
    assert check(drawer, "history", at=later).allowed
    assert check(drawer, "tiles", at=NOW - timedelta(hours=1)).limit == 100


def subscriptions_of(organization: Organization) -> list[str]:
    rows = Subscription.objects.filter(organization=organization)
    return [row.public_id for row in rows]


def test_of_two_subscriptions_the_most_generous_answers(drawer: Organization) -> None:
    routes = subscribe(drawer, "routes")
    found = check(drawer, "tiles")
    assert seen(found.limit, found.subscription) == (1000, routes.public_id)


# --- since when ---------------------------------------------------------------------------------
def test_a_day_of_the_clock_change_has_twenty_three_hours(shop: None) -> None:
    berlin = make_organization("berlin", timezone="Europe/Berlin")
    subscribe(berlin)
    before = datetime(2026, 3, 28, 22, 59, tzinfo=UTC)  # 23:59 on the 28th
    inside = datetime(2026, 3, 28, 23, 0, tzinfo=UTC)  # midnight
    export(berlin, "7", at=before)
    export(berlin, "1", at=inside)
    export(berlin, "2", at=datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC))  # 23:59:59, an hour early
    found = check(berlin, "exports", at=datetime(2026, 3, 29, 21, 59, 59, tzinfo=UTC))
    assert found.used == 3
    assert found.resets_at == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert check(berlin, "exports", at=datetime(2026, 3, 29, 22, tzinfo=UTC)).used == 0


def test_a_period_follows_the_anniversary_to_the_month_s_end(shop: None) -> None:
    month_end = make_organization("month-end")
    subscribe(month_end, start=datetime(2026, 1, 31, 15, tzinfo=UTC))
    use(month_end, 3, at=datetime(2026, 2, 28, 14, 59, tzinfo=UTC))
    use(month_end, 4, at=datetime(2026, 2, 28, 15, 0, tzinfo=UTC))
    found = check(month_end, "tiles", at=datetime(2026, 3, 15, tzinfo=UTC))
    assert seen(found.used, found.resets_at) == (4, datetime(2026, 3, 31, 15, tzinfo=UTC))


# --- at what price ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("used", "amount", "cents", "exact"),
    [
        (0, 1, 0, "0"),  # included
        (9, 2, 50, "0.5"),  # the last free one and the first that costs
        (99, 1, 50, "0.5"),
        (99, 3, 1_00, "1"),  # over the edge of the tier: 0.50 + 2 × 0.25
    ],
)
def test_the_next_units_cost_what_they_will_be_billed_at(
    drawer: Organization, used: int, amount: int, cents: int, exact: str
) -> None:
    use(drawer, used)
    price = check(drawer, "tiles", amount).price
    assert price is not None
    assert (price.amount, price.exact, price.currency) == (cents, exact, "USD")


def test_yen_have_no_small_coins(shop: None) -> None:
    tokyo = make_organization("tokyo", currency="JPY")
    subscribe(tokyo)
    use(tokyo, 100)
    first = check(tokyo, "tiles").price
    assert first is not None
    assert (first.amount, first.exact, first.currency) == (36, "35.5", "JPY")
    use(tokyo, 1, who="more")
    second = check(tokyo, "tiles").price
    assert second is not None
    assert (second.amount, second.exact) == (35, "35.5")  # both together 71


def test_all_limits_are_told_in_one_measurement(drawer: Organization) -> None:
    use(drawer, 5)
    export(drawer, "2.5")
    with rls.tenant_scope(drawer.pk):
        found = {one.feature: one.used for one in selectors.limits_of(drawer.pk, at=NOW)}
    assert found == {"exports": Decimal("2.5"), "tiles": 5, "viewers": 1}


def test_a_stranger_sees_nothing_of_it(
    drawer: Organization, other_organization: Organization
) -> None:
    use(drawer, 30)
    maps.subscribe(other_organization)
    assert check(other_organization, "tiles").used == 0
    with rls.tenant_scope(other_organization.pk):
        foreign = selectors.decide(drawer.pk, "tiles", Decimal(1), at=NOW)
    assert foreign.reason == Reason.NO_SUBSCRIPTION
