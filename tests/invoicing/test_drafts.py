"""Drafts: kept back for grace or review, approved, refreshed, thrown away."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden, Invalid
from apps.invoicing import books, selectors, services
from apps.invoicing.errors import (
    HeldForReview,
    NotADraft,
    NotHeld,
    NotUncollectible,
    UnknownInvoice,
)
from apps.invoicing.models import Invoice, InvoiceLine, LedgerEntry
from apps.invoicing.services import NewCharge
from apps.payments import services as payments
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscriptions
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing import world
from tests.invoicing.world import NOW, day
from tests.scenarios import shop


@pytest.fixture(autouse=True)
def _catalog(committed_db: str) -> None:
    world.load()


def issuer(**changes: object) -> None:
    with rls.ops_scope("test: how the issuer bills"):
        row = tenant_selectors.billing_entity("default")
        assert row is not None
        tenants.change_billing_entity(row.public_id, changes=changes, actor=STAFF, at=NOW)


def hits(start: datetime, count: int) -> list[datetime]:
    return [start + timedelta(minutes=n) for n in range(count)]


def draft_of(organization: Organization) -> Invoice:
    with rls.tenant_scope(organization.pk):
        return selectors.latest(organization.pk, draft=True)


def test_grace_waits_for_late_usage_and_bills_it(organization: Organization) -> None:
    issuer(grace_days=3)
    world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    world.bill(day(2, 1), at=day(2, 1))
    with rls.tenant_scope(organization.pk):
        rows = list(Invoice.objects.order_by("issued_at"))
        assert [row.status for row in rows] == ["open", "draft"]
        assert rows[1].grace_until == day(2, 4)
    world.use(organization, *world.hourly(day(1, 20), 20), tokens=0)
    world.bill(day(2, 3), at=day(2, 3))
    assert draft_of(organization).subtotal == 50_00
    world.bill(day(2, 4), at=day(2, 4))
    # 50.00 for February, and 20 requests of January, 10 of them included: 10 × 0.05
    last = world.invoices(organization)[-1]
    assert (last.status, last.subtotal) == ("open", 50_50)
    assert books.verify().hold


def test_an_amount_beyond_the_usual_is_held_until_approved(organization: Organization) -> None:
    issuer(hold_factor=Decimal(3))
    world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    world.bill(day(4, 1), at=day(4, 1))
    world.use(organization, *hits(day(4, 10), 4000), tokens=0)
    report = world.bill(day(5, 1), at=day(5, 1))
    [held] = report.issued
    assert held.number is None
    assert "3 times what this customer usually is billed (50.00 USD)" in held.hold_reason
    with rls.tenant_scope(organization.pk):
        with pytest.raises(HeldForReview):
            services.finalize_invoice(held.id, actor=STAFF, at=NOW)
        with pytest.raises(Invalid):
            services.approve_invoice(held.id, reason=" ", actor=STAFF, at=NOW)
        assert Invoice.objects.get(public_id=held.id).number is None
        row = services.approve_invoice(held.id, reason="A launch.", actor=STAFF, at=NOW)
        # 50.00 and (4,000 − 10) × 0.05 = 199.50
        assert (row.status, row.total, row.approval_reason) == ("open", 249_50, "A launch.")
        with pytest.raises(NotADraft):
            services.approve_invoice(held.id, reason="Again.", actor=STAFF, at=NOW)
    assert books.verify().hold


def test_two_comparable_invoices_are_too_few_to_hold_a_third(organization: Organization) -> None:
    issuer(hold_factor=Decimal(2))
    world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    world.bill(day(2, 1), at=day(2, 1))
    world.use(organization, *hits(day(2, 10), 4000), tokens=0)
    [row] = world.bill(day(3, 1), at=day(3, 1)).issued
    assert row.number == "CH-000003"


def test_a_customer_under_review_gets_drafts_only(organization: Organization) -> None:
    with rls.ops_scope("test: review"):
        tenants.change_billing_terms(
            organization.pk, changes={"invoice_hold": True}, actor=STAFF, at=NOW
        )
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(1, 1))
    assert draft_of(organization).hold_reason == "Every invoice of this customer is reviewed."


def test_more_items_in_a_day_than_allowed_are_held(organization: Organization) -> None:
    issuer(max_items_per_day=3)
    world.subscribe(organization, start=day(1, 1))
    with rls.tenant_scope(organization.pk):
        for number in range(4):
            new = NewCharge(name=f"Item {number}", unit_amount=Decimal(1))
            services.add_charge(organization.pk, new=new, actor=STAFF, at=day(1, 1))
    world.bill(day(1, 1))
    assert "5 items start on 2026-01-01" in draft_of(organization).hold_reason


def test_a_draft_is_held_by_hand_and_refreshed(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    services.bill_due(as_of=day(2, 1), actor=STAFF, at=NOW, keep_drafts=True)
    draft = draft_of(organization)
    world.use(organization, *world.hourly(day(1, 20), 20), tokens=0)
    with rls.tenant_scope(organization.pk):
        with pytest.raises(NotHeld):
            services.approve_invoice(draft.public_id, reason="Fine.", actor=STAFF, at=NOW)
        services.hold_invoice(draft.public_id, reason="Wrong meter?", actor=STAFF, at=NOW)
        row = services.refresh_draft(draft.public_id, actor=STAFF, at=NOW)
        assert row is not None
        assert (row.subtotal, row.is_held) == (50_50, True)
        services.approve_invoice(draft.public_id, reason="Looked at.", actor=STAFF, at=NOW)


def test_what_a_discarded_draft_billed_waits_for_the_next_invoice(
    organization: Organization,
) -> None:
    world.subscribe(organization, start=day(1, 1))
    with rls.tenant_scope(organization.pk):
        new = NewCharge(name="Setup", unit_amount=Decimal("99.00"))
        services.add_charge(organization.pk, new=new, actor=STAFF, at=day(1, 1))
    services.bill_due(as_of=day(1, 1), actor=STAFF, at=NOW, keep_drafts=True)
    with rls.tenant_scope(organization.pk):
        reference = draft_of(organization).public_id
        services.discard_draft(reference, reason="Too early.", actor=STAFF, at=NOW)
        assert not Invoice.objects.exists()
        assert not InvoiceLine.objects.exists()
    world.bill(day(2, 1))
    assert "Setup" in [line.name for line in world.invoices(organization)[-1].lines]


def test_a_stranger_neither_sees_nor_touches_a_draft(
    organization: Organization, other_organization: Organization
) -> None:
    world.subscribe(organization, start=day(1, 1))
    services.bill_due(as_of=day(1, 1), actor=STAFF, at=NOW, keep_drafts=True)
    reference = draft_of(organization).public_id
    stranger = Actor("user", "usr_x", "x", other_organization.pk, frozenset({"manage_billing"}))
    owner = Actor("user", "usr_y", "y", organization.pk, frozenset({"manage_billing"}))
    with rls.tenant_scope(other_organization.pk), pytest.raises(UnknownInvoice):
        services.discard_draft(reference, reason="Mine.", actor=stranger, at=NOW)
    with rls.tenant_scope(organization.pk):
        with pytest.raises(Forbidden):
            services.discard_draft(reference, reason="Mine.", actor=owner, at=NOW)
        assert Invoice.objects.get(public_id=reference).status == "draft"


def balance(organization: Organization, account: str) -> int:
    with rls.tenant_scope(organization.pk):
        rows = LedgerEntry.objects.filter(account=account)
        return sum(rows.values_list("amount", flat=True))


def test_what_nobody_pays_is_written_off_and_may_still_be_paid(
    organization: Organization,
) -> None:
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(1, 1))
    with rls.tenant_scope(organization.pk):
        row = services.mark_uncollectible("CH-000001", reason="Gone.", actor=STAFF, at=NOW)
        assert (row.status, row.amount_due, row.written_off) == ("uncollectible", 50_00, 50_00)
        with pytest.raises(NotUncollectible):
            services.mark_uncollectible("CH-000001", reason="Gone.", actor=STAFF, at=NOW)
    assert (balance(organization, "receivable"), balance(organization, "write_off")) == (0, 50_00)
    assert books.verify().hold
    with rls.tenant_scope(organization.pk):
        payments.record_payment("CH-000001", amount=Decimal(20), actor=STAFF, at=NOW)
    assert (balance(organization, "receivable"), balance(organization, "write_off")) == (0, 30_00)
    with rls.tenant_scope(organization.pk):
        payments.record_payment("CH-000001", amount=Decimal(30), actor=STAFF, at=NOW)
        assert selectors.get("CH-000001").status == "paid"
    assert (balance(organization, "cash"), balance(organization, "write_off")) == (50_00, 0)
    assert books.verify().hold


def test_one_invoice_for_all_applications() -> None:
    shop.open_shop()
    acme = shop.customer("acme")
    with rls.ops_scope("test: on one invoice"):
        tenants.change_billing_terms(
            acme.pk, changes={"invoice_grouping": "consolidated"}, actor=STAFF, at=day(1, 1)
        )
    shop.buy(acme, "basic", day(1, 1))
    with rls.tenant_scope(acme.pk):
        subscriptions.subscribe(acme.pk, plan="gateway", start=day(1, 1), actor=STAFF, at=day(1, 1))
    shop.bill(day(2, 1))
    # 20.00 of the shop and 50.00 of the gateway, in January and in February
    documents = shop.invoices(acme)
    assert [document.total for document in documents] == [70_00, 70_00]
    assert [document.subscription_id for document in documents] == [None, None]
    assert books.verify().hold
    with rls.tenant_scope(acme.pk):
        services.void_invoice(str(documents[1].number), reason="Again.", actor=STAFF, at=day(2, 2))
        again = services.rebill_invoice(str(documents[1].number), actor=STAFF, at=day(2, 2))
        assert again.total == 70_00
    assert books.verify().hold


def test_grace_and_holds_do_not_stop_the_cursor(organization: Organization) -> None:
    issuer(grace_days=30)
    facts = world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    world.bill(day(3, 1) - timedelta(days=1), at=day(3, 1) - timedelta(days=1))
    with rls.tenant_scope(organization.pk):
        assert sorted(Invoice.objects.values_list("status", flat=True)) == ["draft", "open"]
        assert subscription_selectors.get(facts.public_id).next_boundary_at == day(3, 1)


def test_the_days_to_pay_of_a_draft_count_from_its_issue(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    services.bill_due(as_of=day(1, 1), actor=STAFF, at=day(1, 1), keep_drafts=True)
    draft = draft_of(organization)
    term = draft.due_at - draft.issued_at
    with rls.tenant_scope(organization.pk):
        services.finalize_invoice(draft.public_id, actor=STAFF, at=day(3, 10))
        row = selectors.get(draft.public_id)
    assert (row.issued_at, row.due_at) == (day(1, 1), day(3, 10) + term)
    assert books.verify().hold


def test_a_held_draft_is_due_after_its_approval(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        new = NewCharge(name="Setup", unit_amount=Decimal("99.00"))
        charge = services.add_charge(organization.pk, new=new, actor=STAFF, at=day(1, 1))
        draft = services.invoice_charges(
            [charge.public_id], actor=STAFF, at=day(1, 1), due_in_days=10, draft=True
        )
        services.hold_invoice(draft.public_id, reason="Agreed?", actor=STAFF, at=day(1, 1))
        services.approve_invoice(draft.public_id, reason="Yes.", actor=STAFF, at=day(1, 9))
        assert selectors.get(draft.public_id).due_at == day(1, 19)


def test_a_draft_keeps_the_coupons_of_the_subscriptions_that_it_bills() -> None:
    shop.open_shop()
    shop.coupon("half", 50)
    acme = shop.customer("acme")
    with rls.ops_scope("test: on one invoice"):
        tenants.change_billing_terms(
            acme.pk, changes={"invoice_grouping": "consolidated"}, actor=STAFF, at=day(1, 1)
        )
    facts = shop.buy(acme, "basic", day(1, 1))
    shop.buy(acme, "gateway", day(1, 1))
    with rls.tenant_scope(acme.pk):
        subscriptions.apply_discount(
            acme.pk, code="half", subscription_id=facts.public_id, actor=STAFF, at=day(1, 1)
        )
        new = NewCharge(name="Work", unit_amount=Decimal(80), subscription=facts.public_id)
        charge = services.add_charge(acme.pk, new=new, actor=STAFF, at=day(1, 1))
        work = services.invoice_charges([charge.public_id], actor=STAFF, at=day(1, 1), draft=True)
        assert services.finalize_invoice(work.public_id, actor=STAFF, at=day(1, 1)).total == 40_00
    services.bill_due(as_of=day(1, 1), actor=STAFF, at=day(1, 1), keep_drafts=True)
    draft = draft_of(acme)
    with rls.tenant_scope(acme.pk):
        again = services.refresh_draft(draft.public_id, actor=STAFF, at=day(1, 1))
        assert again is not None
        # half of 20.00 for the shop, and 50.00 for the gateway
        assert (again.subscription_id, again.total) == (None, 60_00)


def test_a_run_that_catches_up_bills_in_the_order_of_time() -> None:
    shop.open_shop()
    acme = shop.customer("acme")
    shop.buy(acme, "basic", day(4, 1))
    with rls.tenant_scope(acme.pk):
        subscriptions.subscribe(
            acme.pk, plan="gateway", start=day(4, 15), actor=STAFF, at=day(4, 15)
        )
        services.grant_credit(acme.pk, amount=Decimal(60), actor=STAFF, at=day(4, 1))
    shop.bill(day(6, 1))
    # 60.00 of credit pay 20.00 in April, 40.00 of the other 50.00 two weeks later, and then nothing
    documents = sorted(shop.invoices(acme), key=lambda document: document.issued_at)
    assert [document.credits_total for document in documents] == [20_00, 40_00, 0, 0, 0]
    assert [document.number for document in documents] == sorted(
        str(document.number) for document in documents
    )
