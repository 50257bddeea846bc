"""Invoices of amounts only, pushed and collected as payments does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stripe

from apps.sandbox.engine import Sandbox
from apps.sandbox.store import Store
from apps.sandbox.transports import SandboxClient
from tests.sandbox.shop import KEY, Shop


def test_an_invoice_of_amounts_is_paid_from_the_saved_card(shop: Shop) -> None:
    ada = shop.customer()
    invoice = shop.final(ada, 40_00, 3_50, -2_00)
    assert (invoice.status, invoice.total) == ("open", 41_50)
    paid = shop.client.v1.invoices.pay(str(invoice.id), {"expand": ["payments"]})
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 41_50, 0)
    assert paid.payments is not None
    assert paid.payments.data[0].amount_paid == 41_50
    assert shop.told(of=str(invoice.id))[-3:] == [
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("4000000000009987", "card_declined", "lost_card"),
        ("4000000000000069", "expired_card", "expired_card"),
        ("4000000000000119", "processing_error", "processing_error"),
        ("4100000000000019", "card_declined", "fraudulent"),
    ],
)
def test_each_card_is_refused_for_its_own_reason(
    shop: Shop, number: str, code: str, reason: str
) -> None:
    ada = shop.customer()
    card = str(ada.invoice_settings and ada.invoice_settings.default_payment_method)
    shop.behave_like(card, number)
    invoice = shop.final(ada, 10_00)
    with pytest.raises(stripe.CardError) as refused:
        shop.client.v1.invoices.pay(str(invoice.id))
    assert refused.value.error is not None
    assert (refused.value.code, refused.value.error.decline_code) == (code, reason)
    again = shop.client.v1.invoices.retrieve(str(invoice.id))
    assert (again.status, again.attempt_count, again.amount_paid) == ("open", 1, 0)
    assert shop.told()[-3:] == [
        "charge.failed",
        "payment_intent.payment_failed",
        "invoice.payment_failed",
    ]


def test_a_card_that_declines_cannot_be_saved(shop: Shop) -> None:
    ada = shop.customer(card=None)
    with pytest.raises(stripe.CardError, match="declined"):
        shop.client.v1.payment_methods.attach("pm_card_chargeDeclined", {"customer": ada.id})
    assert not shop.client.v1.customers.payment_methods.list(ada.id).data


def test_three_d_secure_is_asked_for_and_pays_once_passed(shop: Shop) -> None:
    ada = shop.customer(card="pm_card_authenticationRequired")
    invoice = shop.final(ada, 10_00)
    with pytest.raises(stripe.CardError) as asked:
        shop.client.v1.invoices.pay(str(invoice.id))
    assert asked.value.code == "invoice_payment_intent_requires_action"
    shown = shop.client.v1.invoices.retrieve(str(invoice.id), {"expand": ["payments"]})
    assert shown.payments is not None
    intent = str(shown.payments.data[0].payment.payment_intent)
    assert shop.client.v1.payment_intents.retrieve(intent).status == "requires_action"
    shop.authenticate(intent)
    assert shop.client.v1.invoices.retrieve(str(invoice.id)).status == "paid"


def test_a_failed_challenge_leaves_the_invoice_open(shop: Shop) -> None:
    ada = shop.customer(card="pm_card_authenticationRequired")
    invoice = shop.final(ada, 10_00)
    with pytest.raises(stripe.CardError):
        shop.client.v1.invoices.pay(str(invoice.id))
    shown = shop.client.v1.invoices.retrieve(str(invoice.id), {"expand": ["payments"]})
    assert shown.payments is not None
    intent = str(shown.payments.data[0].payment.payment_intent)
    shop.authenticate(intent, passed=False)
    assert shop.client.v1.invoices.retrieve(str(invoice.id)).status == "open"
    assert shop.client.v1.payment_intents.retrieve(intent).status == "requires_payment_method"


def test_money_that_came_elsewhere_settles_without_a_charge(shop: Shop) -> None:
    invoice = shop.final(shop.customer(), 10_00)
    paid = shop.client.v1.invoices.pay(str(invoice.id), {"paid_out_of_band": True})
    assert (paid.status, paid.amount_paid) == ("paid", 0)
    assert not shop.client.v1.charges.list().data
    assert "invoice.payment_succeeded" not in shop.told()


def test_a_void_invoice_cannot_be_paid(shop: Shop) -> None:
    invoice = shop.final(shop.customer(), 10_00)
    shop.client.v1.invoices.void_invoice(str(invoice.id))
    with pytest.raises(stripe.InvalidRequestError, match="void"):
        shop.client.v1.invoices.pay(str(invoice.id))
    assert not shop.client.v1.charges.list().data


def test_a_refund_is_never_more_than_what_is_left(shop: Shop) -> None:
    invoice = shop.final(shop.customer(), 10_00)
    shop.client.v1.invoices.pay(str(invoice.id))
    charge = shop.client.v1.charges.list().data[0]
    shop.client.v1.refunds.create({"charge": charge.id, "amount": 4_00})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
        shop.client.v1.refunds.create({"charge": charge.id, "amount": 6_01})
    assert shop.client.v1.charges.retrieve(charge.id).amount_refunded == 4_00


def test_lines_beyond_the_first_ten_are_read_in_pages(shop: Shop) -> None:
    amounts = [1_00 + step for step in range(23)]
    draft = shop.draft(shop.customer(), *amounts)
    assert draft.lines.has_more
    assert len(draft.lines.data) == 10
    pages = shop.client.v1.invoices.line_items.list(str(draft.id), {"limit": 5})
    assert [line.amount for line in pages.auto_paging_iter()] == amounts


@pytest.mark.parametrize(
    ("iban", "status"), [("DE89370400440532013000", "paid"), ("DE62370400440532013001", "open")]
)
def test_a_bank_debit_of_an_invoice_is_known_days_later(shop: Shop, iban: str, status: str) -> None:
    ada = shop.customer(card=None)
    wanted: Any = {"type": "sepa_debit", "sepa_debit": {"iban": iban}}
    method = shop.client.v1.payment_methods.create(wanted)
    shop.client.v1.payment_methods.attach(method.id, {"customer": ada.id})
    invoice = shop.final(ada, 10_00)
    waiting = shop.client.v1.invoices.pay(str(invoice.id), {"payment_method": method.id})
    assert (waiting.status, waiting.amount_paid) == ("open", 0)
    with pytest.raises(stripe.InvalidRequestError, match="being processed"):
        shop.client.v1.invoices.pay(str(invoice.id))
    shop.sandbox.advance(5 * 86_400)
    assert shop.client.v1.invoices.retrieve(str(invoice.id)).status == status
    assert ("invoice.payment_failed" in shop.told()) == (status == "open")


def test_a_void_invoice_gives_the_customers_credit_back(shop: Shop) -> None:
    ada = shop.customer()
    credit: Any = {"amount": -4_00, "currency": "usd"}
    shop.client.v1.customers.balance_transactions.create(ada.id, credit)
    invoice = shop.final(ada, 10_00)
    assert (invoice.amount_due, invoice.ending_balance) == (6_00, 0)
    shop.client.v1.invoices.void_invoice(str(invoice.id))
    assert shop.client.v1.customers.retrieve(ada.id).balance == -4_00


def test_what_is_too_little_to_charge_is_owed_on_the_next_invoice(shop: Shop) -> None:
    ada = shop.customer()
    assert shop.final(ada, 30).status == "paid"
    assert not shop.client.v1.charges.list().data
    assert shop.final(ada, 10_00).amount_due == 10_30


def test_nothing_is_forgotten_when_the_process_ends(tmp_path: Path) -> None:
    for expected in (0, 1, 2):
        sandbox = Sandbox(Store(tmp_path / "sandbox.sqlite"), strict=True)
        client = stripe.StripeClient(KEY, http_client=SandboxClient(sandbox))
        assert len(client.v1.customers.list().data) == expected
        made = client.v1.customers.create({}, {"idempotency_key": f"key-{expected}"})
        sandbox.store.close()
        again = Sandbox(Store(tmp_path / "sandbox.sqlite"), strict=True)
        client = stripe.StripeClient(KEY, http_client=SandboxClient(again))
        repeated = client.v1.customers.create({}, {"idempotency_key": f"key-{expected}"})
        assert repeated.id == made.id
        again.store.close()
