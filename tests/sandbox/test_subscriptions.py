"""Subscriptions in time. January 2026 has 31 days; a seat costs 10.00 a month, the base 20.00."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import stripe

from tests.sandbox.shop import Shop

DAY = 86_400
JANUARY, FEBRUARY, MARCH = 1_767_225_600, 1_769_904_000, 1_772_323_200


@dataclass
class Club:
    """One customer on a test clock, with a base and seats for sale."""

    shop: Shop
    clock: str
    customer: stripe.Customer
    base: str
    seat: str

    @property
    def v1(self) -> Any:
        return self.shop.client.v1

    def subscribe(self, seats: int = 3, **params: Any) -> stripe.Subscription:
        items = [{"price": self.base}, {"price": self.seat, "quantity": seats}]
        wanted = {"customer": self.customer.id, "items": items, **params}
        made: stripe.Subscription = self.v1.subscriptions.create(wanted)
        return made

    def seats(self, subscription: stripe.Subscription) -> str:
        return str(subscription["items"].data[1].id)

    def go_to(self, instant: int) -> None:
        """Advance the clock, in steps of at most twenty days."""
        now = self.v1.test_helpers.test_clocks.retrieve(self.clock).frozen_time
        while now < instant:
            now = min(instant, now + 20 * DAY)
            self.v1.test_helpers.test_clocks.advance(self.clock, {"frozen_time": now})
            assert self.v1.test_helpers.test_clocks.retrieve(self.clock).status == "ready"

    def pay_with(self, card: str) -> None:
        method = self.v1.payment_methods.attach(card, {"customer": self.customer.id})
        settings = {"default_payment_method": method.id}
        self.v1.customers.update(self.customer.id, {"invoice_settings": settings})

    def again(self, subscription: stripe.Subscription) -> stripe.Subscription:
        found: stripe.Subscription = self.v1.subscriptions.retrieve(
            subscription.id, {"expand": ["latest_invoice"]}
        )
        return found

    def lines(self, invoice: str) -> list[int]:
        return [line.amount for line in self.v1.invoices.retrieve(invoice).lines.data]


@pytest.fixture
def club(shop: Shop) -> Iterator[Club]:
    v1 = shop.client.v1
    clock = v1.test_helpers.test_clocks.create({"frozen_time": JANUARY})
    product = v1.products.create({"name": "Club"})
    prices = [
        v1.prices.create(
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount": amount,
                "recurring": {"interval": "month"},
            }
        ).id
        for amount in (20_00, 10_00)
    ]
    customer = shop.customer(test_clock=clock.id)
    yield Club(shop, clock.id, customer, *prices)
    assert shop.sandbox.violations == []


def test_a_subscription_begins_with_a_paid_invoice(club: Club) -> None:
    made = club.again(club.subscribe())
    assert made.status == "active"
    invoice = made.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (invoice.total, invoice.status, invoice.billing_reason) == (
        50_00,
        "paid",
        "subscription_create",
    )
    item = made["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (JANUARY, FEBRUARY)


def test_the_preview_of_a_change_is_what_it_costs(club: Club) -> None:
    """On the 11th 21 of 31 days are left: 3 seats give back 20.32, 7 cost 47.42."""
    made = club.subscribe()
    club.go_to(JANUARY + 10 * DAY)
    change = {"items": [{"id": club.seats(made), "quantity": 7}]}
    preview = club.v1.invoices.create_preview(
        {"subscription": made.id, "subscription_details": change}
    )
    assert [line.amount for line in preview.lines.data] == [20_00, 70_00, -20_32, 47_42]
    assert not club.v1.invoice_items.list().data
    club.v1.subscriptions.update(made.id, change)
    club.go_to(FEBRUARY + 7_200)
    bill = club.again(made).latest_invoice
    assert isinstance(bill, stripe.Invoice)
    assert (bill.total, bill.status) == (preview.total, "paid")


def test_a_change_may_be_invoiced_at_once(club: Club) -> None:
    made = club.subscribe()
    club.go_to(JANUARY + 10 * DAY)
    change = {
        "items": [{"id": club.seats(made), "quantity": 7}],
        "proration_behavior": "always_invoice",
    }
    preview = club.v1.invoices.create_preview(
        {"subscription": made.id, "subscription_details": change}
    )
    club.v1.subscriptions.update(made.id, change)
    bill = club.again(made).latest_invoice
    assert isinstance(bill, stripe.Invoice)
    assert (preview.total, bill.total, bill.status) == (27_10, 27_10, "paid")
    assert bill.billing_reason == "subscription_update"


def test_a_second_change_gives_back_a_share_of_the_first_ones_debit(club: Club) -> None:
    """47.42 paid for 21 days; after 7 of them 14 are left: 47.42 x 14 / 21 = 31.613."""
    made = club.subscribe()
    for day, quantity in ((10, 7), (17, 2)):
        club.go_to(JANUARY + day * DAY)
        change = {"items": [{"id": club.seats(made), "quantity": quantity}]}
        club.v1.subscriptions.update(made.id, change)
    waiting = [item.amount for item in club.v1.invoice_items.list().data][::-1]
    assert waiting == [-20_32, 47_42, -31_61, 9_03]


def test_a_percentage_off_is_off_the_prorations_too(club: Club) -> None:
    """Half price: 15.00 were paid for 3 seats. 21 of 31 days: -10.16, and 7 seats for 23.71."""
    coupon = club.v1.coupons.create({"percent_off": 50, "duration": "forever"})
    made = club.subscribe(discounts=[{"coupon": coupon.id}])
    assert club.again(made)["latest_invoice"].total == 25_00
    club.go_to(JANUARY + 10 * DAY)
    change = {"items": [{"id": club.seats(made), "quantity": 7}]}
    club.v1.subscriptions.update(made.id, change)
    assert [item.amount for item in club.v1.invoice_items.list().data] == [23_71, -10_16]


def test_no_proration_changes_the_next_period_only(club: Club) -> None:
    made = club.subscribe()
    club.go_to(JANUARY + 10 * DAY)
    change = {
        "items": [{"id": club.seats(made), "quantity": 7}],
        "proration_behavior": "none",
    }
    club.v1.subscriptions.update(made.id, change)
    club.go_to(FEBRUARY + 7_200)
    assert club.again(made)["latest_invoice"].total == 90_00


def test_a_renewal_is_a_draft_for_an_hour(club: Club) -> None:
    made = club.subscribe()
    club.go_to(FEBRUARY + 60)
    assert club.again(made)["latest_invoice"].status == "draft"
    draft = club.again(made)["latest_invoice"].id
    club.v1.invoice_items.create(
        {"customer": club.customer.id, "invoice": draft, "amount": 12_34, "currency": "usd"}
    )
    club.go_to(FEBRUARY + 3_601)
    bill = club.again(made)["latest_invoice"]
    assert (bill.total, bill.status) == (62_34, "paid")


def test_month_ends_are_kept_by_the_day_of_the_anchor(shop: Shop, club: Club) -> None:
    """31 January, 28 February, 31 March."""
    made = club.subscribe(trial_end=FEBRUARY - DAY)
    ends = []
    for _ in range(3):
        end = club.again(made)["items"].data[0].current_period_end
        ends.append((end - JANUARY) // DAY)
        club.go_to(end + 7_200)
    assert ends == [30, 58, 89]


def test_a_trial_ends_as_was_agreed_when_there_is_no_card(club: Club) -> None:
    for behavior, status in (("cancel", "canceled"), ("pause", "paused")):
        method = club.v1.customers.retrieve(club.customer.id).invoice_settings
        if method.default_payment_method:
            club.v1.payment_methods.detach(method.default_payment_method)
        now = club.v1.test_helpers.test_clocks.retrieve(club.clock).frozen_time
        made = club.subscribe(
            trial_period_days=14,
            trial_settings={"end_behavior": {"missing_payment_method": behavior}},
        )
        assert (made.status, made.pending_setup_intent is not None) == ("trialing", True)
        club.go_to(now + 15 * DAY)
        assert club.again(made).status == status
    assert "customer.subscription.trial_will_end" in club.shop.told()


def test_a_failing_card_is_tried_again_and_a_new_one_recovers(club: Club) -> None:
    made = club.subscribe()
    club.pay_with("pm_card_chargeCustomerFail")
    club.go_to(FEBRUARY + 7_200)
    late = club.again(made)
    assert (late.status, late["latest_invoice"].attempt_count) == ("past_due", 1)
    club.pay_with("pm_card_visa")
    club.go_to(FEBRUARY + 3 * DAY + 7_200)
    well = club.again(made)
    assert (well.status, well["latest_invoice"].attempt_count) == ("active", 2)


@pytest.mark.parametrize(("after", "status"), [("cancel", "canceled"), ("unpaid", "unpaid")])
def test_when_all_tries_fail_the_account_says_what_becomes_of_it(
    club: Club, after: str, status: str
) -> None:
    with club.shop.sandbox.store.transaction():
        club.shop.sandbox.store.set_note("after_retries", after)
    made = club.subscribe()
    club.pay_with("pm_card_chargeCustomerFail")
    club.go_to(FEBRUARY + 16 * DAY)
    assert club.again(made).status == status
    assert club.again(made)["latest_invoice"].attempt_count == 4


def test_a_change_that_must_be_paid_first_waits_for_the_money(club: Club) -> None:
    made = club.subscribe()
    club.pay_with("pm_card_chargeCustomerFail")
    club.go_to(JANUARY + 10 * DAY)
    changed = club.v1.subscriptions.update(
        made.id,
        {
            "items": [{"id": club.seats(made), "quantity": 7}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
        },
    )
    assert changed["items"].data[1].quantity == 3
    assert changed.pending_update.subscription_items[1].quantity == 7
    good = club.v1.payment_methods.attach("pm_card_visa", {"customer": club.customer.id})
    club.v1.invoices.pay(changed.latest_invoice, {"payment_method": good.id})
    applied = club.again(made)
    assert (applied["items"].data[1].quantity, applied.pending_update) == (7, None)


def test_a_change_that_nobody_pays_is_dropped_after_23_hours(club: Club) -> None:
    made = club.subscribe()
    club.pay_with("pm_card_chargeCustomerFail")
    club.v1.subscriptions.update(
        made.id,
        {
            "items": [{"id": club.seats(made), "quantity": 7}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
            "proration_date": JANUARY,
        },
    )
    club.go_to(JANUARY + DAY)
    dropped = club.again(made)
    assert (dropped["items"].data[1].quantity, dropped.pending_update) == (3, None)
    assert dropped["latest_invoice"].status == "void"


def test_an_error_leaves_the_subscription_as_it_was(club: Club) -> None:
    made = club.subscribe()
    club.pay_with("pm_card_chargeCustomerFail")
    before = len(club.shop.told())
    with pytest.raises(stripe.CardError):
        club.v1.subscriptions.update(
            made.id,
            {
                "items": [{"id": club.seats(made), "quantity": 7}],
                "proration_behavior": "always_invoice",
                "payment_behavior": "error_if_incomplete",
            },
        )
    assert club.again(made)["items"].data[1].quantity == 3
    assert len(club.shop.told()) == before


def test_a_first_invoice_that_is_never_paid_ends_the_subscription(club: Club) -> None:
    made = club.subscribe(payment_behavior="default_incomplete")
    assert made.status == "incomplete"
    club.go_to(JANUARY + DAY)
    ended = club.again(made)
    assert (ended.status, ended["latest_invoice"].status) == ("incomplete_expired", "void")


def test_an_end_at_the_periods_end_can_be_taken_back(club: Club) -> None:
    made = club.subscribe()
    ending = club.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})
    assert (ending.cancel_at_period_end, ending.cancel_at) == (True, FEBRUARY)
    club.v1.subscriptions.update(made.id, {"cancel_at_period_end": False})
    club.go_to(FEBRUARY + 7_200)
    assert club.again(made).status == "active"
    club.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})
    club.go_to(MARCH + 60)
    assert club.again(made).status == "canceled"


def test_another_interval_begins_a_new_period_now(club: Club) -> None:
    """After 10 of 31 days a year for 200.00 begins; 10.00 + 10.00 + 10.00 + 20.00 give back."""
    price = club.v1.prices.retrieve(club.base)
    yearly = club.v1.prices.create(
        {
            "product": price.product,
            "currency": "usd",
            "unit_amount": 200_00,
            "recurring": {"interval": "year"},
        }
    )
    made = club.v1.subscriptions.create(
        {"customer": club.customer.id, "items": [{"price": club.base}]}
    )
    club.go_to(JANUARY + 10 * DAY)
    change = {"items": [{"id": made["items"].data[0].id, "price": yearly.id}]}
    club.v1.subscriptions.update(made.id, change)
    moved = club.again(made)
    assert [line.amount for line in moved["latest_invoice"].lines.data] == [200_00, -13_55]
    assert moved["items"].data[0].current_period_start == JANUARY + 10 * DAY


def test_a_coupon_for_once_is_off_the_first_invoice_only(club: Club) -> None:
    coupon = club.v1.coupons.create({"amount_off": 15_00, "currency": "usd", "duration": "once"})
    made = club.subscribe(discounts=[{"coupon": coupon.id}])
    first = club.again(made)["latest_invoice"]
    assert (first.subtotal, first.total) == (50_00, 35_00)
    club.go_to(FEBRUARY + 7_200)
    assert club.again(made)["latest_invoice"].total == 50_00


def test_a_tax_is_reckoned_from_what_discounts_leave(club: Club) -> None:
    rate = club.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19})
    coupon = club.v1.coupons.create({"percent_off": 10, "duration": "forever"})
    made = club.subscribe(discounts=[{"coupon": coupon.id}], default_tax_rates=[rate.id])
    bill = club.again(made)["latest_invoice"]
    assert (bill.subtotal, bill.total_excluding_tax, bill.total) == (50_00, 45_00, 53_55)
    assert bill.total_taxes[0].amount == 8_55


def test_credit_of_the_customer_is_used_first(club: Club) -> None:
    club.v1.customers.balance_transactions.create(
        club.customer.id, {"amount": -60_00, "currency": "usd"}
    )
    bill = club.again(club.subscribe())["latest_invoice"]
    assert (bill.total, bill.amount_due, bill.status) == (50_00, 0, "paid")
    assert (bill.starting_balance, bill.ending_balance) == (-60_00, -10_00)
    assert club.v1.customers.retrieve(club.customer.id).balance == -10_00


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("void", "void"), ("mark_uncollectible", "uncollectible"), ("keep_as_draft", "draft")],
)
def test_paused_collection_does_with_invoices_what_was_said(
    club: Club, behavior: str, status: str
) -> None:
    made = club.subscribe()
    club.v1.subscriptions.update(made.id, {"pause_collection": {"behavior": behavior}})
    club.go_to(FEBRUARY + 7_200)
    assert club.again(made)["latest_invoice"].status == status
    assert club.again(made).status == "active"


def test_an_invoice_that_is_sent_is_overdue_after_its_days(club: Club) -> None:
    made = club.subscribe(collection_method="send_invoice", days_until_due=7)
    assert made.status == "active"
    club.go_to(JANUARY + 8 * DAY)
    bill = club.again(made)["latest_invoice"]
    assert (bill.status, bill.due_date) == ("open", JANUARY + 3_600 + 7 * DAY)
    assert "invoice.overdue" in club.shop.told()


def test_a_detached_card_fails_a_renewal_and_stops_nobody_elses_time(club: Club) -> None:
    made = club.subscribe()
    card = club.v1.customers.retrieve(club.customer.id).invoice_settings.default_payment_method
    club.go_to(FEBRUARY + 60)
    draft = club.again(made)["latest_invoice"].id
    club.v1.invoices.update(draft, {"default_payment_method": card})
    club.v1.payment_methods.detach(card)
    club.go_to(FEBRUARY + 7_200)
    assert club.again(made).status == "past_due"
