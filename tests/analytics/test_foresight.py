"""What would be billed: the same invoices that billing then makes, and nothing written."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from django.db import connection

from apps.analytics.foresight import Failed, Foreseen, foresee_due
from apps.core import rls
from apps.core.models import OutboxEvent
from apps.invoicing import services as billing
from apps.invoicing.document import Document
from apps.invoicing.models import CreditGrant, Invoice
from apps.plans import catalog
from apps.plans import services as plans
from apps.subscriptions import services as subscriptions
from apps.subscriptions.changes import Behaviour
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from tests.commands.shell import run, run_json
from tests.conftest import STAFF, make_organization
from tests.invoicing.world import NOW, bill, day, hourly, invoices, load, subscribe, use

pytestmark = pytest.mark.django_db

COUPONS = """
coupons:
  - {code: once, name: Welcome, percent: "10", duration: once}
  - {code: spring, name: Spring, percent: "20", duration: repeating, months: 3}
tax_rates:
  - {code: us, name: Sales tax, percent: "5", country: US, kind: sales, from: 2020-01-01}
"""


@pytest.fixture(autouse=True)
def world(db: None) -> None:
    load()


@pytest.fixture
def acme() -> Organization:
    return make_organization("acme")


def foreseen(until: datetime) -> list[Document]:
    found = [*foresee_due(until)]
    assert not [one for one in found if isinstance(one, Failed)]
    return [one.document for one in found if isinstance(one, Foreseen)]


def shape(document: Document) -> tuple[object, ...]:
    lines = [(line.key, line.kind, line.reason, line.period, line.amount, line.discount)
             for line in document.lines]  # fmt: skip
    sums = (document.subtotal, document.discount, document.tax, document.credits_total)
    return (document.issued_at, sums, document.total, lines, document.discounts, document.taxes)


def billed(organization: Organization) -> list[tuple[object, ...]]:
    return [shape(one) for one in invoices(organization)]


def written() -> tuple[int, int]:
    with rls.ops_scope("test"):
        return Invoice.objects.count(), OutboxEvent.objects.count()


def test_what_is_foreseen_is_what_is_billed(acme: Organization) -> None:
    """Five seats: 50.00 + 24.00 on 1 March; usage of each month behind; then as billed."""
    subscribe(acme, start=day(3, 1), seats=5)
    use(acme, *hourly(day(3, 2), 30), *hourly(day(5, 2), 12))
    before = written()
    ahead = [shape(one) for one in foreseen(day(6, 1))]
    assert written() == before
    bill(day(6, 1))
    assert ahead == billed(acme)
    assert [one[2] for one in ahead] == [74_00, 76_80, 74_00, 75_30]
    assert foreseen(day(6, 1)) == []


def test_time_to_come_follows_the_changes_that_are_scheduled(acme: Organization) -> None:
    """Five seats from March, three from 1 July on, and an end with August: no more invoices."""
    facts = subscribe(acme, start=day(6, 1), at=day(6, 1), seats=5)
    with rls.tenant_scope(acme.pk):
        subscriptions.change_quantity(
            facts.public_id, quantity=3, behaviour=Behaviour.NEXT_PERIOD, actor=STAFF, at=NOW
        )
        subscriptions.cancel(facts.public_id, when=day(8, 16), actor=STAFF, at=NOW)
    ahead = foreseen(day(12, 1))
    # 16 of 31 days of the base fee are given back, and kept as credit: nothing is to be paid.
    assert [(one.issued_at, one.subtotal, one.total) for one in ahead] == [
        (day(6, 1), 74_00, 74_00),
        (day(7, 1), 50_00, 50_00),
        (day(8, 1), 50_00, 50_00),
        (day(8, 16), -25_81, 0),
    ]
    bill(day(8, 17), at=day(8, 17))
    assert [shape(one) for one in ahead] == billed(acme)


def test_a_trial_that_ends_is_billed_or_pauses(acme: Organization) -> None:
    stranger = make_organization("stranger")
    subscribe(acme, "trial", start=day(6, 14), at=day(6, 14))
    subscribe(stranger, "trial", start=day(6, 14), at=day(6, 14), collection="stripe_invoice")
    ahead = foreseen(day(7, 28))
    assert [(one.issued_at, one.total) for one in ahead] == [
        (day(6, 28), 29_00),
        (day(7, 28), 29_00),
    ]


def test_discounts_taxes_and_credit_take_their_turns(acme: Organization) -> None:
    """100.00 of credit pays the first invoice and a part of the second; a coupon counts once."""
    text = "currency: USD\n" + COUPONS
    with rls.ops_scope("test"):
        plans.load_catalog(catalog.parse_catalog(text, source="c"), actor=STAFF, at=NOW)
    facts = subscribe(acme, start=day(3, 1), seats=5)
    with rls.tenant_scope(acme.pk):
        for code in ("once", "spring"):
            subscriptions.apply_discount(
                acme.pk, code=code, subscription_id=facts.public_id, actor=STAFF, at=day(3, 1)
            )
        tenants.update_organization(acme.pk, changes={"country": "US"}, actor=STAFF, at=NOW)
        billing.grant_credit(acme.pk, amount=Decimal("100.00"), actor=STAFF, at=day(3, 1))
    ahead = [shape(one) for one in foreseen(day(6, 1))]
    bill(day(6, 1))
    assert ahead == billed(acme)
    # 74.00 − 10 % − 20 % of the rest = 53.28; then 59.20 with the second coupon alone.
    assert [(one[1], one[2]) for one in ahead] == [
        ((74_00, 20_72, 0, 53_28), 0),
        ((74_00, 14_80, 0, 46_72), 12_48),
        ((74_00, 14_80, 0, 0), 59_20),
        ((74_00, 0, 0, 0), 74_00),
    ]
    with rls.tenant_scope(acme.pk):
        assert CreditGrant.objects.get().remaining == 0
        connection.check_constraints()  # in a scope that shows what they look at


def test_credit_goes_to_the_earliest_invoice_whatever_the_cycles(acme: Organization) -> None:
    """120.00 pay April and May of the monthly plan, and 20.00 of the year that begins 15 May."""
    subscribe(acme, start=day(4, 1))
    subscribe(acme, "bespoke", start=day(5, 15), agreed={"base": Decimal("1000.00")})
    with rls.tenant_scope(acme.pk):
        billing.grant_credit(acme.pk, amount=Decimal("120.00"), actor=STAFF, at=day(4, 1))
    ahead = foreseen(day(6, 1))
    assert [(one.issued_at, one.total) for one in ahead] == [
        (day(4, 1), 0),
        (day(5, 1), 0),
        (day(5, 15), 980_00),
        (day(6, 1), 50_00),
    ]
    for moment in (day(4, 1), day(5, 1), day(5, 15), day(6, 1)):
        bill(moment)
    assert [shape(one) for one in ahead] == billed(acme)


def test_what_shares_an_instant_shares_a_consolidated_invoice(acme: Organization) -> None:
    """50.00 since April; 29.00 more from 1 May on, when the trial of fourteen days has ended."""
    with rls.ops_scope("test"):
        terms = {"invoice_grouping": "consolidated"}
        tenants.change_billing_terms(acme.pk, changes=terms, actor=STAFF, at=NOW)
    subscribe(acme, start=day(4, 1))
    subscribe(acme, "trial", start=day(4, 17), at=day(4, 17))
    ahead = foreseen(day(6, 1))
    assert [(one.issued_at, one.total) for one in ahead] == [
        (day(4, 1), 50_00),
        (day(5, 1), 79_00),
        (day(6, 1), 79_00),
    ]
    for moment in (day(4, 1), day(5, 1), day(6, 1)):
        bill(moment)
    assert [shape(one) for one in ahead] == billed(acme)


def test_the_command_lists_everybody_by_date(acme: Organization) -> None:
    subscribe(acme, start=day(4, 1))
    subscribe(make_organization("other"), start=day(4, 16))
    told = run_json("preview_billing", "--as-of", "2026-06-01T00:00:00Z")
    assert [one["organization"] for one in told["invoices"]] == [
        "acme", "other", "acme", "other", "acme",
    ]  # fmt: skip


def test_a_charge_that_waits_is_foreseen_once(acme: Organization) -> None:
    facts = subscribe(acme, start=day(4, 1))
    with rls.tenant_scope(acme.pk):
        billing.add_charge(
            acme.pk,
            new=billing.NewCharge(
                name="Training", unit_amount=Decimal("300.00"), subscription=facts.public_id
            ),
            actor=STAFF,
            at=day(4, 1),
        )
    ahead = [shape(one) for one in foreseen(day(6, 1))]
    bill(day(6, 1))
    assert ahead == billed(acme)
    assert [one[2] for one in ahead] == [350_00, 50_00, 50_00]


def test_the_command_shows_it_and_writes_nothing(acme: Organization) -> None:
    subscribe(acme, start=day(4, 1), seats=5)
    before = written()
    told = run_json("preview_billing", "--as-of", "2026-06-01T00:00:00Z", "--lines")
    assert told["totals"] == {"USD": 3 * 74_00}
    assert [line["amount"] for line in told["invoices"][0]["lines"]] == [50_00, 24_00]
    shown = run("preview_billing", "--as-of", "2026-06-01T00:00:00Z", "--organization", "acme")
    assert "74.00 USD" in shown.out
    assert "3 invoices, 222.00 USD would be made; nothing was written." in shown.err
    assert run_json("bill_due", "--as-of", "2026-06-01T00:00:00Z", "--dry-run") == run_json(
        "preview_billing", "--as-of", "2026-06-01T00:00:00Z"
    )
    assert run_json("bill_due", "--as-of", "2027-06-01", "--dry-run")["totals"] == {"USD": 1_110_00}
    assert written() == before
    assert run("preview_billing", "--organization", "nobody").code == 1
