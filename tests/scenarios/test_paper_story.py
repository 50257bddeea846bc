"""A bill with everything on it, from the agreement to the file that other machines read."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from apps.core import rls
from apps.invoicing import books, pdf
from apps.invoicing import services as invoicing
from apps.invoicing.document import Document
from apps.invoicing.services import NewCharge
from apps.subscriptions import services as subscriptions
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from tests.conftest import STAFF
from tests.invoicing.published import broken_rules
from tests.invoicing.world import day
from tests.scenarios import shop


@pytest.fixture(autouse=True)
def _shop(committed_db: str) -> None:
    shop.open_shop()
    shop.sell_from_germany()
    shop.coupon("spring", 20, months=3)
    with rls.ops_scope("story: where the issuer lives"):
        issuer = tenant_selectors.billing_entity("default")
        assert issuer is not None
        changes = {"legal_name": "Metrik GmbH", "postcode": "10115", "city": "Berlin"}
        tenants.change_billing_entity(issuer.public_id, changes=changes, actor=STAFF, at=day(1, 1))


def everything(country: str, tax_id: str = "") -> Document:
    """Bill a month with usage, a coupon, an allowance, a charge, tax and credit."""
    customer = shop.customer(f"c-{country.lower()}", tax_id=tax_id, country=country)
    with rls.tenant_scope(customer.pk):
        where = {"city": "Hamburg", "postcode": "20095", "address": "Kai 1", "locale": "de"}
        tenants.update_organization(customer.pk, changes=where, actor=STAFF, at=day(1, 1))
    facts = shop.buy(customer, "metered", day(1, 1))
    shop.bill(day(1, 1))
    shop.call(customer, day(1, 10), 30, at=day(1, 11))
    with rls.tenant_scope(customer.pk):
        subscriptions.apply_discount(
            customer.pk, code="spring", subscription_id=facts.public_id, actor=STAFF, at=day(1, 12)
        )
        for name, amount in (("Setup", "99.00"), ("Goodwill", "-9.00")):
            charge = NewCharge(name=name, unit_amount=Decimal(amount))
            invoicing.add_charge(customer.pk, new=charge, actor=STAFF, at=day(1, 13))
        invoicing.grant_credit(customer.pk, amount=Decimal("25.00"), actor=STAFF, at=day(1, 14))
    shop.bill(day(2, 1))
    return shop.invoices(customer)[-1]


def test_a_rich_bill_is_a_valid_electronic_invoice(tmp_path: Path) -> None:
    bill = everything("DE")
    # 20.00 + 30 × 0.50 = 35.00 for the subscription, 20 % off = 7.00; 99.00 − 9.00 beside it; net
    # 118.00, 19 % of it = 22.42, together 140.42, of which 25.00 is credit
    assert (bill.subtotal, bill.discount, bill.tax) == (125_00, 7_00, 22_42)
    assert (bill.credits_total, bill.total) == (25_00, 115_42)
    paper = pdf.paper(bill)
    assert paper.einvoice.obstacles == ()
    assert paper.einvoice.xml is not None
    assert broken_rules(paper.einvoice.xml) == []
    (tmp_path / "rich.pdf").write_bytes(paper.content)
    assert books.verify().hold


def test_a_bill_under_reverse_charge_is_one_too() -> None:
    bill = everything("FR", "FR40303265045")
    assert (bill.tax, bill.total) == (0, 93_00)
    paper = pdf.paper(bill)
    assert paper.einvoice.obstacles == ()
    assert paper.einvoice.xml is not None
    assert broken_rules(paper.einvoice.xml) == []
