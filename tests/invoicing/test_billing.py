from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from apps.core import bulk, rls
from apps.engine.money import Money
from apps.invoicing import books, selectors, services
from apps.invoicing.errors import FutureBilling, NotVoidable
from apps.invoicing.models import (
    CreditGrant,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    LedgerTransaction,
    Parked,
)
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions import services as subscription_services
from apps.subscriptions.errors import PriceNotAgreed
from apps.tenants.models import Organization
from apps.usage.errors import UsageNotReady
from tests.conftest import STAFF, make_organization
from tests.invoicing import world
from tests.invoicing.world import NOW, day


@pytest.fixture(autouse=True)
def _catalog(db: None) -> None:
    world.load()


def test_subscribing_cuts_no_invoice(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    assert world.invoices(organization) == []


def test_each_boundary_up_to_the_instant_gets_one_invoice_dated_there(
    organization: Organization,
) -> None:
    world.subscribe(organization, start=day(1, 1))
    report = world.bill(day(3, 1))
    documents = world.invoices(organization)
    assert [d.issued_at for d in documents] == [day(1, 1), day(2, 1), day(3, 1)]
    assert [d.number for d in documents] == ["CH-000001", "CH-000002", "CH-000003"]
    assert [d.total for d in documents] == [50_00, 50_00, 50_00]
    assert report.totals() == {"USD": 150_00}


def test_a_long_run_lists_its_first_invoices_and_counts_them_all() -> None:
    report = services.BillingReport()
    report.add(services.Issued(f"inv_{n}", f"CH-{n}", 1, "USD", 2_50) for n in range(1, 1001))
    report.add([services.Issued("inv_a", None, 1, "USD", 1_00, "Too much.")])
    report.add([services.Issued("inv_b", None, 1, "JPY", 500)])
    assert [report.issued[0].id, report.issued[-1].id] == ["inv_1", "inv_1000"]
    assert (report.final, report.held, report.drafts, report.count) == (1000, 1, 1, 1002)
    assert report.totals() == {"USD": 2_501_00, "JPY": 500}


def test_advance_items_look_ahead_and_usage_looks_back(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    world.use(organization, *world.hourly(day(1, 5), 12))
    world.bill(day(2, 1))
    january, february = world.invoices(organization)
    assert world.amounts(january) == {"base": 50_00}
    # 12 requests, 10 included: 2 × 0.05; 1,200 tokens: 2 packages of 1,000 at 0.60
    assert world.amounts(february) == {"base": 50_00, "requests": 10, "tokens": 1_20}
    assert [line.period.start for line in february.lines] == [day(2, 1), day(1, 1), day(1, 1)]


def test_a_metered_line_without_usage_stands_at_zero(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(2, 1))
    assert world.amounts(world.invoices(organization)[1]) == {
        "base": 50_00,
        "requests": 0,
        "tokens": 0,
    }


def test_seats_are_billed_beyond_the_included_ones(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1), seats=5)
    world.bill(day(1, 1))
    (invoice,) = world.invoices(organization)
    assert world.amounts(invoice) == {"base": 50_00, "seats": 24_00}
    assert invoice.lines[1].quantity == 5


def test_running_twice_bills_once(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(2, 1))
    assert world.bill(day(2, 1)).issued == []
    assert len(world.invoices(organization)) == 2


def test_billing_ahead_of_time_is_refused(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    with pytest.raises(FutureBilling):
        world.bill(day(7, 1), at=NOW)
    assert world.invoices(organization) == []


def test_the_scheduler_leaves_backdated_periods_to_operators(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    assert world.bill(NOW, scheduled=True).issued == []
    world.bill(day(6, 1))
    later = day(7, 1)
    assert [i.total for i in world.bill(later, at=later, scheduled=True).issued] == [50_00]


def test_a_trial_bills_nothing_and_its_usage_is_not_carried_over(
    organization: Organization,
) -> None:
    world.subscribe(organization, "trial", start=day(1, 1))
    world.use(organization, day(1, 3), day(1, 20))
    world.bill(day(1, 14))
    assert world.invoices(organization) == []
    world.bill(day(2, 15))
    first, second = world.invoices(organization)
    assert first.issued_at == day(1, 15)
    assert world.amounts(first) == {"base": 29_00}
    assert second.issued_at == day(2, 15)
    assert world.amounts(second) == {"base": 29_00, "requests": 1_00}


def test_a_trial_with_nobody_to_charge_pauses(organization: Organization) -> None:
    facts = world.subscribe(organization, "trial", start=day(1, 1), collection="stripe_invoice")
    world.bill(day(3, 1))
    with rls.tenant_scope(organization.pk):
        assert subscriptions.get(facts.public_id).status == "paused"
    assert world.invoices(organization) == []


def test_a_custom_plan_bills_the_agreed_price(organization: Organization) -> None:
    world.subscribe(organization, "bespoke", start=day(1, 1), agreed={"base": Decimal("750.00")})
    world.bill(day(1, 1))
    (invoice,) = world.invoices(organization)
    assert invoice.total == 750_00
    assert invoice.lines[0].explanation["agreed_with_customer"] is True


def test_the_upcoming_invoice_is_the_bill(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(1, 1), seats=4)
    world.use(organization, *world.hourly(day(1, 5), 30))
    world.bill(day(1, 1))
    with rls.tenant_scope(organization.pk):
        quoted = selectors.upcoming(facts.public_id, at=NOW)
    world.bill(day(2, 1))
    billed = world.invoices(organization)[1]
    assert quoted is not None
    assert [line.content() for line in quoted.lines] == [line.content() for line in billed.lines]
    assert (quoted.total, quoted.due_at) == (billed.total, billed.due_at)


def test_one_customers_trouble_parks_them_alone(organization: Organization) -> None:
    poisoned = make_organization("poisoned")
    world.subscribe(organization, start=day(1, 1))
    facts = world.subscribe(poisoned, start=day(1, 1))
    world.occupy(poisoned, facts, day(1, 1))
    report = world.bill(day(1, 1))
    assert [issued.total for issued in report.issued] == [50_00]
    assert [subscription for subscription, _ in report.parked] == [facts.public_id]
    assert world.bill(day(1, 1)).issued == []


def test_a_void_invoice_is_billed_anew_only_on_request(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(1, 1))
    with rls.tenant_scope(organization.pk):
        services.void_invoice("CH-000001", reason="wrong address", actor=STAFF, at=NOW)
    assert world.bill(day(1, 1)).issued == []
    with rls.tenant_scope(organization.pk):
        again = services.rebill_invoice("CH-000001", actor=STAFF, at=NOW)
        assert (again.number, again.total, again.revision) == ("CH-000002", 50_00, 1)
        assert selectors.balances(organization.pk) == {
            ("receivable", "USD"): 50_00,
            ("revenue", "USD"): -50_00,
        }
    assert books.verify().hold


def test_a_partly_paid_invoice_is_not_voided(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(1, 1))
    with rls.tenant_scope(organization.pk):
        row = selectors.get("CH-000001")
        services.apply_payment(
            row.pk, amount=Money(1_00, "USD"), payment="pay_x", actor=STAFF, at=NOW
        )
        with pytest.raises(NotVoidable):
            services.void_invoice("CH-000001", reason="late", actor=STAFF, at=NOW)
        assert selectors.get("CH-000001").status == "open"


def test_a_free_invoice_is_paid_at_once(organization: Organization) -> None:
    world.subscribe(organization, "bespoke", start=day(1, 1), agreed={"base": Decimal(0)})
    world.bill(day(1, 1))
    (invoice,) = world.invoices(organization)
    assert (invoice.status, invoice.total) == ("paid", 0)
    assert not LedgerTransaction.objects.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoicing_invoice SET total = 1",
        "UPDATE invoicing_invoice SET number = 'X-1'",
        "UPDATE invoicing_invoice SET status = 'draft'",
        "DELETE FROM invoicing_invoice",
        "UPDATE invoicing_invoiceline SET amount = 1",
        "UPDATE invoicing_invoiceline SET live = false",
        "DELETE FROM invoicing_invoiceline",
        "UPDATE invoicing_ledgerentry SET amount = 1",
        "DELETE FROM invoicing_ledgertransaction",
        "UPDATE invoicing_numberseries SET next = 1",
        "UPDATE subscriptions_quantitystep SET quantity = 1",
        "DELETE FROM subscriptions_subscription",
    ],
)
def test_the_database_refuses_to_rewrite_what_is_final(
    organization: Organization, statement: str
) -> None:
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(1, 1))
    before = world.invoices(organization)
    with (
        pytest.raises(DatabaseError),
        rls.tenant_scope(organization.pk),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert world.invoices(organization) == before


def test_the_database_refuses_to_bill_a_period_twice(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(1, 1))
    with rls.tenant_scope(organization.pk):
        line = InvoiceLine.objects.get()
        draft = Invoice.objects.get()
        draft.pk, draft.public_id, draft.status = None, "inv_double", "draft"
        draft.number = draft.sequence = draft.finalized_at = draft.boundary_at = None
        draft.save(force_insert=True)
        line.pk, line.public_id, line.invoice = None, "il_double", draft
        with pytest.raises(IntegrityError, match="billed_once_in_advance"), transaction.atomic():
            line.save(force_insert=True)


def test_an_unbalanced_movement_is_refused(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        movement = LedgerTransaction.objects.create(
            organization=organization, currency="USD", source="x", kind="issued", at=NOW
        )
        with pytest.raises(IntegrityError, match="off by 5"), transaction.atomic():
            LedgerEntry.objects.create(
                organization=organization,
                transaction=movement,
                currency="USD",
                account="cash",
                amount=5,
            )


WRONG_SUMS = pytest.mark.parametrize(
    ("column", "message"),
    [
        ("subtotal", "lines add up to 5000"),
        ("discount", "lines add up to 5000"),
        ("tax", "taxes do not add up to 100"),
        ("credits", "credit used is not 100"),
        ("total", "the total is not 100"),
    ],
)


@WRONG_SUMS
def test_sums_that_do_not_add_up_cannot_become_final(
    column: str, message: str, organization: Organization
) -> None:
    world.subscribe(organization, start=day(1, 1))
    services.bill_due(as_of=day(1, 1), actor=STAFF, at=NOW, keep_drafts=True)
    with rls.tenant_scope(organization.pk):
        draft = selectors.latest(organization.pk, draft=True)
        final = {"number": "CH-9", "sequence": 9, "finalized_at": NOW, "content_hash": "x"}
        with pytest.raises(IntegrityError, match=message), transaction.atomic():
            Invoice.objects.filter(pk=draft.pk).update(status="open", **{column: 1_00}, **final)
        assert selectors.get(draft.public_id).status == "draft"


def _born(organization: Organization, status: str) -> Invoice:
    """Return a new invoice of 50.00, complete but for its lines."""
    world.subscribe(organization, start=day(1, 1))
    services.bill_due(as_of=day(1, 1), actor=STAFF, at=NOW, keep_drafts=True)
    with rls.tenant_scope(organization.pk):
        row = selectors.latest(organization.pk, draft=True)
    row.pk, row.public_id, row.boundary_at = None, "inv_born", None
    row.number, row.sequence, row.finalized_at, row.content_hash = "CH-9", 9, NOW, "x"
    row.status = status
    return row


@pytest.mark.parametrize(
    ("status", "message"),
    [("open", "lines add up to 0, not 5000"), ("paid", "starts as a draft or open")],
)
def test_no_invoice_is_born_final_without_its_lines(
    status: str, message: str, organization: Organization
) -> None:
    row = _born(organization, status)
    with (
        pytest.raises(DatabaseError, match=message),
        rls.tenant_scope(organization.pk),
        transaction.atomic(),
    ):
        row.save(force_insert=True)
    assert len(world.invoices(organization)) == 1


@WRONG_SUMS
def test_no_invoice_is_born_final_with_sums_that_do_not_add_up(
    column: str, message: str, organization: Organization
) -> None:
    row = _born(organization, "open")
    with rls.tenant_scope(organization.pk):
        line = InvoiceLine.objects.get()
        bulk.promise_keys([row])
        line.pk, line.public_id, line.live, line.invoice_id = None, "il_born", False, row.pk
        line.save(force_insert=True)
        setattr(row, column, 1_00)
        with pytest.raises(IntegrityError, match=message), transaction.atomic():
            row.save(force_insert=True)
        setattr(row, column, 50_00 if column in {"subtotal", "total"} else 0)
        row.save(force_insert=True)
    assert [one.total for one in world.invoices(organization)] == [50_00, 50_00]


def test_a_line_whose_invoice_does_not_come_is_refused_at_commit(
    organization: Organization,
) -> None:
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(1, 1))
    with rls.tenant_scope(organization.pk):
        line = InvoiceLine.objects.get()
        line.pk, line.public_id, line.live = None, "il_alone", False
        line.invoice_id = line.invoice_id + 1
        with (
            pytest.raises(IntegrityError, match="invoice_id_tenant_fk"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            line.save(force_insert=True)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    assert [len(one.lines) for one in world.invoices(organization)] == [1]


def test_a_draft_is_reckoned_anew_when_it_becomes_final(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    services.bill_due(as_of=day(1, 1), actor=STAFF, at=NOW, keep_drafts=True)
    with rls.tenant_scope(organization.pk):
        draft = selectors.latest(organization.pk, draft=True)
        Invoice.objects.filter(pk=draft.pk).update(total=1_00, subtotal=2_00)
        assert services.finalize_invoice(draft.public_id, actor=STAFF, at=NOW).total == 50_00
    assert books.verify().hold


def test_a_kept_draft_has_no_number_until_it_is_finalized(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    services.bill_due(as_of=day(1, 1), actor=STAFF, at=NOW, keep_drafts=True)
    with rls.tenant_scope(organization.pk):
        draft = selectors.latest(organization.pk, draft=True)
        assert (draft.status, draft.number) == ("draft", None)
        services.finalize_invoice(draft.public_id, actor=STAFF, at=NOW)
        assert selectors.latest(organization.pk).number == "CH-000001"
    assert books.verify().hold


def test_after_a_restore_nobody_is_parked(organization: Organization) -> None:
    world.subscribe(organization, start=day(1, 1))
    world.bill(day(1, 1))
    with rls.ops_scope("test: as if restored elsewhere"), connection.cursor() as cursor:
        cursor.execute("UPDATE usage_epoch SET system_identifier = 1")
    with pytest.raises(UsageNotReady):
        world.bill(day(2, 1))
    with rls.ops_scope("test"):
        assert not Parked.objects.exists()
    assert len(world.invoices(organization)) == 1


def test_a_negative_sum_becomes_credit(organization: Organization) -> None:
    facts = world.subscribe(organization, start=day(5, 1), at=day(5, 1), seats=103)
    world.bill(day(5, 1), at=day(5, 1))
    with rls.tenant_scope(organization.pk):
        subscription_services.change_quantity(
            facts.public_id, quantity=0, actor=STAFF, at=day(5, 2)
        )
        subscription_services.cancel(facts.public_id, actor=STAFF, at=day(5, 3))
    world.bill(day(6, 1), at=day(6, 1))
    # 100 seats beyond the included given back for 30 of 31 days: 1,200.00 × 30/31
    first, last = world.invoices(organization)
    assert (first.total, first.amount_due) == (1_250_00, 1_250_00)
    assert (last.subtotal, last.credits_total, last.total) == (-1_161_29, -1_161_29, 0)
    assert last.status == "paid"
    with rls.tenant_scope(organization.pk):
        (grant,) = CreditGrant.objects.all()
        assert (grant.kind, grant.remaining, grant.source) == ("refund", 1_161_29, last.id)
    assert books.verify().hold


def test_a_custom_plan_without_prices_bills_the_base_fee_agreed(organization: Organization) -> None:
    with pytest.raises(PriceNotAgreed):
        world.subscribe(organization, "negotiated", start=day(1, 1))
    world.subscribe(organization, "negotiated", start=day(1, 1), agreed={"base": Decimal(99)})
    world.bill(day(1, 1))
    assert [world.amounts(i) for i in world.invoices(organization)] == [{"base": 99_00}]
