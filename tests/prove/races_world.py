"""What races are about: last uses, drafts and bills, made through the services."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from apps.core import rls
from apps.core.actor import operator
from apps.engine.calendar import Cycle, Interval, Unit
from apps.invoicing import services as invoicing
from apps.payments import services as payments
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.plans.offers import CouponRules
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants

ACTOR = operator("prove")
LONG_AGO = datetime(2025, 9, 1, tzinfo=UTC)
START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 2, tzinfo=UTC)
CATALOG = """\
currency: USD
applications: [{slug: desk, name: Desk}]
plans:
  - {code: desk, application: desk, name: Desk, interval: month, prices: [
      {key: base, type: flat, amount: "29.00"}]}
"""
_numbers = itertools.count(1)


def load() -> None:
    """Load the catalogue that the races are about."""
    with rls.ops_scope("prove: catalogue"):
        plans.load_catalog(parse_catalog(CATALOG, source="races.yaml"), actor=ACTOR, at=START)


def customer() -> int:
    """Create another organization; return its integer id."""
    slug = f"racer-{next(_numbers)}"
    with rls.ops_scope("prove: a customer"):
        return int(tenants.create_organization(slug, name=slug, actor=ACTOR, at=START).pk)


def draft() -> tuple[int, str]:
    """Bill a new customer 29.00, not issued yet; return the organization and the draft's id."""
    organization = customer()
    with rls.tenant_scope(organization):
        subscriptions.subscribe(organization, plan="desk", start=START, actor=ACTOR, at=START)
    [invoice] = _drafts(organization, START)
    return organization, invoice


def drafts_with_credit(count: int, *, cents: int) -> tuple[int, list[str]]:
    """Bill a new customer 29.00 so many times, not issued yet, and then give credit."""
    organization = customer()
    with rls.tenant_scope(organization):
        subscriptions.subscribe(organization, plan="desk", start=LONG_AGO, actor=ACTOR, at=LONG_AGO)
    until = Cycle(LONG_AGO, Interval(Unit.MONTH), "UTC").boundary(count - 1)
    drafts = _drafts(organization, until)
    with rls.tenant_scope(organization):
        amount = Decimal(cents).scaleb(-2)
        invoicing.grant_credit(organization, amount=amount, actor=ACTOR, at=NOW)
    return organization, drafts


def _drafts(organization: int, as_of: datetime) -> list[str]:
    report = invoicing.bill_due(as_of=as_of, actor=ACTOR, at=NOW, keep_drafts=True)
    return [one.id for one in report.issued if one.organization_id == organization]


def coupon(**limits: int) -> str:
    """Define a coupon with such limits; return its code."""
    code = f"coupon-{next(_numbers)}"
    with rls.ops_scope("prove: a coupon"):
        rules = CouponRules(
            code=code, name=code, percent=Decimal(50), max_redemptions=limits.get("in_all"),
            max_per_organization=limits.get("each"),
        )  # fmt: skip
        plans.define_coupon(rules, actor=ACTOR, at=START)
    return code


def redeem(organization: int, code: str) -> Callable[[], object]:
    """Return the act of redeeming the coupon for all that the organization buys."""

    def act() -> object:
        with rls.tenant_scope(organization):
            return subscriptions.apply_discount(organization, code=code, actor=ACTOR, at=NOW)

    return act


def issue(organization: int, invoice: str) -> Callable[[], object]:
    """Return the act of issuing a draft."""

    def act() -> object:
        with rls.tenant_scope(organization):
            return invoicing.finalize_invoice(invoice, actor=ACTOR, at=NOW)

    return act


def take_back(organization: int, invoice: str) -> Callable[[], object]:
    """Return the act of writing a credit note of 20.00."""

    def act() -> object:
        with rls.tenant_scope(organization):
            return invoicing.issue_credit_note(
                invoice, reason="order_change", total=Decimal("20.00"), actor=ACTOR, at=NOW
            )

    return act


def pay(organization: int, invoice: str, reference: str) -> Callable[[], object]:
    """Return the act of recording that 29.00 came in."""

    def act() -> object:
        with rls.tenant_scope(organization):
            amount = Decimal("29.00")
            return payments.record_payment(
                invoice, amount=amount, reference=reference, actor=ACTOR, at=NOW
            )

    return act
