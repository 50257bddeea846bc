from __future__ import annotations

from decimal import Decimal

import pytest

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.engine.money import Money
from apps.plans import selectors as plans
from apps.plans.errors import NotRedeemable
from apps.subscriptions import selectors, services
from apps.subscriptions.models import Discount
from apps.subscriptions.selectors import DiscountFacts, SubscriptionFacts
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.invoicing.world import day
from tests.races import at_once
from tests.subscriptions import desk


@pytest.fixture(autouse=True)
def _catalog(request: pytest.FixtureRequest) -> None:
    commits = "committed_db" in request.fixturenames
    request.getfixturevalue("committed_db" if commits else "db")
    desk.load()


def redeem(
    organization: Organization,
    code: str,
    facts: SubscriptionFacts | None = None,
    *,
    actor: Actor = STAFF,
    owed: Money | None = None,
) -> DiscountFacts:
    with rls.tenant_scope(organization.pk):
        return services.apply_discount(
            organization.pk,
            code=code,
            subscription_id="" if facts is None else facts.public_id,
            owed=owed,
            actor=actor,
            at=day(6, 10),
        )


def test_a_promotion_code_counts_for_its_months(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    found = redeem(organization, "launch20", facts)
    assert (found.coupon.code, found.promotion_code) == ("launch", "LAUNCH20")
    assert found.coupon.percent == Decimal(20)
    assert [found.counts_at(day(n, 1)) for n in (6, 7, 9, 10)] == [False, True, True, False]
    assert desk.now(organization, facts).discounts == (found,)


def test_a_coupon_is_not_taken_twice(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    redeem(organization, "launch", facts)
    with pytest.raises(NotRedeemable, match="already"):
        redeem(organization, "launch", facts)
    with rls.tenant_scope(organization.pk):
        assert Discount.objects.count() == 1
        assert plans.coupon("launch").redeemed == 1


def test_a_discount_for_the_organization_counts_on_every_subscription(
    organization: Organization,
) -> None:
    facts = desk.subscribed(organization)
    found = redeem(organization, "launch")
    assert desk.now(organization, facts).discounts == (found,)


def test_new_customers_only_means_nothing_was_billed(
    organization: Organization, other_organization: Organization
) -> None:
    facts = desk.subscribed(organization)
    with pytest.raises(NotRedeemable, match="new customers"):
        redeem(organization, "newcomer", facts)
    redeem(other_organization, "newcomer")
    with pytest.raises(NotRedeemable, match="cannot be added"):
        redeem(other_organization, "launch")


def test_a_coupon_of_other_plans_is_refused(organization: Organization) -> None:
    facts = desk.subscribed(organization, "large")
    with pytest.raises(NotRedeemable, match="not meant"):
        redeem(organization, "once-only", facts)


def test_what_comes_off_once_is_spent_and_not_redeemed_again(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    once = redeem(organization, "once-only", facts)
    lasting = redeem(organization, "launch", facts)
    with rls.tenant_scope(organization.pk):
        services.spend_discounts([once.id, lasting.id], actor=STAFF, at=day(7, 1))
    assert desk.now(organization, facts).discounts == (lasting,)
    with pytest.raises(NotRedeemable, match="1 times"):
        redeem(organization, "once-only", facts)


def test_a_removed_discount_counts_no_more(
    organization: Organization, other_organization: Organization
) -> None:
    facts = desk.subscribed(organization)
    found = redeem(organization, "launch", facts)
    with rls.tenant_scope(other_organization.pk), pytest.raises(NotFound):
        services.remove_discount(found.public_id, actor=STAFF, at=day(6, 20))
    with rls.tenant_scope(organization.pk):
        for _ in range(2):
            gone = services.remove_discount(found.public_id, actor=STAFF, at=day(7, 20))
    assert [gone.counts_at(day(n, 1)) for n in (7, 8)] == [True, False]


def test_a_minimum_is_held_against_what_is_owed(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        taken = services.apply_discount(
            organization.pk, code="launch", owed=Money(1, "USD"), actor=STAFF, at=day(6, 1)
        )
        assert selectors.discounts_of(organization.pk) == [taken]
        with pytest.raises(NotFound):
            services.apply_discount(organization.pk, code="nothing", actor=STAFF, at=day(6, 1))


def owner(organization: Organization) -> Actor:
    """Return somebody of the organization who may redeem."""
    return Actor("user", "usr_1", "Owner", organization.pk, frozenset({"manage_billing"}))


def test_for_everything_a_minimum_asks_for_the_subscription(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    with pytest.raises(NotRedeemable, match="say for which subscription"):
        redeem(organization, "ample")
    with pytest.raises(NotRedeemable, match=r"none is to come"):
        redeem(organization, "AMPLE5", facts, actor=owner(organization))
    with pytest.raises(NotRedeemable, match=r"100\.00"):
        redeem(organization, "ample", facts, owed=Money(99_99, "USD"))
    assert redeem(organization, "ample", facts, owed=Money(100_00, "USD")).coupon.code == "ample"


def test_what_counts_for_one_is_not_taken_for_everything(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    redeem(organization, "gentle", facts)
    with pytest.raises(NotRedeemable, match="counts already"):
        redeem(organization, "gentle")


@pytest.mark.parametrize(("first", "second"), [("alone", "gentle"), ("gentle", "alone")])
@pytest.mark.parametrize("for_one_first", [True, False])
def test_what_stands_alone_does_so_for_one_and_for_everything(
    first: str, second: str, for_one_first: bool, organization: Organization
) -> None:
    facts = desk.subscribed(organization)
    redeem(organization, first, facts if for_one_first else None)
    with pytest.raises(NotRedeemable, match="cannot be added"):
        redeem(organization, second, None if for_one_first else facts)


def test_removing_a_coupon_does_not_wind_its_months_back(organization: Organization) -> None:
    facts = desk.subscribed(organization)
    found = redeem(organization, "SEASON20", facts, actor=owner(organization))
    with rls.tenant_scope(organization.pk):
        services.remove_discount(found.public_id, actor=owner(organization), at=day(6, 10))
    for where in (facts, None):
        with pytest.raises(NotRedeemable, match="redeemed before"):
            redeem(organization, "SEASON20", where, actor=owner(organization))
    assert redeem(organization, "season", facts).coupon.code == "season"


def test_of_many_who_want_the_last_use_one_gets_it(committed_db: str) -> None:
    organizations = [make_organization(f"org-{n}") for n in range(4)]
    waiting = iter(organizations)

    def attempt() -> bool:
        try:
            redeem(next(waiting), "launch")
        except NotRedeemable:
            return False
        return True

    assert sum(at_once(4, attempt)) == 1
    with rls.ops_scope("test: count"):
        assert Discount.objects.count() == 1
