"""Spend caps and prepaid features: money in the way, priced as it will be billed."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from apps.audit import selectors as audit
from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden, Invalid, NotFound
from apps.entitlements import selectors, services
from apps.entitlements.errors import NotAllowed
from apps.entitlements.models import SpendCap
from apps.entitlements.selectors import CapStanding, Caution, Reason
from apps.invoicing import services as invoicing
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.entitlements.maps import (
    NOW,
    cap,
    check,
    commit,
    export,
    release,
    reserve,
    subscribe,
    use,
)


def standing(organization: Organization) -> CapStanding:
    with rls.tenant_scope(organization.pk):
        [found] = selectors.cap_standings(organization.pk, at=NOW)
    return found


def test_a_hard_cap_stops_what_would_cost_more(drawer: Organization) -> None:
    cap(drawer, "5.00")
    use(drawer, 19)  # 9 of them at 0.50: 4.50
    assert check(drawer, "tiles").allowed
    assert check(drawer, "tiles", 2).reason == Reason.SPEND_CAP_REACHED
    export(drawer, "25")  # 0.50 more, of another price
    assert check(drawer, "tiles").reason == Reason.SPEND_CAP_REACHED
    found = standing(drawer)
    assert (found.spent, found.reserved, found.remaining, found.currency) == (5_00, 0, 0, "USD")


def test_what_costs_nothing_passes_a_cap_that_is_reached(drawer: Organization) -> None:
    cap(drawer, "0")
    assert check(drawer, "tiles", 10).allowed  # included
    assert check(drawer, "tiles", 11).reason == Reason.SPEND_CAP_REACHED


def test_a_soft_cap_warns(drawer: Organization) -> None:
    cap(drawer, "1.00", on_limit="warn")
    found = check(drawer, "tiles", 13)
    assert (found.allowed, found.warnings) == (True, (Caution.SPEND_CAP_PASSED,))


def test_reservations_count_against_a_cap_at_their_price(drawer: Organization) -> None:
    cap(drawer, "5.00")
    held = reserve(drawer, 18)  # 8 × 0.50
    reserve(drawer, 25, feature="exports")  # 0.50
    assert (standing(drawer).spent, standing(drawer).reserved) == (0, 4_50)
    assert check(drawer, "tiles", 2).reason == Reason.SPEND_CAP_REACHED
    with pytest.raises(NotAllowed) as caught:
        reserve(drawer, 2)
    assert caught.value.extra["reason"] == "spend_cap_reached"
    release(drawer, held)
    reserve(drawer, 19)


def test_an_excess_over_a_soft_limit_is_held_against_the_cap(drawer: Organization) -> None:
    cap(drawer, "1.00")
    held = reserve(drawer, 40, feature="exports")  # 0.80
    with pytest.raises(NotAllowed):
        commit(drawer, held, 51)
    assert commit(drawer, held, 50).committed == 50
    assert standing(drawer).spent == 1_00


def test_a_cap_is_of_one_subscription_or_of_all_in_its_currency(drawer: Organization) -> None:
    routes = subscribe(drawer, "routes")
    grant(drawer, "100")
    use(drawer, 3)  # free here, 6.00 there: both are priced by the meter
    cap(drawer, "6.50", subscription=routes.public_id)
    assert check(drawer, "tiles").reason == Reason.SPEND_CAP_REACHED
    assert check(drawer, "exports", 50).allowed
    cap(drawer, "6.50")
    assert check(drawer, "exports", 25).allowed
    assert check(drawer, "exports", 26).reason == Reason.SPEND_CAP_REACHED


def test_a_cap_is_replaced_removed_and_recorded(drawer: Organization) -> None:
    for amount in ("5.00", "5.00", "7.00"):
        cap(drawer, amount)
    with rls.tenant_scope(drawer.pk):
        assert [row.amount for row in SpendCap.objects.all()] == [7_00]
        [gone] = [row.public_id for row in SpendCap.objects.all()]
        services.remove_spend_cap(gone, actor=STAFF, at=NOW)
        with pytest.raises(NotFound):
            services.remove_spend_cap(gone, actor=STAFF, at=NOW)
        assert not SpendCap.objects.exists()
        told = [one.action for one in audit.latest(drawer.pk) if "spend_cap" in one.action]
    assert told == ["spend_cap.removed", "spend_cap.set", "spend_cap.set"]


@pytest.mark.parametrize("amount", ["-1", "NaN", "0.001", "1e15"])
def test_caps_that_make_no_sense_are_refused(drawer: Organization, amount: str) -> None:
    with pytest.raises(Invalid):
        cap(drawer, amount)
    with pytest.raises(Invalid):
        cap(drawer, "5", on_limit="allow")
    with rls.tenant_scope(drawer.pk):
        assert not SpendCap.objects.exists()


def test_caps_are_set_by_who_manages_billing_and_never_by_strangers(
    drawer: Organization, other_organization: Organization
) -> None:
    foreign = subscribe(other_organization)
    with pytest.raises(NotFound):
        cap(drawer, "5", subscription=foreign.public_id)
    member = Actor("user", "u", "member", drawer.pk, frozenset({"view_usage"}))
    with rls.tenant_scope(drawer.pk), pytest.raises(Forbidden):
        services.set_spend_cap(drawer.pk, amount=Decimal(5), actor=member, at=NOW)


# --- prepaid ------------------------------------------------------------------------------------
def grant(organization: Organization, amount: str) -> None:
    with rls.tenant_scope(organization.pk):
        invoicing.grant_credit(organization.pk, amount=Decimal(amount), actor=STAFF, at=NOW)


@pytest.fixture
def prepaid(shop: None, organization: Organization) -> Organization:
    """A customer of `routes`: 2.00 a tile, open as far as the credit goes."""
    subscribe(organization, "routes")
    return organization


def test_a_prepaid_feature_is_open_as_far_as_the_credit_goes(prepaid: Organization) -> None:
    assert check(prepaid, "tiles").reason == Reason.CREDIT_USED_UP
    grant(prepaid, "5.00")
    assert check(prepaid, "tiles", 2).allowed
    assert check(prepaid, "tiles", 3).reason == Reason.CREDIT_USED_UP
    use(prepaid, 1)
    reserve(prepaid, 1)
    assert check(prepaid, "tiles").reason == Reason.CREDIT_USED_UP


def test_usage_of_a_period_that_waits_to_be_billed_uses_credit_too(prepaid: Organization) -> None:
    grant(prepaid, "5.00")
    use(prepaid, 2)
    april = NOW + timedelta(days=25)
    assert check(prepaid, "tiles", at=april).reason == Reason.CREDIT_USED_UP
    grant(prepaid, "3.00")
    assert check(prepaid, "tiles", 2, at=april).allowed


def test_credit_that_a_draft_will_use_is_not_there_twice(prepaid: Organization) -> None:
    grant(prepaid, "5.00")
    use(prepaid, 2)
    april = NOW + timedelta(days=25)
    invoicing.bill_due(as_of=april, actor=STAFF, at=april, keep_drafts=True)
    assert check(prepaid, "tiles", at=april).reason == Reason.CREDIT_USED_UP
    assert check(prepaid, "tiles", 0, at=april).allowed
