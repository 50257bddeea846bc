"""Credit that invoices use up: granted, bought, recharged, withdrawn, expired."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from apps.core import outbox, rls
from apps.core.actor import Actor
from apps.core.errors import Conflict, Forbidden, Invalid, NotFound
from apps.invoicing import books, credit, services
from apps.invoicing.errors import CreditSpent
from apps.invoicing.models import Charge, CreditGrant, CreditMovement, Invoice
from apps.invoicing.services import GrantTerms
from apps.tenants import roles
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.invoicing import money
from tests.invoicing.world import NOW
from tests.races import at_once
from tests.scenarios import shop

SOON = NOW + timedelta(days=30)


@pytest.fixture
def customer(db: None) -> Organization:
    """A customer in Germany, who bears 19 %."""
    shop.open_shop()
    shop.sell_from_germany()
    return shop.customer("acme", currency="EUR", country="DE")


def owner_of(organization: Organization) -> Actor:
    return Actor("user", "usr_x", "OWNER", organization.pk, roles.capabilities_of("OWNER"))


def buy(organization: Organization, amount: str, source: str = "") -> Invoice:
    with rls.tenant_scope(organization.pk):
        return services.buy_credit(
            organization.pk,
            amount=Decimal(amount),
            currency="EUR",
            source=source,
            actor=owner_of(organization),
            at=NOW,
        )


def test_credit_pays_what_is_due_with_its_tax(customer: Organization) -> None:
    money.grant(customer, "100.00")
    invoice = money.bill(customer, "50.00")
    # 50.00 and 9.50 tax; the promotion pays 59.50 of it
    assert (invoice.tax, invoice.credits, invoice.total, invoice.status) == (9_50, 59_50, 0, "paid")
    assert money.left(customer) == 40_50
    assert money.balances(customer) == {"promotion": 59_50, "revenue": -50_00, "tax_payable": -9_50}
    assert books.verify().hold


def test_grants_are_used_by_priority_then_expiry_and_run_out_mid_invoice(
    customer: Organization,
) -> None:
    last = money.grant(customer, "30.00", terms=GrantTerms(priority=60))
    later = money.grant(customer, "20.00", terms=GrantTerms(expires_at=SOON + timedelta(days=1)))
    first = money.grant(customer, "10.00", terms=GrantTerms(expires_at=SOON))
    invoice = money.bill(customer, "40.00")  # 47.60
    for row, remaining in ((first, 0), (later, 0), (last, 12_40)):
        with rls.tenant_scope(customer.pk):
            row.refresh_from_db()
        assert row.remaining == remaining
    assert (invoice.credits, invoice.total) == (47_60, 0)
    assert books.verify().hold


def test_restricted_credit_pays_its_kind_of_lines_only(customer: Organization) -> None:
    money.grant(customer, "10.00", terms=GrantTerms(line_kinds=["arrears"]))
    assert money.bill(customer, "40.00").credits == 0
    assert money.left(customer) == 10_00


def test_a_source_grants_once(customer: Organization) -> None:
    first = money.grant(customer, "10.00", source="ticket 7")
    assert money.grant(customer, "10.00", source=" ticket 7") == first
    assert money.left(customer) == 10_00


def test_a_source_says_the_same_again_or_is_refused(customer: Organization) -> None:
    money.grant(customer, "10.00", source="ticket 7")
    with pytest.raises(Conflict, match=r"with other terms \(amount\)") as refusal:
        money.grant(customer, "99.00", source="ticket 7")
    assert refusal.value.param == "source"
    with pytest.raises(Conflict, match=r"other terms \(expires at, price keys\)"):
        terms = GrantTerms(expires_at=SOON, price_keys=["seats"])
        money.grant(customer, "10.00", source="ticket 7", terms=terms)
    buy(customer, "5.00", source="order 1")
    with pytest.raises(Conflict, match="with other terms"):
        buy(customer, "6.00", source="order 1")
    assert money.left(customer) == 10_00


def test_more_than_a_ledger_holds_is_neither_granted_nor_bought_by_itself(
    customer: Organization,
) -> None:
    with pytest.raises(Invalid, match=r"is too much: the most is 10000000000000\.00 EUR\."):
        money.grant(customer, "99999999999999999999")
    with rls.tenant_scope(customer.pk), pytest.raises(Invalid, match="is too much"):
        services.set_recharge(
            customer.pk, threshold=Decimal(1), amount=Decimal(10) ** 20, actor=STAFF, at=NOW
        )
    assert money.left(customer) == 0


def test_what_we_owe_lowers_revenue_when_it_is_granted(customer: Organization) -> None:
    money.grant(customer, "10.00", kind="refund")
    assert money.balances(customer) == {"revenue": 10_00, "customer_credit": -10_00}
    assert books.verify().hold


@pytest.mark.parametrize(
    ("amount", "kind", "terms"),
    [
        ("0", "promotional", GrantTerms()),
        ("1.005", "promotional", GrantTerms()),
        ("1", "purchased", GrantTerms()),
        ("1", "promotional", GrantTerms(priority=101)),
        ("1", "promotional", GrantTerms(expires_at=NOW)),
        ("1", "promotional", GrantTerms(line_kinds=["credit_purchase"])),
    ],
)
def test_a_refused_grant_changes_nothing(
    customer: Organization, amount: str, kind: str, terms: GrantTerms
) -> None:
    with pytest.raises(Invalid):
        money.grant(customer, amount, kind=kind, terms=terms)
    with rls.tenant_scope(customer.pk):
        assert not CreditGrant.objects.exists()


def test_owners_do_not_grant_themselves_credit(customer: Organization) -> None:
    with rls.tenant_scope(customer.pk), pytest.raises(Forbidden):
        services.grant_credit(customer.pk, amount=Decimal(10), actor=owner_of(customer), at=NOW)


def test_a_stranger_finds_no_grant(customer: Organization) -> None:
    row = money.grant(customer, "10.00")
    stranger = make_organization("stranger")
    with rls.tenant_scope(stranger.pk), pytest.raises(NotFound):
        services.void_grant(row.public_id, reason="mine", actor=STAFF, at=NOW)
    with rls.tenant_scope(customer.pk), pytest.raises(NotFound):
        services.void_grant(row.public_id, reason="mine", actor=owner_of(stranger), at=NOW)
    assert money.left(customer) == 10_00


def test_what_is_left_of_a_grant_is_withdrawn_once(customer: Organization) -> None:
    row = money.grant(customer, "10.00", kind="refund")
    with rls.tenant_scope(customer.pk):
        voided = services.void_grant(row.public_id, reason="by mistake", actor=STAFF, at=NOW)
        assert (voided.remaining, voided.void_reason) == (0, "by mistake")
        with pytest.raises(CreditSpent):
            services.void_grant(row.public_id, reason="again", actor=STAFF, at=NOW)
    assert money.balances(customer) == {}
    assert books.verify().hold


def test_a_withdrawal_needs_a_reason(customer: Organization) -> None:
    row = money.grant(customer, "10.00")
    with rls.tenant_scope(customer.pk), pytest.raises(Invalid):
        services.void_grant(row.public_id, reason=" ", actor=STAFF, at=NOW)
    assert money.left(customer) == 10_00


def test_credit_expires_once_and_what_was_owed_becomes_revenue(customer: Organization) -> None:
    money.grant(customer, "10.00", kind="refund", terms=GrantTerms(expires_at=SOON))
    money.grant(customer, "5.00", terms=GrantTerms(expires_at=SOON))
    assert services.expire_grants(as_of=SOON - timedelta(seconds=1), actor=STAFF, at=SOON) == 0
    assert services.expire_grants(as_of=SOON, actor=STAFF, at=SOON) == 2
    assert services.expire_grants(as_of=SOON, actor=STAFF, at=SOON) == 0
    assert money.left(customer) == 0
    with rls.tenant_scope(customer.pk):
        kinds = CreditMovement.objects.filter(amount__lt=0).values_list("kind", "amount")
        assert sorted(kinds) == [("expired", -10_00), ("expired", -5_00)]
    # 10.00 lowered revenue when it was granted, and came back
    assert money.balances(customer) == {}
    assert books.verify().hold


def test_what_a_void_invoice_gives_back_to_an_expired_grant_expires_too(
    customer: Organization,
) -> None:
    money.grant(customer, "10.00", kind="refund", terms=GrantTerms(expires_at=SOON))
    invoice = money.bill(customer, "5.00")  # 5.95 of the 10.00
    more = money.bill(customer, "100.00")  # the other 4.05
    assert (invoice.credits, more.credits) == (5_95, 4_05)
    with rls.tenant_scope(customer.pk):
        services.void_invoice(more.public_id, reason="wrong", actor=STAFF, at=NOW)
    assert services.expire_grants(as_of=SOON, actor=STAFF, at=SOON) == 1
    assert money.left(customer) == 0
    assert books.verify().hold


def test_the_history_tells_every_movement_newest_first(customer: Organization) -> None:
    row = money.grant(customer, "100.00")
    invoice = money.bill(customer, "50.00")
    other = money.grant(customer, "5.00")
    with rls.tenant_scope(customer.pk):
        found = credit.movements_of(customer.pk)
        assert [(one.kind, one.amount, one.invoice) for one in found] == [
            ("granted", 5_00, ""),
            ("used", -59_50, invoice.number),
            ("granted", 100_00, ""),
        ]
        assert credit.movements_of(customer.pk, before=found[0].id, limit=1) == [found[1]]
        assert [one.amount for one in credit.movements_of(customer.pk, grant=other.public_id)] == [
            5_00
        ]
        assert [one.id for one in credit.grants_of(customer.pk)] == [other.public_id, row.public_id]


# --- bought ---------------------------------------------------------------------------------------
def test_bought_credit_is_there_when_it_is_paid_and_is_no_revenue(customer: Organization) -> None:
    invoice = buy(customer, "100.00")
    # a voucher for several purposes bears no tax
    assert (invoice.total, invoice.tax, invoice.kind) == (100_00, 0, "one_off")
    assert money.left(customer) == 0
    assert money.balances(customer) == {"receivable": 100_00, "customer_credit": -100_00}
    money.pay(invoice, "60.00")
    assert money.left(customer) == 0
    money.pay(invoice, "40.00")
    with rls.tenant_scope(customer.pk):
        (grant,) = CreditGrant.objects.all()
    assert (grant.kind, grant.remaining) == ("purchased", 100_00)
    used = money.bill(customer, "50.00")
    assert (used.credits, used.total) == (59_50, 0)
    assert money.balances(customer) == {
        "cash": 100_00,
        "customer_credit": -40_50,
        "revenue": -50_00,
        "tax_payable": -9_50,
    }
    assert books.verify().hold


def test_credit_does_not_buy_credit(customer: Organization) -> None:
    money.grant(customer, "100.00")
    assert buy(customer, "50.00").total == 50_00
    assert money.left(customer) == 100_00


def test_a_purchase_counts_once(customer: Organization) -> None:
    first = buy(customer, "50.00", source="click 1")
    assert buy(customer, "50.00", source="click 1") == first
    with rls.tenant_scope(customer.pk):
        assert Invoice.objects.count() == 1


def test_a_commitment_says_until_when(customer: Organization) -> None:
    def commit(terms: GrantTerms) -> Invoice:
        with rls.tenant_scope(customer.pk):
            return services.buy_credit(
                customer.pk,
                amount=Decimal(100),
                kind="commitment",
                terms=terms,
                currency="EUR",
                actor=STAFF,
                at=NOW,
            )

    with pytest.raises(Invalid):
        commit(GrantTerms())
    money.pay(commit(GrantTerms(expires_at=SOON)), "100.00")
    with rls.tenant_scope(customer.pk):
        (balance,) = credit.credit_of(customer.pk, at=NOW)
    assert (balance.available, balance.expiring_at, balance.expiring) == (100_00, SOON, 100_00)
    services.expire_grants(as_of=SOON, actor=STAFF, at=SOON)
    # what nobody used of it is earned
    assert money.balances(customer) == {"cash": 100_00, "revenue": -100_00}
    assert books.verify().hold


def test_a_void_purchase_leaves_nothing_behind(customer: Organization) -> None:
    invoice = buy(customer, "50.00")
    with rls.tenant_scope(customer.pk):
        services.void_invoice(invoice.public_id, reason="not wanted", actor=STAFF, at=NOW)
    assert money.balances(customer) == {}
    assert money.bill(customer, "10.00").subtotal == 10_00  # the purchase is on no other invoice
    assert books.verify().hold


def test_what_was_credited_of_a_purchase_is_not_handed_over(customer: Organization) -> None:
    invoice = buy(customer, "50.00")
    money.note(invoice, total="20.00")
    money.pay(invoice, "30.00")
    assert money.left(customer) == 30_00
    assert books.verify().hold


# --- recharged ------------------------------------------------------------------------------------
@pytest.fixture
def rule(customer: Organization) -> Organization:
    """50.00 whenever less than 20.00 is left, at most 80.00 a month."""
    with rls.tenant_scope(customer.pk):
        services.set_recharge(
            customer.pk,
            threshold=Decimal(20),
            amount=Decimal(50),
            monthly_cap=Decimal(80),
            currency="EUR",
            actor=owner_of(customer),
            at=NOW,
        )
    return customer


def bought(organization: Organization) -> list[int]:
    with rls.tenant_scope(organization.pk):
        rows = Charge.objects.filter(buys__isnull=False).order_by("id")
        return list(rows.values_list("amount", flat=True))


def low(organization: Organization, cause: str) -> Callable[[], object]:
    def act() -> object:
        with rls.tenant_scope(organization.pk):
            return services.recharge(
                organization.pk, currency="EUR", cause=cause, actor=STAFF, at=NOW
            )

    return act


def test_using_credit_below_the_threshold_buys_more(rule: Organization) -> None:
    money.grant(rule, "60.00")
    money.bill(rule, "10.00")  # 48.10 left
    outbox.deliver_due()
    assert bought(rule) == []
    money.bill(rule, "30.00")  # 12.40 left
    outbox.deliver_due()
    assert bought(rule) == [50_00]
    assert books.verify().hold


def test_a_cause_recharges_once_and_not_while_credit_is_on_order(rule: Organization) -> None:
    assert low(rule, "inv_1")() is not None
    assert low(rule, "inv_1")() is None
    assert low(rule, "inv_2")() is None
    assert bought(rule) == [50_00]


def test_a_month_buys_no_more_than_its_cap(rule: Organization) -> None:
    def spend(cause: str) -> None:
        made = low(rule, cause)()
        if isinstance(made, Invoice):
            money.pay(made, str(Decimal(made.total) / 100))
            with rls.tenant_scope(rule.pk):
                grant = CreditGrant.objects.get(remaining__gt=0)
                services.void_grant(grant.public_id, reason="gone", actor=STAFF, at=NOW)

    for cause in ("a", "b", "c"):
        spend(cause)
    assert bought(rule) == [50_00, 30_00]


def test_no_rule_buys_nothing(rule: Organization) -> None:
    with rls.tenant_scope(rule.pk):
        services.stop_recharge(rule.pk, currency="EUR", actor=owner_of(rule), at=NOW)
    assert low(rule, "inv_1")() is None
    assert bought(rule) == []


# --- at once --------------------------------------------------------------------------------------
def test_two_invoices_at_once_use_the_last_credit_once(committed_db: str) -> None:
    shop.open_shop()
    shop.sell_from_germany()
    organization = shop.customer("acme", currency="EUR", country="DE")
    money.grant(organization, "10.00")
    credits_used = at_once(2, lambda: money.bill(organization, "10.00").credits)
    # 11.90 each, and 10.00 of credit for both
    assert sorted(credits_used) == [0, 10_00]
    assert money.left(organization) == 0
    assert books.verify().hold


def test_two_recharges_at_once_buy_once(committed_db: str) -> None:
    shop.open_shop()
    shop.sell_from_germany()
    organization = shop.customer("acme", currency="EUR", country="DE")
    with rls.tenant_scope(organization.pk):
        services.set_recharge(
            organization.pk,
            threshold=Decimal(20),
            amount=Decimal(50),
            currency="EUR",
            actor=STAFF,
            at=NOW,
        )
    assert sum(made is not None for made in at_once(2, low(organization, "inv_1"))) == 1
    assert bought(organization) == [50_00]
