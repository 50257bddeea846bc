"""The shop of the stories: a few plans whose sums can be done in the head, and short words."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

from apps.core import rls
from apps.invoicing import selectors, services
from apps.invoicing.document import Document
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.plans.offers import CouponRules, TaxRules
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from tests.conftest import STAFF
from tests.invoicing.world import day

OPENED = day(1, 1, year=2020)
CATALOG = """\
currency: USD
applications:
  - {slug: shop, name: Shop}
meters:
  - {key: calls, event_type: call, aggregation: count}
plans:
  - {code: basic, application: shop, name: Basic, interval: month, prices: [
      {key: base, type: flat, amount: "20.00"}]}
  - {code: pro, application: shop, name: Pro, interval: month, prices: [
      {key: base, type: flat, amount: "50.00"}]}
  - {code: yearly, application: shop, name: Yearly, interval: year, prices: [
      {key: base, type: flat, amount: "366.00"}]}
  - {code: committed, application: shop, name: Committed, interval: month, prices: [
      {key: calls, type: metered, meter: calls, model: per_unit, unit_amount: "0.50",
       minimum_amount: "10.00", maximum_amount: "40.00"}]}
  - {code: metered, application: shop, name: Metered, interval: month, prices: [
      {key: base, type: flat, amount: "20.00"},
      {key: calls, type: metered, meter: calls, model: per_unit, unit_amount: "0.50"}]}
  - {code: world, application: shop, name: World, interval: month, currencies: [JPY, KWD], prices: [
      {key: base, type: flat, amount: "20.00",
       currencies: {JPY: {amount: "2980"}, KWD: {amount: "6.125"}}},
      {key: seats, type: licensed, model: per_unit, unit_amount: "10.00",
       currencies: {JPY: {unit_amount: "980"}, KWD: {unit_amount: "3.050"}}},
      {key: calls, type: metered, meter: calls, model: per_unit, unit_amount: "0.10",
       currencies: {JPY: {unit_amount: "0.3"}, KWD: {unit_amount: "0.0005"}}}]}
"""


def open_shop() -> None:
    """Load the shop's catalogue."""
    with rls.ops_scope("story: open the shop"):
        plans.load_catalog(parse_catalog(CATALOG, source="shop"), actor=STAFF, at=OPENED)


def coupon(code: str, percent: int, *, months: int | None = None) -> None:
    """Define a coupon over so many months, or for good."""
    duration = "forever" if months is None else "repeating"
    rules = CouponRules(
        code=code, name=code.title(), percent=Decimal(percent), duration=duration, months=months
    )
    with rls.ops_scope("story: a coupon"):
        plans.define_coupon(rules, actor=STAFF, at=OPENED)


def sell_from_germany() -> None:
    """Be a German issuer who charges 19 % VAT at home."""
    rules = TaxRules(
        code="de-vat",
        name="USt",
        kind="vat",
        percent=Decimal(19),
        country="DE",
        valid_from=date(2020, 1, 1),
    )
    with rls.ops_scope("story: a German issuer"):
        plans.set_tax_rate(rules, actor=STAFF, at=OPENED)
        issuer = tenant_selectors.billing_entity("default")
        assert issuer is not None
        tenants.change_billing_entity(
            issuer.public_id,
            changes={"country": "DE", "tax_id": "DE136695976"},
            actor=STAFF,
            at=OPENED,
        )


def customer(slug: str, **options: str) -> Organization:
    """Create an organization; `tax_id` is entered after it, as people do."""
    tax_id = options.pop("tax_id", "")
    with rls.ops_scope("story: a customer"):
        row = tenants.create_organization(
            slug, name=slug.title(), actor=STAFF, at=OPENED, **options
        )
        if tax_id:
            row = tenants.update_organization(
                row.pk, changes={"tax_id": tax_id}, actor=STAFF, at=OPENED
            )
    return row


def buy(
    organization: Organization, plan: str, at: datetime, *, seats: int | None = None
) -> SubscriptionFacts:
    """Subscribe from now on."""
    with rls.tenant_scope(organization.pk):
        return subscriptions.subscribe(
            organization.pk, plan=plan, start=at, seats=seats, actor=STAFF, at=at
        )


def call(organization: Organization, since: datetime, count: int, *, at: datetime) -> None:
    """Count calls, a minute apart, that come in at once."""
    times = [since + timedelta(minutes=n) for n in range(count)]
    events = [NewEvent("shop", f"{time:%m%d%H%M}-{count}", "call", time, {}) for time in times]
    with rls.tenant_scope(organization.pk):
        outcome = usage.ingest(organization.pk, events=events, actor=STAFF, at=at)
    assert outcome.accepted == count, outcome


def bill(at: datetime) -> None:
    """Bill all that is due by now; nobody may be left aside."""
    report = services.bill_due(as_of=at, actor=STAFF, at=at)
    assert not report.parked, report.parked


def invoices(organization: Organization) -> list[Document]:
    """Return the organization's invoices, the oldest first."""
    with rls.tenant_scope(organization.pk):
        rows = selectors.of_organization(organization.pk)
        return [selectors.document(row) for row in sorted(rows, key=lambda row: row.pk)]


def lines(document: Document) -> list[tuple[str, int]]:
    """Return the lines by key, and why they are there, with their amounts."""
    return [(f"{line.key} {line.reason}", line.amount) for line in document.lines]
