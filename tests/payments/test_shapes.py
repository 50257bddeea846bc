from __future__ import annotations

from datetime import UTC, datetime

import pytest

from apps.payments import gateway, shapes
from tests.payments.shop import open_shop

JANUARY, FEBRUARY, MARCH = 1_767_225_600, 1_769_904_000, 1_772_323_200


def subscription(*spans: tuple[int, int]) -> dict[str, object]:
    items = [{"current_period_start": a, "current_period_end": b} for a, b in spans]
    return {"items": {"data": items}}


def test_a_subscription_has_the_period_of_its_items() -> None:
    found = shapes.subscription_period(subscription((FEBRUARY, MARCH), (JANUARY, FEBRUARY)))
    assert found is not None
    assert found.start == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.end == datetime(2026, 3, 1, tzinfo=UTC)
    assert shapes.subscription_period(subscription()) is None


def test_an_invoice_names_its_subscription_in_its_parent() -> None:
    details = {"subscription": "sub_1", "metadata": {"plan": "desk"}}
    invoice = {"parent": {"subscription_details": details}}
    assert shapes.subscription_of_invoice(invoice) == "sub_1"
    assert shapes.billing_metadata(invoice) == {"plan": "desk"}
    details["subscription"] = {"id": "sub_1", "object": "subscription"}  # when it is expanded
    assert shapes.subscription_of_invoice(invoice) == "sub_1"
    assert shapes.subscription_of_invoice({"parent": None}) == ""


def test_a_line_names_what_it_bills() -> None:
    line = {
        "pricing": {"price_details": {"price": "price_1"}},
        "parent": {
            "subscription_item_details": {"subscription_item": "si_1", "proration": True},
            "invoice_item_details": None,
        },
        "period": {"start": JANUARY, "end": FEBRUARY},
        "taxes": [
            {"amount": 1_90, "tax_behavior": "exclusive"},
            {"amount": 70, "tax_behavior": "inclusive"},
        ],
    }
    assert shapes.price_of_line(line) == "price_1"
    assert shapes.item_of_line(line) == "si_1"
    assert shapes.is_proration(line)
    assert shapes.period_of_line(line).end == datetime(2026, 2, 1, tzinfo=UTC)
    assert shapes.tax_of(line) == 1_90


@pytest.mark.django_db
def test_a_paid_invoice_as_it_comes_is_understood() -> None:
    with open_shop() as shop:
        paid = shop.sale()
        invoice = gateway.retrieve("invoice", paid["id"])
        bare = gateway.read(f"/v1/invoices/{paid['id']}")
    (payment,) = shapes.payments_of_invoice(invoice)
    assert payment["amount_paid"] == 50_00
    assert shapes.intent_of_payment(payment).startswith("pi_")
    assert shapes.subscription_of_invoice(invoice) == ""
    assert shapes.tax_of(invoice) == 0
    line = invoice["lines"]["data"][0]
    assert not shapes.is_proration(line)
    assert shapes.item_of_line(line) == ""
    with pytest.raises(LookupError, match="without expand"):
        list(shapes.payments_of_invoice(bare))
