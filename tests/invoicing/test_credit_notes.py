"""Taking back part of a final invoice, to the cent and never more than is left."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import DatabaseError, transaction

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden, Invalid, NotFound
from apps.invoicing import books, credit, pdf, selectors, services
from apps.invoicing.errors import NotCreditable, NotVoidable
from apps.invoicing.models import CreditNote, CreditNoteLine, Invoice
from apps.invoicing.services import NoteLine, Split
from apps.tenants import roles
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.invoicing import money
from tests.invoicing.world import NOW
from tests.races import at_once
from tests.scenarios import shop


@pytest.fixture
def customer(db: None) -> Organization:
    """A customer in Germany, who bears 19 %."""
    shop.open_shop()
    shop.sell_from_germany()
    return shop.customer("acme", currency="EUR", country="DE")


def where(note: CreditNote) -> tuple[int, int, int]:
    """What was offset, what became credit, what is to be paid back."""
    return note.offset_amount, note.credited_amount, note.refunded_amount


def test_a_note_on_an_unpaid_invoice_lowers_what_is_due(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    note = money.note(invoice, money.line(invoice, amount="30.00"))
    # 30.00 and 19 % of it
    assert (note.subtotal, note.tax, note.total) == (30_00, 5_70, 35_70)
    assert where(note) == (35_70, 0, 0)
    after = money.again(invoice)
    assert (after.status, after.total, after.credited, after.amount_due) == (
        "open", 119_00, 35_70, 83_30,
    )  # fmt: skip
    assert money.balances(customer) == {
        "receivable": 83_30,
        "revenue": -70_00,
        "tax_payable": -13_30,
    }
    assert books.verify().hold


def test_notes_are_numbered_in_a_series_of_their_own(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    numbers = [money.note(invoice, total="1.00").number for _ in range(2)]
    prefix = invoice.billing_entity.credit_note_prefix
    assert numbers == [f"{prefix}-000001", f"{prefix}-000002"]
    assert money.bill(customer, "1.00").sequence == (invoice.sequence or 0) + 1


def test_a_whole_note_pays_an_open_invoice(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    money.note(invoice)
    after = money.again(invoice)
    assert (after.status, after.amount_due, after.paid_at) == ("paid", 0, NOW)
    assert money.balances(customer) == {}
    assert books.verify().hold


def test_a_note_on_a_paid_invoice_becomes_credit(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    money.pay(invoice, "119.00")
    assert where(money.note(invoice, total="19.00")) == (0, 19_00, 0)
    assert money.left(customer) == 19_00
    assert money.bill(customer, "10.00").credits == 11_90
    assert books.verify().hold


def test_a_note_on_a_half_paid_invoice_is_offset_first(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    money.pay(invoice, "100.00")
    assert where(money.note(invoice, total="50.00")) == (19_00, 31_00, 0)
    assert money.again(invoice).status == "paid"
    assert books.verify().hold


def test_what_is_paid_back_is_owed_until_it_is(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    money.pay(invoice, "119.00")
    money.note(invoice, total="19.00", split=Split(refund=Decimal(19)))
    assert money.left(customer) == 0
    assert money.balances(customer) == {
        "cash": 119_00,
        "customer_credit": -19_00,
        "revenue": -84_03,  # 19.00 are 15.97 and 3.03 tax
        "tax_payable": -15_97,
    }
    assert books.verify().hold


def test_three_thirds_of_a_line_are_the_line(customer: Organization) -> None:
    invoice = money.bill(customer, "10.00")  # 1.90 tax
    notes = [
        money.note(invoice, money.line(invoice, amount=amount))
        for amount in ("3.33", "3.33", "3.34")
    ]
    # 0.6327, 1.2654 and 1.90 rounded, and their differences
    assert [(note.subtotal, note.tax) for note in notes] == [(3_33, 63), (3_33, 64), (3_34, 63)]
    assert money.again(invoice).status == "paid"
    with pytest.raises(NotCreditable):
        money.note(invoice, total="0.01")
    assert books.verify().hold


def test_amounts_and_totals_mix_and_still_sum_to_the_invoice(customer: Organization) -> None:
    invoice = money.bill(customer, "10.01", "0.03", "7.77")  # 17.81 + 1.90 + 0.01 + 1.48
    gross = invoice.total
    taken = [
        money.note(invoice, total="1.11").total,
        money.note(invoice, money.line(invoice, 1, amount="3.33")).total,
        money.note(invoice, total="4.44").total,
        money.note(invoice, money.line(invoice, 3)).total,
        money.note(invoice).total,
    ]
    assert sum(taken) == gross
    with rls.tenant_scope(customer.pk):
        for row in selectors.get(invoice.public_id).lines.all():
            assert row.credited == row.amount
            notes = CreditNoteLine.objects.filter(line=row)
            assert sum(one.tax for one in notes) == row.tax
    assert books.verify().hold


def test_a_quantity_takes_back_its_share(customer: Organization) -> None:
    invoice = money.bill(customer, "10.00")
    assert money.note(invoice, money.line(invoice, quantity="0.5")).subtotal == 5_00


def test_a_note_on_what_was_given_up_is_no_loss_any_more(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    with rls.tenant_scope(customer.pk):
        services.mark_uncollectible(invoice.public_id, reason="gone", actor=STAFF, at=NOW)
    money.note(invoice, total="19.00")
    assert money.balances(customer)["write_off"] == 100_00
    money.note(invoice)
    assert money.balances(customer) == {}
    assert books.verify().hold


def test_what_credit_paid_comes_back_as_credit(customer: Organization) -> None:
    money.grant(customer, "119.00", kind="refund")
    invoice = money.bill(customer, "100.00")
    assert (invoice.total, invoice.status) == (0, "paid")
    with pytest.raises(NotCreditable):
        money.note(invoice, split=Split(refund=Decimal(119)))
    assert where(money.note(invoice)) == (0, 119_00, 0)
    assert money.left(customer) == 119_00
    assert books.verify().hold


@pytest.mark.parametrize(
    ("total", "split"),
    [
        ("119.01", None),
        ("50.00", Split(offset=Decimal("19.01"))),
        ("50.00", Split(refund=Decimal("50.01"))),
        ("50.00", Split(credit=Decimal("50.00"), offset=Decimal("1.00"))),
        ("119.00", Split(refund=Decimal("100.01"))),
        ("119.00", Split(credit=Decimal("119.00"))),
        ("50.00", Split(offset=Decimal(-1))),
    ],
)
def test_a_refused_note_changes_nothing(
    customer: Organization, total: str, split: Split | None
) -> None:
    invoice = money.bill(customer, "100.00")
    money.pay(invoice, "100.00")
    before = money.balances(customer)
    with pytest.raises(NotCreditable):
        money.note(invoice, total=total, split=split)
    with rls.tenant_scope(customer.pk):
        assert not CreditNote.objects.exists()
    assert money.balances(customer) == before
    assert money.again(invoice).credited == 0
    assert money.left(customer) == 0


def test_a_note_says_why_and_what(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    with pytest.raises(Invalid):
        money.note(invoice, reason="because")
    with pytest.raises(Invalid):
        money.note(invoice, total="-1")
    with pytest.raises(Invalid):
        money.note(invoice, total="1.001")
    with pytest.raises(Invalid):
        money.note(invoice, money.line(invoice), total="1.00")
    with pytest.raises(NotCreditable):
        money.note(invoice, NoteLine(line="il_nothing"))
    with pytest.raises(NotCreditable):
        money.note(invoice, money.line(invoice, amount="100.01"))
    with pytest.raises(NotCreditable):
        money.note(invoice, money.line(invoice, quantity="2"))


def test_void_invoices_are_not_credited(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    with rls.tenant_scope(customer.pk):
        services.void_invoice(invoice.public_id, reason="wrong", actor=STAFF, at=NOW)
    with pytest.raises(NotCreditable):
        money.note(invoice, total="1.00")


def test_an_invoice_with_a_note_is_not_void(customer: Organization) -> None:
    money.grant(customer, "100.00", kind="refund")
    invoice = money.bill(customer, "100.00")
    money.note(invoice, total="50.00", split=Split(credit=Decimal(50)))
    with rls.tenant_scope(customer.pk), pytest.raises(NotVoidable):
        services.void_invoice(invoice.public_id, reason="wrong", actor=STAFF, at=NOW)
    # what credit paid of it came back by half, and no more comes back
    assert money.left(customer) == 50_00
    assert books.verify().hold


def test_credit_that_was_bought_is_withdrawn_and_not_credited(customer: Organization) -> None:
    with rls.tenant_scope(customer.pk):
        invoice = services.buy_credit(
            customer.pk, amount=Decimal(50), currency="EUR", actor=STAFF, at=NOW
        )
    money.pay(invoice, "50.00")
    with pytest.raises(NotCreditable, match="withdraw"):
        money.note(invoice)


def test_a_stranger_finds_no_invoice_and_owners_issue_no_notes(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    stranger = make_organization("stranger")
    with rls.tenant_scope(stranger.pk), pytest.raises(NotFound):
        services.issue_credit_note(invoice.public_id, reason="other", actor=STAFF, at=NOW)
    owner = Actor("user", "usr_x", "OWNER", customer.pk, roles.capabilities_of("OWNER"))
    with rls.tenant_scope(customer.pk), pytest.raises(Forbidden):
        services.issue_credit_note(invoice.public_id, reason="other", actor=owner, at=NOW)
    note = money.note(invoice, total="1.00")
    with rls.tenant_scope(stranger.pk), pytest.raises(NotFound):
        credit.get_credit_note(note.number)


def test_the_paper_says_which_invoice_it_corrects_and_is_sealed(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    note = money.note(invoice, total="23.80")
    with rls.tenant_scope(customer.pk):
        document = credit.credit_note_document(credit.get_credit_note(note.number))
    assert document.corrects is not None
    assert document.corrects.number == invoice.number
    assert (document.subtotal, document.tax, document.total) == (20_00, 3_80, 23_80)
    ((base, amount),) = [(tax.base, tax.amount) for tax in document.taxes]
    assert (base, amount) == (20_00, 3_80)
    assert document.hash() == note.content_hash
    paper = pdf.paper(document)
    assert paper.content.startswith(b"%PDF")
    assert paper.einvoice.obstacles == ()


def test_the_invoice_itself_never_changes(customer: Organization) -> None:
    invoice = money.bill(customer, "100.00")
    with rls.tenant_scope(customer.pk):
        before = selectors.document(selectors.get(invoice.public_id))
    money.note(invoice, total="23.80")
    with rls.tenant_scope(customer.pk):
        after = selectors.document(selectors.get(invoice.public_id))
    assert after.content() == before.content()
    assert (after.hash(), after.credited) == (invoice.content_hash, 23_80)


def test_the_database_keeps_notes_as_they_were(customer: Organization) -> None:
    note = money.note(money.bill(customer, "100.00"), total="23.80")
    with rls.tenant_scope(customer.pk):
        for change in ({"total": 1}, {"memo": "x"}):
            with pytest.raises(DatabaseError), transaction.atomic():
                CreditNote.objects.filter(pk=note.pk).update(**change)


def test_two_notes_at_once_take_a_line_back_once(committed_db: str) -> None:
    shop.open_shop()
    shop.sell_from_germany()
    organization = shop.customer("acme", currency="EUR", country="DE")
    invoice: Invoice = money.bill(organization, "100.00")

    def credit_it() -> bool:
        try:
            money.note(invoice, money.line(invoice, amount="60.00"))
        except NotCreditable:
            return False
        return True

    assert sorted(at_once(2, credit_it)) == [False, True]
    assert money.again(invoice).credited == 71_40
    assert books.verify().hold
