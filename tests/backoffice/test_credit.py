"""Credit, credit notes, refunds and payments taken back, on the staff's pages."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client

from apps.core import rls
from apps.invoicing.models import CreditGrant, CreditNote
from apps.payments import services as payments
from apps.payments.models import Payment, Refund
from tests.backoffice.pages import again, page, post, rows, text, url
from tests.conftest import STAFF
from tests.worlds import NOW, World


def pay(world: World, amount: str) -> Payment:
    with rls.ops_scope("test"):
        return payments.record_payment(
            world.second_invoice, amount=Decimal(amount), actor=STAFF, at=NOW
        )


def test_credit_is_granted_and_withdrawn(finance: Client, world: World) -> None:
    answer = post(
        finance,
        url(CreditGrant, "grant"),
        organization="acme",
        amount="12.50",
        kind="promotional",
        name="Welcome",
        priority="50",
    )
    assert answer.status_code == 302, text(answer)
    (grant,) = rows(CreditGrant)
    assert (grant.name, grant.remaining) == ("Welcome", 12_50)
    assert "Welcome" in text(finance.get(url(CreditGrant)))
    assert "12.50" in text(finance.get(page(grant)))
    assert post(finance, page(grant, "withdraw"), reason="twice").status_code == 302
    assert (again(grant).remaining, again(grant).void_reason) == (0, "twice")
    assert finance.get(page(grant, "withdraw")).status_code == 409


def test_a_note_is_issued_and_paid_back(finance: Client, world: World) -> None:
    pay(world, "5.00")
    asked = {"invoice": world.second_invoice, "reason": "other"}
    refused = post(finance, url(CreditNote, "issue"), **asked, total="5.00", refund="5.01")
    assert refused.status_code == 422
    assert rows(CreditNote) == []
    answer = post(finance, url(CreditNote, "issue"), **asked, total="5.00", refund="2.00")
    assert answer.status_code == 302, text(answer)
    (note,) = rows(CreditNote)
    assert (note.total, note.offset_amount, note.refunded_amount) == (5_00, 3_00, 2_00)
    assert note.number in text(finance.get(url(CreditNote)))
    assert "Of it tax" in text(finance.get(page(note)))
    assert finance.get(page(note, "download")).content.startswith(b"%PDF")
    assert post(finance, page(note, "record_refund"), amount="2.00").status_code == 302
    (refund,) = rows(Refund)
    assert refund.amount == 2_00
    assert finance.get(page(refund)).status_code == 200


def test_a_payment_is_taken_back_once(finance: Client, world: World) -> None:
    payment = pay(world, "5.00")
    assert post(finance, page(payment, "reverse"), reason="typo").status_code == 302
    assert sorted(row.amount for row in rows(Payment)) == [-5_00, 5_00]
    assert finance.get(page(payment, "reverse")).status_code == 409


@pytest.mark.parametrize("model", [CreditGrant, CreditNote])
def test_support_looks_and_does_not_act(
    support: Client, world: World, model: type[CreditGrant] | type[CreditNote]
) -> None:
    assert support.get(url(model)).status_code == 200
    act = "grant" if model is CreditGrant else "issue"
    assert support.get(url(model, act)).status_code == 403
