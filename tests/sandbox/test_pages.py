"""The hosted pages, as a visitor sees them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from apps.sandbox.cards import CARDS
from apps.sandbox.engine import Sandbox
from apps.sandbox.pages import paying
from tests.sandbox.shop import Shop
from tests.sandbox.surfing import Visitor
from tests.sandbox.test_checkout import price, session

VISA, DECLINED, KEPT = "4242424242424242", "4000000000000002", "4000000000000341"
CHALLENGED = "4000002760003184"
CARD = {"expiry": "12 / 34", "cvc": "123"}


@pytest.fixture
def visitor(sandbox: Sandbox) -> Visitor:
    return Visitor(sandbox)


def again(shop: Shop, opened: stripe.checkout.Session) -> stripe.checkout.Session:
    return shop.client.v1.checkout.sessions.retrieve(opened.id)


def url(opened: Any) -> str:
    return str(opened.url)


# --- checkout ------------------------------------------------------------------------------------


def test_a_visitor_pays_and_returns_to_the_seller(shop: Shop, visitor: Visitor) -> None:
    opened = session(
        shop,
        "payment",
        price(shop, 7_50, recurring=False),
        success_url="https://shop.example/done?session={CHECKOUT_SESSION_ID}",
        cancel_url="https://shop.example/cart",
    )
    shown = visitor.open(url(opened))
    assert "Simulated Stripe: no money moves" in shown
    assert "7.50 USD" in shown
    assert 'href="https://shop.example/cart"' in shown
    done = visitor.send(url(opened), do="pay", choice=VISA, email="ada@example.com", **CARD)
    assert (done.status, done.location) == (303, f"https://shop.example/done?session={opened.id}")
    assert again(shop, opened).payment_status == "paid"
    over = visitor.open(url(opened))
    assert "All done" in over


def test_a_declined_card_is_told_and_another_one_pays(shop: Shop, visitor: Visitor) -> None:
    opened = session(shop, "subscription", price(shop))
    refused = visitor.send(url(opened), do="pay", choice=DECLINED, email="ada@example.com", **CARD)
    assert refused.status == 402
    assert "Your card was declined." in refused
    assert again(shop, opened).status == "open"
    done = visitor.send(url(opened), do="pay", choice=VISA, email="ada@example.com", **CARD)
    assert done.location == "https://example.com/done"
    assert again(shop, opened).status == "complete"


def test_a_promotion_code_makes_it_less(shop: Shop, visitor: Visitor) -> None:
    coupon = shop.client.v1.coupons.create({"percent_off": 25, "duration": "once"})
    promotion: Any = {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "SPRING"}
    shop.client.v1.promotion_codes.create(promotion)
    opened = session(shop, "subscription", price(shop), allow_promotion_codes=True)
    assert "This promotion code is invalid." in visitor.send(url(opened), do="code", code="WINTER")
    visitor.send(url(opened), do="code", code="spring")
    shown = visitor.open(url(opened))
    assert "Discount (SPRING)" in shown
    assert "15.00 USD" in shown


def test_no_promotion_code_is_asked_for_where_none_is_taken(shop: Shop, visitor: Visitor) -> None:
    opened = session(shop, "subscription", price(shop))
    assert "Promotion code" not in visitor.open(url(opened))


def test_the_bank_is_asked_and_the_visitor_goes_on(shop: Shop, visitor: Visitor) -> None:
    opened = session(shop, "setup", customer=shop.customer(card=None).id, currency="usd")
    asked = visitor.send(url(opened), do="pay", choice=CHALLENGED, **CARD)
    assert "/challenge/seti_" in asked.location
    assert "is this you?" in visitor.open(asked.location)
    assert visitor.open(url(opened)).location == asked.location
    assert visitor.send(asked.location, do="complete").location == "https://example.com/done"
    assert again(shop, opened).status == "complete"


def test_who_fails_at_the_bank_chooses_another_card(shop: Shop, visitor: Visitor) -> None:
    opened = session(shop, "subscription", price(shop), customer=shop.customer(card=None).id)
    asked = visitor.send(url(opened), do="pay", choice=CHALLENGED, **CARD)
    returned = visitor.send(asked.location, do="fail")
    assert "We are unable to authenticate" in visitor.open(returned.location)
    visitor.send(url(opened), do="pay", choice=VISA, **CARD)
    assert again(shop, opened).status == "complete"
    assert len(shop.client.v1.subscriptions.list().data) == 1


def test_a_bank_account_can_be_saved_where_it_is_offered(shop: Shop, visitor: Visitor) -> None:
    ada = shop.customer(card=None)
    offered: Any = {"payment_method_types": ["card", "sepa_debit"], "customer": ada.id}
    opened = session(shop, "setup", currency="eur", **offered)
    assert "SEPA debit" in visitor.open(url(opened))
    visitor.send(url(opened), do="pay", choice="DE89370400440532013000")
    saved = shop.client.v1.customers.payment_methods.list(ada.id).data
    assert [each.type for each in saved] == ["sepa_debit"]
    only_cards = session(shop, "setup", customer=ada.id, currency="eur")
    assert "SEPA debit" not in visitor.open(url(only_cards))


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"number": "4111 1111 1111 1234"}, "test cards only"),
        ({"expiry": "12 / 20"}, "expiration year is in the past"),
        ({"expiry": "soon"}, "expiration date is incomplete"),
        ({"cvc": "1"}, "security code is incomplete"),
        ({"choice": ""}, "card number is incomplete"),
    ],
)
def test_a_card_that_cannot_be_is_refused(
    shop: Shop, visitor: Visitor, typed: dict[str, str], told: str
) -> None:
    opened = session(shop, "setup", customer=shop.customer(card=None).id, currency="usd")
    refused = visitor.send(url(opened), **{"do": "pay", "choice": VISA, **CARD, **typed})
    assert refused.status == 402
    assert told in refused
    assert again(shop, opened).status == "open"


def test_the_month_on_the_card_is_kept(shop: Shop, visitor: Visitor) -> None:
    ada = shop.customer(card=None)
    opened = session(shop, "setup", customer=ada.id, currency="usd")
    visitor.send(url(opened), do="pay", choice=VISA, expiry="3/2031", cvc="123")
    (saved,) = shop.client.v1.customers.payment_methods.list(ada.id).data
    assert saved.card is not None
    assert (saved.card.exp_month, saved.card.exp_year) == (3, 2031)


def test_every_test_card_is_offered_and_says_what_it_does(shop: Shop, visitor: Visitor) -> None:
    opened = session(shop, "setup", currency="usd")
    shown = visitor.open(url(opened))
    for number, card in CARDS.items():
        assert f'value="{number}"' in shown
        assert paying.effect(card) in shown


# --- hosted invoice ------------------------------------------------------------------------------


def test_an_invoice_is_paid_with_the_saved_card(shop: Shop, visitor: Visitor) -> None:
    invoice = shop.final(shop.customer(), 10_00, 5_00)
    place = str(invoice.hosted_invoice_url)
    shown = visitor.open(place)
    assert "15.00 USD" in shown
    (saved,) = shop.client.v1.customers.payment_methods.list(str(invoice.customer)).data
    visitor.send(place, saved=saved.id)
    paid = visitor.open(place)
    assert "Invoice paid" in paid
    receipt = paid.text.partition('href="/_stripe/receipts/')[2].partition('"')[0]
    assert "15.00 USD" in visitor.open(f"/_stripe/receipts/{receipt}")
    assert shop.client.v1.invoices.retrieve(str(invoice.id)).status == "paid"


def test_a_refused_invoice_is_paid_with_a_new_card_that_stays(shop: Shop, visitor: Visitor) -> None:
    ada = shop.customer(card="pm_card_chargeCustomerFail")
    invoice = shop.final(ada, 10_00)
    place = str(invoice.hosted_invoice_url)
    (old,) = shop.client.v1.customers.payment_methods.list(ada.id).data
    refused = visitor.send(place, saved=old.id)
    assert (refused.status, "Your card was declined." in refused) == (402, True)
    visitor.send(place, choice=VISA, keep="yes", **CARD)
    assert "Invoice paid" in visitor.open(place)
    settings = shop.client.v1.customers.retrieve(ada.id).invoice_settings
    assert settings is not None
    assert settings.default_payment_method not in {None, old.id}


def test_a_card_that_its_owner_does_not_keep_is_not_saved(shop: Shop, visitor: Visitor) -> None:
    ada = shop.customer(card=None)
    place = str(shop.final(ada, 10_00).hosted_invoice_url)
    visitor.send(place, choice=VISA, **CARD)
    assert "Invoice paid" in visitor.open(place)
    assert shop.client.v1.customers.payment_methods.list(ada.id).data == []


def test_an_invoice_is_confirmed_at_the_bank(shop: Shop, visitor: Visitor) -> None:
    ada = shop.customer(card=None)
    place = str(shop.final(ada, 10_00).hosted_invoice_url)
    asked = visitor.send(place, choice=CHALLENGED, keep="yes", **CARD)
    assert "Your bank wants you to confirm" in visitor.open(place)
    failed = visitor.send(asked.location, do="fail")
    assert "We are unable to authenticate" in visitor.open(failed.location)
    asked = visitor.send(place, choice=CHALLENGED, keep="yes", **CARD)
    assert visitor.send(asked.location, do="complete").location.endswith(place[-10:])
    assert "Invoice paid" in visitor.open(place)
    assert len(shop.client.v1.customers.payment_methods.list(ada.id).data) == 1


def test_nobody_pays_with_another_customers_card(shop: Shop, visitor: Visitor) -> None:
    eve = shop.customer()
    (card,) = shop.client.v1.customers.payment_methods.list(eve.id).data
    invoice = shop.final(shop.customer(card=None), 10_00)
    refused = visitor.send(str(invoice.hosted_invoice_url), saved=card.id)
    assert (refused.status, "another customer's" in refused) == (402, True)
    assert shop.client.v1.invoices.retrieve(str(invoice.id)).status == "open"


def test_a_draft_has_no_page_and_no_invoice_has_a_pdf(shop: Shop, visitor: Visitor) -> None:
    ada = shop.customer()
    assert visitor.open(f"/_stripe/i/{shop.draft(ada, 10_00).id}").status == 404
    pdf = visitor.open(str(shop.final(ada, 10_00).invoice_pdf))
    assert (pdf.status, "The sandbox draws none" in pdf) == (404, True)


# --- billing portal ------------------------------------------------------------------------------


def opened_portal(shop: Shop, customer: str, **more: Any) -> str:
    wanted: Any = {"customer": customer, "return_url": "https://shop.example/billing", **more}
    return str(shop.client.v1.billing_portal.sessions.create(wanted).url)


def cards(shop: Shop, customer: str) -> dict[str, str]:
    """Return the saved cards: last four digits and id."""
    found = shop.client.v1.customers.payment_methods.list(customer).data
    return {each.card.last4: each.id for each in found if each.card}


def default(shop: Shop, customer: str) -> object:
    settings = shop.client.v1.customers.retrieve(customer).invoice_settings
    return settings and settings.default_payment_method


def test_cards_are_added_chosen_and_removed_in_the_portal(shop: Shop, visitor: Visitor) -> None:
    ada = shop.customer().id
    place = opened_portal(shop, ada)
    assert 'href="https://shop.example/billing"' in visitor.open(place)
    asked = visitor.send(place, do="add", choice=CHALLENGED, **CARD)
    assert visitor.send(asked.location, do="complete").location in place
    assert default(shop, ada) == cards(shop, ada)["3184"]
    visitor.send(place, do="default", method=cards(shop, ada)["4242"])
    assert default(shop, ada) == cards(shop, ada)["4242"]
    visitor.send(place, do="remove", method=cards(shop, ada)["3184"])
    assert set(cards(shop, ada)) == {"4242"}
    declined = visitor.send(place, do="add", choice=DECLINED, **CARD)
    assert (declined.status, "Your card was declined." in declined) == (402, True)


def test_the_portal_cancels_and_resumes_where_that_is_configured(
    shop: Shop, visitor: Visitor
) -> None:
    ada = shop.customer().id
    wanted: Any = {"customer": ada, "items": [{"price": price(shop)}]}
    sold = shop.client.v1.subscriptions.create(wanted)
    place = opened_portal(shop, ada)
    visitor.send(place, do="cancel", subscription=sold.id)
    assert shop.client.v1.subscriptions.retrieve(sold.id).cancel_at_period_end
    assert "Don't cancel" in visitor.open(place)
    visitor.send(place, do="resume", subscription=sold.id)
    assert not shop.client.v1.subscriptions.retrieve(sold.id).cancel_at_period_end
    off: Any = {"features": {"subscription_cancel": {"enabled": False}}}
    strict = shop.client.v1.billing_portal.configurations.create(off)
    place = opened_portal(shop, ada, configuration=strict.id)
    assert "Cancel plan" not in visitor.open(place)
    assert visitor.send(place, do="cancel", subscription=sold.id).status == 402
    assert not shop.client.v1.subscriptions.retrieve(sold.id).cancel_at_period_end


def test_the_portal_touches_nothing_of_other_customers(shop: Shop, visitor: Visitor) -> None:
    eve = shop.customer().id
    wanted: Any = {"customer": eve, "items": [{"price": price(shop)}]}
    sold = shop.client.v1.subscriptions.create(wanted)
    place = opened_portal(shop, shop.customer().id)
    for form in (
        {"do": "remove", "method": cards(shop, eve)["4242"]},
        {"do": "default", "method": cards(shop, eve)["4242"]},
        {"do": "cancel", "subscription": sold.id},
    ):
        assert visitor.send(place, **form).status == 402
    assert set(cards(shop, eve)) == {"4242"}
    assert not shop.client.v1.subscriptions.retrieve(sold.id).cancel_at_period_end


def test_a_portal_session_is_over_after_an_hour(shop: Shop, visitor: Visitor) -> None:
    place = opened_portal(shop, shop.customer().id)
    shop.sandbox.advance(3_601)
    assert visitor.open(place).status == 410


# --- safety --------------------------------------------------------------------------------------


def test_what_others_wrote_is_shown_and_not_run(shop: Shop, visitor: Visitor) -> None:
    evil = "<script>alert(1)</script>"
    ada = shop.customer(name=evil)
    product = shop.client.v1.products.create({"name": evil})
    wanted: Any = {"product": product.id, "currency": "usd", "unit_amount": 10_00}
    opened = session(
        shop,
        "payment",
        shop.client.v1.prices.create(wanted).id,
        customer=ada.id,
        cancel_url="javascript:alert(1)",
    )
    for place in (url(opened), opened_portal(shop, ada.id), f"/_stripe/customers/{ada.id}"):
        shown = visitor.open(place)
        assert shown.status == 200
        assert evil not in shown.text
        assert "javascript:" not in shown.text


def test_pages_let_nothing_in_from_elsewhere(shop: Shop, visitor: Visitor) -> None:
    opened = session(shop, "setup", currency="usd", success_url="https://shop.example/done")
    policy = visitor.open(url(opened)).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self' https://shop.example" in policy
    assert "script" not in policy
    assert visitor.open("/_stripe/style.css").headers["Content-Type"].startswith("text/css")


@pytest.mark.parametrize(
    "path", ["/_stripe/nothing", "/_stripe/i/in_none", "/_stripe/c/pay/cs_no", "/favicon.ico"]
)
def test_what_is_not_there_is_not_found(visitor: Visitor, path: str) -> None:
    assert visitor.open(path).status == 404
