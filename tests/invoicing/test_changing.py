"""Changes that are quoted, confirmed, and billed at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from apps.core import rls
from apps.engine.money import Money
from apps.invoicing import books, quoting, services
from apps.invoicing.errors import QuoteExpired, QuoteMoved
from apps.invoicing.models import Invoice
from apps.invoicing.services import Confirmed
from apps.plans import selectors as plans
from apps.plans import services as plan_services
from apps.plans.offers import CouponRules
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions import services as agreements
from apps.subscriptions.changes import Behaviour, ChangePlan, ChangeQuantity, Wish
from apps.subscriptions.errors import WrongState
from apps.subscriptions.facts import SubscriptionFacts
from apps.subscriptions.models import Change
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing.world import day
from tests.scenarios import shop

HALF = day(6, 16)


@pytest.fixture(autouse=True)
def _shop(committed_db: str) -> None:
    shop.open_shop()


@pytest.fixture
def acme() -> Organization:
    return shop.customer("acme")


@pytest.fixture
def basic(acme: Organization) -> SubscriptionFacts:
    facts = shop.buy(acme, "basic", day(6, 1))
    shop.bill(day(6, 1))
    return facts


def pro() -> Wish:
    with rls.ops_scope("test: the plan"):
        return ChangePlan(plans.current_version("pro").public_id)


def change(
    facts: SubscriptionFacts,
    wish: Wish,
    behaviour: Behaviour,
    *,
    at: datetime = HALF,
    confirmed: Confirmed | None = None,
) -> services.Changed:
    with rls.tenant_scope(facts.organization_id):
        return services.change_subscription(
            facts.public_id,
            wish=wish,
            behaviour=behaviour,
            actor=STAFF,
            at=at,
            confirmed=confirmed,
        )


def test_an_upgrade_now_is_billed_at_once_and_not_again(
    acme: Organization, basic: SubscriptionFacts
) -> None:
    changed = change(basic, pro(), Behaviour.NOW)
    # half of June is left: 50.00 ÷ 2 − 20.00 ÷ 2 = 15.00
    assert changed.quoted.amount == Money(15_00, "USD")
    assert changed.invoice is not None
    assert (changed.invoice.kind, changed.invoice.total) == ("change", 15_00)
    shop.bill(day(7, 1))
    assert [document.total for document in shop.invoices(acme)] == [20_00, 15_00, 50_00]
    assert books.verify().hold


def test_the_same_upgrade_with_the_next_invoice(
    acme: Organization, basic: SubscriptionFacts
) -> None:
    changed = change(basic, pro(), Behaviour.NEXT_INVOICE)
    # the next invoice would have been 20.00; with the change it is 15.00 + 50.00
    assert (changed.invoice, changed.quoted.amount) == (None, Money(45_00, "USD"))
    shop.bill(day(7, 1))
    assert [document.total for document in shop.invoices(acme)] == [20_00, 65_00]
    assert books.verify().hold


def test_a_reset_begins_a_new_cycle_at_full_price(
    acme: Organization, basic: SubscriptionFacts
) -> None:
    changed = change(basic, pro(), Behaviour.RESET)
    # 10.00 of the old month comes back, and a whole month of the new plan begins
    assert changed.invoice is not None
    assert changed.invoice.total == 40_00
    assert changed.quoted.amount == Money(40_00, "USD")
    assert changed.facts.next_boundary_at == day(7, 16)
    shop.bill(day(7, 16))
    assert [document.total for document in shop.invoices(acme)] == [20_00, 40_00, 50_00]
    assert books.verify().hold


def test_what_was_quoted_is_carried_out_as_of_the_moment_it_was_quoted(
    basic: SubscriptionFacts,
) -> None:
    confirmed = Confirmed(Money(15_00, "USD"), HALF)
    changed = change(
        basic, pro(), Behaviour.NOW, at=HALF + timedelta(minutes=59), confirmed=confirmed
    )
    assert changed.invoice is not None
    assert changed.invoice.total == 15_00


@pytest.mark.parametrize(
    ("confirmed", "at", "error"),
    [
        (Confirmed(Money(14_99, "USD"), HALF), HALF, QuoteMoved),
        (Confirmed(Money(15_00, "EUR"), HALF), HALF, QuoteMoved),
        (Confirmed(Money(15_00, "USD"), HALF), HALF + timedelta(hours=2), QuoteExpired),
        (Confirmed(Money(15_00, "USD"), HALF + timedelta(hours=1)), HALF, QuoteExpired),
    ],
)
def test_a_quote_that_moved_changes_nothing(
    confirmed: Confirmed,
    at: datetime,
    error: type[Exception],
    acme: Organization,
    basic: SubscriptionFacts,
) -> None:
    with pytest.raises(error):
        change(basic, pro(), Behaviour.NOW, at=at, confirmed=confirmed)
    with rls.tenant_scope(acme.pk):
        assert subscriptions.get(basic.public_id).version.plan_code == "basic"
        assert not Change.objects.exists()
        assert Invoice.objects.count() == 1


def test_a_preview_stores_nothing(acme: Organization, basic: SubscriptionFacts) -> None:
    with rls.tenant_scope(acme.pk):
        quote = quoting.quote_change(basic.public_id, wish=pro(), behaviour=Behaviour.NOW, at=HALF)
        assert quote.now is not None
        assert quote.upcoming is not None
        assert (quote.now.total, quote.upcoming.total) == (15_00, 50_00)
        assert not Change.objects.exists()
        assert subscriptions.get(basic.public_id) == subscriptions.get(basic.public_id)


def test_credit_pays_what_is_quoted_once(acme: Organization, basic: SubscriptionFacts) -> None:
    with rls.ops_scope("test: credit"):
        services.grant_credit(acme.pk, amount=Decimal("20.00"), actor=STAFF, at=day(6, 2))
    with rls.tenant_scope(acme.pk):
        quote = quoting.quote_change(basic.public_id, wish=pro(), behaviour=Behaviour.NOW, at=HALF)
    assert quote.now is not None
    assert quote.upcoming is not None
    # 15.00 of the 20.00 pay the upgrade; 5.00 are left for the 50.00 of July.
    assert (quote.now.credits_total, quote.now.total) == (15_00, 0)
    assert (quote.upcoming.credits_total, quote.upcoming.total) == (5_00, 45_00)
    change(basic, pro(), Behaviour.NOW)
    shop.bill(day(7, 1))
    assert [document.total for document in shop.invoices(acme)] == [20_00, 0, 45_00]


def test_a_coupon_that_counts_once_is_quoted_once(
    acme: Organization, basic: SubscriptionFacts
) -> None:
    rules = CouponRules(code="half", name="Half", percent=Decimal(50), duration="once")
    with rls.ops_scope("test: a coupon"):
        plan_services.define_coupon(rules, actor=STAFF, at=day(6, 2))
        agreements.apply_discount(
            acme.pk,
            code="half",
            subscription_id=basic.public_id,
            actor=STAFF,
            at=day(6, 2),
        )
    with rls.tenant_scope(acme.pk):
        quote = quoting.quote_change(basic.public_id, wish=pro(), behaviour=Behaviour.NOW, at=HALF)
    assert quote.now is not None
    assert quote.upcoming is not None
    # Half of the new plan's 25.00 comes off; the 10.00 that come back had no coupon.
    assert (quote.now.discount, quote.upcoming.discount) == (12_50, 0)
    change(basic, pro(), Behaviour.NOW)
    shop.bill(day(7, 1))
    assert [document.total for document in shop.invoices(acme)] == [20_00, 2_50, 50_00]


def test_what_a_change_keeps_as_credit_pays_the_invoice_after_it(
    acme: Organization,
) -> None:
    facts = shop.buy(acme, "pro", day(6, 1))
    shop.bill(day(6, 1))
    with rls.ops_scope("test: the plan"):
        wish = ChangePlan(plans.current_version("basic").public_id)
    with rls.tenant_scope(acme.pk):
        quote = quoting.quote_change(facts.public_id, wish=wish, behaviour=Behaviour.NOW, at=HALF)
    assert quote.upcoming is not None
    # 15.00 of the pro plan come back, and pay a part of the 20.00 of July.
    assert quote.amount == Money(-15_00, "USD")
    assert quote.upcoming.total == 5_00
    change(facts, wish, Behaviour.NOW)
    shop.bill(day(7, 1))
    assert [document.total for document in shop.invoices(acme)] == [50_00, 0, 5_00]


def test_changing_twice_changes_once(basic: SubscriptionFacts) -> None:
    change(basic, pro(), Behaviour.NOW)
    again = change(basic, pro(), Behaviour.NOW)
    assert again.invoice is None
    assert again.quoted.amount == Money(0, "USD")


def test_seats_bought_and_given_back_in_a_day_cost_nothing(acme: Organization) -> None:
    facts = shop.buy(acme, "world", day(6, 1), seats=5)
    shop.bill(day(6, 1))
    change(facts, ChangeQuantity(Decimal(15)), Behaviour.NEXT_INVOICE, at=day(6, 11))
    change(facts, ChangeQuantity(Decimal(5)), Behaviour.NEXT_INVOICE, at=day(6, 12))
    shop.bill(day(7, 1))
    # 10 seats of 10.00 for one day of thirty: 66.67 − 63.33 = 3.34, then the month as before
    first, second = shop.invoices(acme)
    assert second.total - first.total == 3_34
    assert books.verify().hold


def test_a_change_never_goes_in_before_one_that_was_billed(acme: Organization) -> None:
    facts = shop.buy(acme, "world", day(6, 1), seats=1)
    shop.bill(day(6, 1))
    first, later = HALF, HALF + timedelta(minutes=5)
    with rls.tenant_scope(acme.pk):
        none = quoting.quote_change(
            facts.public_id, wish=ChangeQuantity(Decimal(0)), behaviour=Behaviour.NOW, at=first
        )
    shown = Confirmed(none.amount, first)
    change(facts, ChangeQuantity(Decimal(101)), Behaviour.NOW, at=later)
    with pytest.raises(QuoteMoved):
        change(
            facts,
            ChangeQuantity(Decimal(0)),
            Behaviour.NOW,
            at=later + timedelta(minutes=1),
            confirmed=shown,
        )
    with rls.tenant_scope(acme.pk):
        assert subscriptions.get(facts.public_id).quantities(later) == {"seats": Decimal(101)}
        assert Change.objects.count() == 1
        assert Invoice.objects.count() == 2


@pytest.mark.parametrize("happens", ["cancels", "redeems", "removes"])
def test_an_equal_amount_does_not_prove_that_nothing_happened(
    happens: str, acme: Organization, basic: SubscriptionFacts
) -> None:
    shop.coupon("token", 1)
    with rls.tenant_scope(acme.pk):
        if happens == "removes":
            held = agreements.apply_discount(acme.pk, code="token", actor=STAFF, at=day(6, 2))
            agreements.remove_discount(held.public_id, actor=STAFF, at=HALF + timedelta(seconds=1))
        elif happens == "redeems":
            agreements.apply_discount(
                acme.pk, code="token", actor=STAFF, at=HALF + timedelta(seconds=1)
            )
        else:
            agreements.cancel(basic.public_id, actor=STAFF, at=HALF + timedelta(seconds=1))
            agreements.uncancel(basic.public_id, actor=STAFF, at=HALF + timedelta(seconds=2))
    with pytest.raises(QuoteMoved):
        change(
            basic,
            pro(),
            Behaviour.NOW,
            at=HALF + timedelta(minutes=1),
            confirmed=Confirmed(Money(15_00, "USD"), HALF),
        )


def test_nothing_is_changed_before_the_newest_quantity(acme: Organization) -> None:
    facts = shop.buy(acme, "world", day(6, 1), seats=1)
    shop.bill(day(6, 1))
    change(facts, ChangeQuantity(Decimal(2)), Behaviour.NEXT_INVOICE, at=day(6, 11))
    for quantity in (0, 1):
        with pytest.raises(WrongState, match="after that moment"):
            change(facts, ChangeQuantity(Decimal(quantity)), Behaviour.NOW, at=day(6, 10))
