from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.invoicing import services as invoicing
from apps.invoicing.models import Invoice, RechargeRule
from apps.invoicing.services import NoteLine
from apps.tenants import services as tenants
from tests.conftest import STAFF
from tests.portal import world
from tests.portal.conftest import signed_in
from tests.portal.test_money_pages import plain, text
from tests.portal.world import NOW, Customer


@pytest.fixture
def owner(acme: Customer) -> Client:
    return signed_in(acme.owner)


def once(client: Client) -> str:
    found = re.search(r'name="once" value="(\w+)"', client.get("/portal/credit/").content.decode())
    assert found is not None
    return found[1]


def invoices(customer: Customer) -> int:
    with rls.tenant_scope(customer.organization.pk):
        return Invoice.objects.count()


def give(customer: Customer, amount: str, **terms: object) -> None:
    with rls.tenant_scope(customer.organization.pk):
        invoicing.grant_credit(
            customer.organization.pk,
            amount=Decimal(amount),
            terms=invoicing.GrantTerms(**terms),  # type: ignore[arg-type]
            actor=STAFF,
            at=NOW,
        )


def test_credit_is_shown_by_grant_with_its_end_and_used_on_the_next_invoice(
    acme: Customer, owner: Client
) -> None:
    give(acme, "20", name="Welcome gift", expires_at=datetime(2024, 2, 1, tzinfo=UTC))
    page = text(owner, "credit/")
    assert "Available $20.00 $20.00 of it expires on 1 Feb 2024." in page
    assert "Welcome gift Promotional 10 Dec 2023 1 Feb 2024 $20.00 of $20.00" in page
    front = text(owner, "")
    assert "$20.00 of credit is left." in front
    assert "Amount before credit $50.06 Welcome gift -$20.00 Total $30.06" in front
    world.bill(datetime(2024, 1, 1, tzinfo=UTC))
    with clock.frozen(datetime(2024, 1, 2, tzinfo=UTC)):
        assert "Used Welcome gift CH-000003 -$20.00" in text(owner, "credit/")


def test_credit_is_bought_once_however_often_the_form_is_sent(
    acme: Customer, owner: Client
) -> None:
    said = {"amount": "100", "once": once(owner)}
    before = invoices(acme)
    first, second = (owner.post("/portal/credit/buy/", said) for _ in range(2))
    assert first.status_code == second.status_code == 302
    assert first["Location"] == second["Location"]
    assert invoices(acme) == before + 1
    assert "Bought, not paid yet $100.00" in text(owner, "credit/")
    world.pay(first["Location"].split("/")[-2], "100.00")
    assert "Available $100.00" in text(owner, "credit/")


def test_a_purchase_that_is_held_is_said_to_be_looked_at(acme: Customer, owner: Client) -> None:
    with rls.ops_scope("test: review"):
        tenants.change_billing_terms(
            acme.organization.pk, changes={"invoice_hold": True}, actor=STAFF, at=NOW
        )
    answer = owner.post("/portal/credit/buy/", {"amount": "100", "once": once(owner)})
    assert answer["Location"] == "/portal/credit/"
    assert "We look at your purchase first; then you get its invoice." in text(owner, "credit/")


@pytest.mark.parametrize("amount", ["0", "-5", "1.005", "many", ""])
def test_an_amount_that_is_none_buys_nothing(acme: Customer, owner: Client, amount: str) -> None:
    before = invoices(acme)
    said = {"amount": amount, "once": once(owner)}
    assert owner.post("/portal/credit/buy/", said).status_code == 422
    assert invoices(acme) == before


def test_the_recharge_is_set_shown_and_stopped(acme: Customer, owner: Client) -> None:
    owner.post(
        "/portal/credit/recharge/", {"threshold": "10", "amount": "50", "monthly_cap": "200"}
    )
    with rls.tenant_scope(acme.organization.pk):
        rule = RechargeRule.objects.get(active=True)
    assert (rule.threshold, rule.amount, rule.monthly_cap) == (10_00, 50_00, 200_00)
    assert 'value="50.00"' in owner.get("/portal/credit/").content.decode()
    owner.post("/portal/credit/recharge/stop/")
    assert "Switch on" in text(owner, "credit/")
    answer = owner.post("/portal/credit/recharge/", {"threshold": "10", "amount": "0"})
    assert answer.status_code == 422


def test_a_credit_note_is_linked_from_its_invoice_and_shown(acme: Customer, owner: Client) -> None:
    with rls.tenant_scope(acme.organization.pk):
        line = Invoice.objects.get(number="CH-000002").lines.order_by("position")[0]
        note = invoicing.issue_credit_note(
            "CH-000002",
            lines=[NoteLine(line=line.public_id, amount=Decimal(20))],
            reason="other",
            memo="Sorry for the outage.",
            actor=STAFF,
            at=NOW,
        )
    page = text(owner, "invoices/CH-000002/")
    assert f"{note.number} Another reason −$20.00" in page
    assert "Credit notes -$20.00 Still due $47.50" in page
    assert note.number in text(owner, "invoices/")
    shown = text(owner, f"credit-notes/{note.number}/")
    assert "for invoice CH-000002" in shown
    assert "Sorry for the outage." in shown
    assert "Set off against the invoice $20.00" in shown
    found = owner.get(f"/portal/credit-notes/{note.number}/pdf/")
    assert found.content.startswith(b"%PDF-")
    assert "$47.50 is due." in text(owner, "")


def test_a_stranger_sees_no_credit_note_and_a_member_no_credit(
    acme: Customer, owner: Client, stranger: Customer
) -> None:
    with rls.tenant_scope(acme.organization.pk):
        line = Invoice.objects.get(number="CH-000002").lines.order_by("position")[0]
        note = invoicing.issue_credit_note(
            "CH-000002",
            lines=[NoteLine(line=line.public_id, amount=Decimal(20))],
            reason="other",
            actor=STAFF,
            at=NOW,
        )
    other = signed_in(stranger.owner)
    for page in ("", "pdf/", "xml/"):
        assert other.get(f"/portal/credit-notes/{note.number}/{page}").status_code == 404
    member = signed_in(acme.users["MEMBER"])
    assert member.get("/portal/credit/").status_code == 403
    assert member.post("/portal/credit/buy/", {"amount": "5"}).status_code == 403
    assert "of credit is left" not in plain(member.get("/portal/").content)


def test_expired_credit_is_gone(acme: Customer, owner: Client) -> None:
    give(acme, "20", expires_at=NOW + timedelta(days=1))
    with clock.frozen(NOW + timedelta(days=2)):
        assert "No credit" in text(owner, "credit/")


def test_a_form_that_bought_before_asks_whether_to_buy_more(acme: Customer, owner: Client) -> None:
    form = once(owner)
    assert owner.post("/portal/credit/buy/", {"amount": "100", "once": form}).status_code == 302
    again = owner.post("/portal/credit/buy/", {"amount": "50", "once": form})
    assert again.status_code == 422
    assert "This form has bought credit already. Buy more with it?" in plain(again.content)
    anew = again.context["buying"]["once"].value()
    assert owner.post("/portal/credit/buy/", {"amount": "50", "once": anew}).status_code == 302
