"""Checkout, disputes, debits and credit notes."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from apps.sandbox.errors import Refusal
from apps.sandbox.resources import checkout
from apps.sandbox.resources.checkout import Payer
from tests.sandbox.shop import Shop

VISA, DECLINED, CHALLENGED = "4242424242424242", "4000000000000002", "4000002760003184"
GOOD_IBAN, BAD_IBAN = "DE89370400440532013000", "DE62370400440532013001"


def price(shop: Shop, amount: int = 20_00, *, recurring: bool = True, **params: Any) -> str:
    product = shop.client.v1.products.create({"name": "Club"})
    wanted: Any = {"product": product.id, "currency": "usd", "unit_amount": amount, **params}
    if recurring:
        wanted["recurring"] = {"interval": "month"}
    return shop.client.v1.prices.create(wanted).id


def session(shop: Shop, mode: str, *prices: str, **params: Any) -> stripe.checkout.Session:
    wanted: Any = {"mode": mode, "success_url": "https://example.com/done", **params}
    if prices:
        wanted["line_items"] = [{"price": each, "quantity": 1} for each in prices]
    return shop.client.v1.checkout.sessions.create(wanted)


def submit(shop: Shop, identity: str, number: str = VISA) -> dict[str, Any]:
    payer = Payer(number, email="ada@example.com", name="Ada")
    shown: dict[str, Any] = shop.sandbox.act(lambda w: checkout.submit(w, identity, payer))
    return shown


def test_a_visitor_subscribes_with_a_promotion_code(shop: Shop) -> None:
    coupon = shop.client.v1.coupons.create({"percent_off": 25, "duration": "once"})
    promotion: Any = {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "SPRING"}
    shop.client.v1.promotion_codes.create(promotion)
    opened = session(
        shop,
        "subscription",
        price(shop),
        allow_promotion_codes=True,
        client_reference_id="org_1",
        subscription_data={"metadata": {"billing_id": "sub_1"}},
    )
    assert opened.amount_total == 20_00
    shop.sandbox.act(lambda w: checkout.apply_code(w, opened.id, "spring"))
    shown = shop.client.v1.checkout.sessions.retrieve(opened.id)
    assert (shown.amount_subtotal, shown.amount_total) == (20_00, 15_00)
    submit(shop, opened.id)
    done = shop.client.v1.checkout.sessions.retrieve(opened.id, {"expand": ["subscription"]})
    assert (done.status, done.payment_status, done.client_reference_id) == (
        "complete",
        "paid",
        "org_1",
    )
    assert isinstance(done.subscription, stripe.Subscription)
    assert done.subscription.status == "active"
    assert done.subscription.metadata["billing_id"] == "sub_1"
    assert shop.told()[-1] == "checkout.session.completed"


def test_a_declined_card_leaves_no_subscription_and_an_open_session(shop: Shop) -> None:
    opened = session(shop, "subscription", price(shop))
    before = shop.told()
    with pytest.raises(Refusal, match="declined"):
        submit(shop, opened.id, DECLINED)
    assert shop.client.v1.checkout.sessions.retrieve(opened.id).status == "open"
    assert not shop.client.v1.subscriptions.list({"status": "all"}).data
    assert [name for name in shop.told() if "subscription" in name] == []
    submit(shop, opened.id)
    assert len(shop.client.v1.subscriptions.list().data) == 1
    assert len(shop.told()) > len(before)


def test_a_challenge_comes_between(shop: Shop) -> None:
    opened = session(shop, "subscription", price(shop))
    waiting = submit(shop, opened.id, CHALLENGED)
    assert waiting["status"] == "open"
    intent = shop.client.v1.payment_intents.list().data[0]
    assert intent.status == "requires_action"
    shop.authenticate(intent.id)
    assert shop.client.v1.checkout.sessions.retrieve(opened.id).status == "complete"
    assert shop.client.v1.subscriptions.list().data[0].status == "active"


def test_after_a_failed_challenge_another_card_is_tried(shop: Shop) -> None:
    opened = session(shop, "subscription", price(shop))
    submit(shop, opened.id, CHALLENGED)
    shop.authenticate(shop.client.v1.payment_intents.list().data[0].id, passed=False)
    submit(shop, opened.id)
    running = shop.client.v1.subscriptions.list({"status": "active"}).data
    assert len(running) == 1
    assert shop.client.v1.checkout.sessions.retrieve(opened.id).subscription == running[0].id


def test_a_card_is_saved_for_later(shop: Shop) -> None:
    ada = shop.customer(card=None)
    opened = session(shop, "setup", customer=ada.id, currency="usd")
    submit(shop, opened.id)
    done = shop.client.v1.checkout.sessions.retrieve(opened.id, {"expand": ["setup_intent"]})
    assert isinstance(done.setup_intent, stripe.SetupIntent)
    assert done.setup_intent.status == "succeeded"
    saved = shop.client.v1.customers.payment_methods.list(ada.id).data
    assert [each.id for each in saved] == [done.setup_intent.payment_method]


def test_a_one_time_price_is_paid(shop: Shop) -> None:
    opened = session(shop, "payment", price(shop, 7_50, recurring=False))
    submit(shop, opened.id)
    done = shop.client.v1.checkout.sessions.retrieve(opened.id, {"expand": ["line_items"]})
    assert (done.payment_status, done.amount_total) == ("paid", 7_50)
    assert done.line_items is not None
    assert done.line_items.data[0].amount_total == 7_50


@pytest.mark.parametrize(("iban", "outcome"), [(GOOD_IBAN, "succeeded"), (BAD_IBAN, "failed")])
def test_a_bank_debit_is_known_days_later(shop: Shop, iban: str, outcome: str) -> None:
    opened = session(shop, "payment", price(shop, 7_50, recurring=False, currency="eur"))
    submit(shop, opened.id, iban)
    done = shop.client.v1.checkout.sessions.retrieve(opened.id)
    assert (done.status, done.payment_status) == ("complete", "unpaid")
    shop.sandbox.advance(6 * 86_400)
    assert shop.told()[-1] == f"checkout.session.async_payment_{outcome}"


def test_a_session_that_nobody_finishes_expires(shop: Shop) -> None:
    opened = session(shop, "setup", currency="usd")
    shop.sandbox.advance(86_401)
    assert shop.client.v1.checkout.sessions.retrieve(opened.id).status == "expired"
    with pytest.raises(Refusal, match="expired"):
        submit(shop, opened.id)


@pytest.mark.parametrize(
    ("said", "outcome"), [("winning_evidence", "won"), ("losing_evidence", "lost"), ("", "lost")]
)
def test_a_dispute_is_decided_by_the_evidence(shop: Shop, said: str, outcome: str) -> None:
    invoice = shop.final(shop.customer(card="pm_card_createDispute"), 10_00)
    shop.client.v1.invoices.pay(str(invoice.id))
    dispute = shop.client.v1.disputes.list().data[0]
    assert (dispute.status, dispute.amount) == ("needs_response", 10_00)
    if said:
        evidence: Any = {"evidence": {"uncategorized_text": said}}
        assert shop.client.v1.disputes.update(dispute.id, evidence).status == "under_review"
    else:
        shop.sandbox.advance(8 * 86_400)
    assert shop.client.v1.disputes.retrieve(dispute.id).status == outcome
    assert "charge.dispute.closed" in shop.told()


def test_a_credit_note_makes_an_open_invoice_less(shop: Shop) -> None:
    invoice = shop.final(shop.customer(), 10_00)
    note = shop.client.v1.credit_notes.create({"invoice": str(invoice.id), "amount": 4_00})
    assert (note.pre_payment_amount, note.post_payment_amount) == (4_00, 0)
    paid = shop.client.v1.invoices.pay(str(invoice.id))
    assert (paid.amount_due, paid.amount_paid) == (6_00, 6_00)
    assert shop.client.v1.charges.list().data[0].amount == 6_00


def test_a_credit_note_on_a_paid_invoice_gives_back_and_keeps(shop: Shop) -> None:
    ada = shop.customer()
    invoice = shop.final(ada, 10_00)
    shop.client.v1.invoices.pay(str(invoice.id))
    wanted: Any = {
        "invoice": str(invoice.id),
        "amount": 5_00,
        "refund_amount": 3_00,
        "credit_amount": 2_00,
    }
    note = shop.client.v1.credit_notes.create(wanted)
    assert note.post_payment_amount == 5_00
    assert shop.client.v1.charges.list().data[0].amount_refunded == 3_00
    assert shop.client.v1.customers.retrieve(ada.id).balance == -2_00
    with pytest.raises(stripe.InvalidRequestError, match="at most what is left"):
        wanted["amount"] = 5_01
        shop.client.v1.credit_notes.create(wanted)


def test_the_portal_has_an_address(shop: Shop) -> None:
    ada = shop.customer()
    opened = shop.client.v1.billing_portal.sessions.create({"customer": ada.id})
    assert opened.url.endswith(f"/p/session/{opened.id}")
    kept = shop.client.v1.billing_portal.configurations.list().data
    assert [each.id for each in kept] == [opened.configuration]
