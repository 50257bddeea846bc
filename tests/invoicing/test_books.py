"""The books name whatever was altered behind the system's back."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest

from apps.core import rls
from apps.engine.money import Money
from apps.invoicing import books, selectors, services
from apps.invoicing.books import proving
from apps.payments import services as payments
from apps.subscriptions import services as subscriptions
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.invoicing import money, rich, world
from tests.invoicing.world import NOW, day
from tests.races import at_once


@pytest.fixture
def books_of_two_months(committed_db: str) -> Organization:
    """Two invoices with usage, one payment, everything rolled up and committed."""
    world.load()
    organization = make_organization("acme")
    world.subscribe(organization, start=day(1, 1), seats=5)
    world.use(organization, *world.hourly(day(1, 5), 30))
    world.roll_up()
    world.bill(day(2, 1))
    with rls.tenant_scope(organization.pk):
        payments.record_payment(
            "CH-000002", amount=Money(10_00, "USD").major, reference="B-1", actor=STAFF, at=NOW
        )
    return organization


def as_superuser(app_url: str, statement: str) -> None:
    """Alter rows by hand, with the triggers out of the way."""
    url = app_url.replace("//billing_app@", "//postgres@")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        assert connection.execute(statement).rowcount == 1, "the alteration altered nothing"


def test_untouched_books_hold(books_of_two_months: Organization) -> None:
    found = books.verify()
    assert (found.invoices, found.lines, found.findings) == (2, 6, ())


ONE_LINE = "WHERE key = 'requests' AND amount > 0"
ONE_EVENT = "WHERE id = (SELECT min(id) FROM usage_event)"


@pytest.mark.parametrize(
    ("statement", "kind", "names"),
    [
        (f"UPDATE invoicing_invoiceline SET amount = amount + 1 {ONE_LINE}", "line", "requests"),
        (f"UPDATE invoicing_invoiceline SET quantity = 7 {ONE_LINE}", "line", "requests"),
        (
            "UPDATE invoicing_invoiceline SET explanation = jsonb_set(explanation, "
            f"'{{usage,event_count}}', '29') {ONE_LINE}",
            "line",
            "requests",
        ),
        (
            "UPDATE invoicing_invoiceline SET explanation = jsonb_set(explanation, "
            f"'{{steps,0,unit_amount}}', '\"0.06\"') {ONE_LINE}",
            "line",
            "contradicts itself",
        ),
        (f"UPDATE invoicing_invoiceline SET name = 'Gift' {ONE_LINE}", "invoice", "sealed"),
        (f"DELETE FROM invoicing_invoiceline {ONE_LINE}", "invoice", "add up"),
        (
            "UPDATE invoicing_invoice SET total = total + 1 WHERE number = 'CH-000001'",
            "invoice",
            "CH-000001",
        ),
        (
            "UPDATE invoicing_invoice SET number = 'CH-9' WHERE number = 'CH-000001'",
            "invoice",
            "CH-9",
        ),
        (
            f"UPDATE usage_event SET data = jsonb_set(data, '{{tokens}}', '99') {ONE_EVENT}",
            "event",
            "was altered",
        ),
        (
            f"UPDATE usage_event SET occurred_at = occurred_at + interval '1 day' {ONE_EVENT}",
            "event",
            "was altered",
        ),
        (f"DELETE FROM usage_event {ONE_EVENT}", "bucket", "2026-01-05T00:00Z"),
        (
            "UPDATE usage_bucket SET event_count = event_count + 1 "
            "WHERE hour = '2026-01-05T00:00Z' AND value_count = 0",
            "bucket",
            "2026-01-05",
        ),
        (
            "INSERT INTO usage_event (received_at, organization_id, dedupe_key, source, key, type, "
            "occurred_at, data, digest, xid) SELECT received_at, organization_id, "
            "usage_dedupe_key(source, 'forged'), source, 'forged', type, occurred_at, data, "
            "usage_event_digest(organization_id, source, 'forged', type, occurred_at, received_at, "
            "data), xid "
            f"FROM usage_event {ONE_EVENT}",
            "bucket",
            "2026-01-05T00:00Z",
        ),
        (f"UPDATE invoicing_invoiceline SET live = false {ONE_LINE}", "line", "marked void"),
        (f"UPDATE invoicing_invoiceline SET public_id = 'il_x' {ONE_LINE}", "invoice", "sealed"),
        (
            "UPDATE invoicing_invoiceline SET price_id = (SELECT max(id) FROM plans_price) "
            f"{ONE_LINE}",
            "line",
            "another price",
        ),
        (f"UPDATE invoicing_invoiceline SET usage_epoch = 7 {ONE_LINE}", "line", "epoch"),
        (
            f"UPDATE invoicing_invoiceline SET organization_id = organization_id + 1 {ONE_LINE}",
            "ledger",
            "is on no invoice of its organization",
        ),
        ("UPDATE invoicing_ledgerentry SET amount = 1 WHERE account = 'cash'", "ledger", "balance"),
        ("UPDATE payments_payment SET amount = 999", "ledger", "payment"),
        ("DELETE FROM payments_payment", "ledger", "no cause"),
        ("UPDATE invoicing_numberseries SET next = next + 1", "ledger", "number series"),
        (
            "UPDATE invoicing_invoice SET amount_paid = 9 WHERE number = 'CH-000002'",
            "ledger",
            "CH-000002",
        ),
        (
            "UPDATE subscriptions_quantitystep SET quantity = 9",
            "line",
            "agreement and facts give",
        ),
        (
            "UPDATE plans_price SET terms = jsonb_set(terms, '{unit_amount}', '\"13.00\"') "
            "WHERE key = 'seats' AND terms ? 'unit_amount'",
            "line",
            "agreement and facts give",
        ),
        (
            "UPDATE audit_auditentry SET actor_label = 'nobody' WHERE action = 'invoice.finalized' "
            "AND seq = (SELECT min(seq) FROM audit_auditentry WHERE action = 'invoice.finalized')",
            "audit",
            "was altered",
        ),
        (
            "DELETE FROM audit_auditentry WHERE id = (SELECT max(id) FROM audit_auditentry)",
            "audit",
            "cut",
        ),
    ],
)
def test_an_alteration_by_hand_is_named(
    committed_db: str, books_of_two_months: Organization, statement: str, kind: str, names: str
) -> None:
    as_superuser(committed_db, statement)
    findings = books.verify().findings
    assert any(f.kind == kind and names in f.message for f in findings), findings


def test_late_usage_leaves_a_final_invoice_proven(books_of_two_months: Organization) -> None:
    world.use(books_of_two_months, day(1, 20), tokens=5)
    world.roll_up()
    assert books.verify().hold


def test_late_usage_is_named_until_it_is_billed(books_of_two_months: Organization) -> None:
    with rls.ops_scope("test"):
        assert books.late_usage() == []
    world.use(books_of_two_months, day(1, 20), tokens=5)
    with rls.ops_scope("test"):
        late = books.late_usage(organization_id=books_of_two_months.pk)
    assert [(one.invoice, one.key, one.events, one.quantity) for one in late] == [
        ("CH-000002", "requests", 1, Decimal(1)),
        ("CH-000002", "tokens", 1, Decimal(5)),
    ]


def test_a_discounted_correction_is_named(
    committed_db: str, books_of_two_months: Organization
) -> None:
    world.use(books_of_two_months, *world.hourly(day(1, 20), 4), tokens=0)
    services.heal_usage(actor=STAFF, at=NOW)
    world.bill(day(3, 1))
    assert books.verify().hold
    discounted = "UPDATE invoicing_invoiceline SET discount = 5 WHERE kind = 'correction'"
    as_superuser(committed_db, discounted)
    findings = books.verify().findings
    assert any(f.kind == "line" and "a discount takes 5 off" in f.message for f in findings)


def test_seats_that_a_note_has_given_back_are_given_back_once(committed_db: str) -> None:
    world.load()
    organization = make_organization("acme")
    facts = world.subscribe(organization, start=day(1, 1), at=day(1, 1), seats=5)
    world.bill(day(1, 1))
    with rls.tenant_scope(organization.pk):
        first = selectors.of_organization(organization.pk)[0]
    money.note(first, money.line(first, position=2))
    with rls.tenant_scope(organization.pk):
        subscriptions.change_quantity(facts.public_id, quantity=4, actor=STAFF, at=day(1, 17))
    world.bill(day(2, 1))
    # two of five seats cost 24.00, of which nothing is left: the one that goes gives back 0.00
    second = world.invoices(organization)[1]
    assert [line.amount for line in second.lines] == [50_00, 12_00, 0, 0, 0]
    assert books.verify().hold


def test_an_event_in_the_tail_is_billed_and_proven(committed_db: str) -> None:
    world.load()
    organization = make_organization("acme")
    world.subscribe(organization, start=day(1, 1))
    world.use(organization, *world.hourly(day(1, 5), 12))  # not rolled up
    world.bill(day(2, 1))
    assert world.amounts(world.invoices(organization)[1])["requests"] == 10
    assert books.verify().hold
    world.roll_up()
    assert books.verify().hold


def test_one_organizations_books_can_be_proven_alone(
    committed_db: str, books_of_two_months: Organization
) -> None:
    stranger = make_organization("stranger")
    world.subscribe(stranger, start=day(1, 1))
    world.bill(day(1, 1))
    as_superuser(
        committed_db,
        "UPDATE invoicing_invoiceline SET amount = 1 WHERE organization_id = "
        f"{books_of_two_months.pk} AND key = 'requests'",
    )
    assert books.verify(organization_id=stranger.pk).hold
    assert not books.verify(organization_id=books_of_two_months.pk).hold


def test_two_runs_at_once_bill_each_boundary_once(committed_db: str) -> None:
    world.load()
    organization = make_organization("acme")
    world.subscribe(organization, start=day(1, 1))
    issued = at_once(2, lambda: services.bill_due(as_of=day(6, 1), actor=STAFF, at=NOW))
    assert sum(len(report.issued) for report in issued) == 6
    with rls.tenant_scope(organization.pk):
        rows = selectors.of_organization(organization.pk)
        assert sorted(row.sequence or 0 for row in rows) == [1, 2, 3, 4, 5, 6]


def test_processes_that_share_a_run_bill_what_one_bills(committed_db: str) -> None:
    world.load()
    organizations = [make_organization(f"acme-{n}") for n in range(5)]
    for organization in organizations:
        world.subscribe(organization, start=day(1, 1))
    report = services.bill_due(as_of=day(3, 1), actor=STAFF, at=NOW, chunk=2, jobs=2)
    assert (report.count, report.totals()) == (15, {"USD": 15 * 50_00})
    assert len({one.number for one in report.issued}) == 15
    for organization in organizations:
        found = world.invoices(organization)
        assert [one.period.start for one in found] == [day(1, 1), day(1, 1), day(2, 1)]
    assert books.verify().hold


def test_a_process_that_shares_a_run_sets_aside_only_whom_it_cannot_bill(committed_db: str) -> None:
    world.load()
    organizations = [make_organization(f"acme-{n}") for n in range(4)]
    facts = [world.subscribe(organization, start=day(1, 1)) for organization in organizations]
    world.occupy(organizations[2], facts[2], day(1, 1))
    report = services.bill_due(as_of=day(1, 1), actor=STAFF, at=NOW, chunk=2, jobs=2)
    assert report.count == 3
    assert [one for one, _ in report.parked] == [facts[2].public_id]


@pytest.fixture
def rich_books(committed_db: str) -> Organization:
    """A month with a coupon, a tax, credit, a correction, a charge, a note and a refund."""
    return rich.build()


MOVING = "WHERE amount <> amount_before"


def test_rich_books_hold(rich_books: Organization) -> None:
    assert books.verify().findings == ()


@pytest.mark.parametrize(
    ("statement", "kind", "names"),
    [
        (
            f"UPDATE invoicing_correction SET amount = amount + 1 {MOVING}",
            "line",
            "its correction 1",
        ),
        (f"UPDATE invoicing_correction SET amount_before = 1 {MOVING}", "line", "starts from 1"),
        (
            f"UPDATE invoicing_correction SET revision = 2 {MOVING}",
            "line",
            "correction 1 is missing",
        ),
        (f"UPDATE invoicing_correction SET status = 'waiting' {MOVING}", "line", "is waiting"),
        (f"DELETE FROM invoicing_correction {MOVING}", "line", "there is no correction 1"),
        ("UPDATE invoicing_charge SET amount = 1", "line", "its charge gives 1"),
        (
            "UPDATE invoicing_invoicediscount SET amount = amount + 1 WHERE id = "
            "(SELECT min(id) FROM invoicing_invoicediscount)",
            "invoice",
            "discounts are not those that were settled",
        ),
        (
            "UPDATE invoicing_invoicetax SET amount = amount + 1 WHERE id = "
            "(SELECT min(id) FROM invoicing_invoicetax)",
            "invoice",
            "taxes are not those that were settled",
        ),
        (
            "UPDATE invoicing_invoiceline SET discount = discount + 1 WHERE id = "
            "(SELECT min(id) FROM invoicing_invoiceline)",
            "invoice",
            "discounts and taxes are not those that were settled",
        ),
        (
            "UPDATE invoicing_invoice SET settlement = jsonb_set(settlement, "
            "'{totals,tax_minor}', '1') WHERE number = 'CH-000001'",
            "invoice",
            "settlement contradicts itself",
        ),
        (
            "UPDATE invoicing_creditgrant SET remaining = remaining + 1 WHERE kind = 'promotional'",
            "ledger",
            "what remains is not",
        ),
        (
            "UPDATE invoicing_creditmovement SET amount = amount - 1 WHERE kind = 'used'",
            "invoice",
            "credits are not those that were settled",
        ),
        ("DELETE FROM invoicing_creditmovement WHERE kind = 'used'", "ledger", "credit it used"),
        (
            "UPDATE invoicing_creditnote SET tax = tax + 1, subtotal = subtotal - 1",
            "ledger",
            "does not add up",
        ),
        (
            "UPDATE invoicing_creditnoteline SET amount = amount + 1 WHERE id = "
            "(SELECT min(id) FROM invoicing_creditnoteline)",
            "ledger",
            "what was credited is not what credit notes took back",
        ),
        ("DELETE FROM invoicing_creditnote", "ledger", "gap"),
        ("UPDATE payments_refund SET amount = amount - 1", "ledger", "cash is not what was paid"),
        (
            "UPDATE invoicing_ledgerentry SET account = 'revenue' WHERE account = 'tax_payable' "
            "AND id = (SELECT min(id) FROM invoicing_ledgerentry WHERE account = 'tax_payable')",
            "ledger",
            "tax is not what",
        ),
        (
            "UPDATE invoicing_ledgerentry SET account = 'revenue' WHERE id = (SELECT min(id) "
            "FROM invoicing_ledgerentry WHERE account = 'deferred_revenue')",
            "invoice",
            "of its revenue is deferred",
        ),
        (
            "UPDATE invoicing_ledgerentry SET account = 'customer_credit' WHERE account = "
            "'promotion'",
            "ledger",
            "promotional credit used",
        ),
    ],
)
def test_an_alteration_of_what_goes_with_invoices_is_named(
    committed_db: str, rich_books: Organization, statement: str, kind: str, names: str
) -> None:
    as_superuser(committed_db, statement)
    findings = books.verify().findings
    assert any(f.kind == kind and names in f.message for f in findings), findings


def test_several_processes_find_what_one_finds(
    committed_db: str, books_of_two_months: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "CHUNK", 1)
    as_superuser(committed_db, f"UPDATE invoicing_invoiceline SET amount = 1 {ONE_LINE}")
    alone, together = books.verify(), books.verify(jobs=2)
    assert alone == together
    assert not together.hold
