"""Customers who do not pay in time, and what is done about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from apps.core import clock, outbox, rls
from apps.core.models import OutboxEvent
from apps.dunning import selectors, services
from apps.dunning.models import Entry, Run
from apps.dunning.services import Ran
from apps.invoicing import selectors as invoicing
from apps.payments import services as payments
from apps.payments.events import PaymentFailed
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.invoicing.world import day
from tests.scenarios import shop

# Invoices of 1 January are due on the 15th: the terms of the issuer are 14 days.
STEPS = """\
1d remind reminder
1d past_due
7d remind urgent
14d remind final
21d unpaid
21d notify_staff
45d cancel
"""
SEATED = """\
currency: USD
applications: [{slug: clinic, name: Clinic}]
plans:
  - {code: team, application: clinic, name: Team, interval: month, prices: [
      {key: seats, type: licensed, model: per_unit, unit_amount: "10.00"}]}
  - {code: free, application: clinic, name: Free, interval: month, prices: [
      {key: seats, type: licensed, model: per_unit, unit_amount: "0.00"}]}
"""


def open_shop(steps: str = STEPS) -> None:
    """Load the catalogue, and let everybody be asked by these steps."""
    shop.open_shop()
    with rls.ops_scope("test: a clinic, and whom to ask when"):
        plans.load_catalog(parse_catalog(SEATED, source="clinic"), actor=STAFF, at=shop.OPENED)
    ask_by(steps)


def ask_by(steps: str, *, hour: int = 9) -> None:
    """Let everybody be asked by these steps from now on."""
    with rls.ops_scope("test: change the default campaign"):
        services.change_campaign("Standard", steps=steps, hour=hour, actor=STAFF, at=day(1, 1))


def billed(
    slug: str = "acme", *, plan: str = "basic", seats: int | None = None, **options: str
) -> tuple[Organization, SubscriptionFacts]:
    """Make a customer with an invoice of 1 January, which is due on the 15th."""
    row = shop.customer(slug, email=f"pay@{slug}.example", **options)
    facts = shop.buy(row, plan, day(1, 1), seats=seats)
    shop.bill(day(1, 1))
    deliver(day(1, 1))
    return row, facts


def run(at: datetime, *rows: Organization) -> Ran:
    """Do what is due by now, and what the facts of it cause."""
    done = services.run_dunning(
        actor=STAFF, at=at, organization_ids=[row.pk for row in rows] if rows else None
    )
    assert not done.failed, done.failed
    deliver(at)
    return done


def deliver(at: datetime) -> None:
    """Let everybody hear of what happened."""
    with clock.frozen(at):
        while outbox.deliver_due():
            pass


def pay(row: Organization, number: str, amount: str, *, at: datetime) -> None:
    """Pay, and let everybody hear of it."""
    with rls.tenant_scope(row.pk):
        payments.record_payment(number, amount=Decimal(amount), actor=STAFF, at=at)
    deliver(at)


def fail(
    row: Organization, number: str, *, at: datetime, attempt: int = 1, how: str = "retry"
) -> None:
    """Let a card be declined."""
    with rls.tenant_scope(row.pk):
        invoice = invoicing.get(number).public_id
        fact = PaymentFailed(invoice, row.pk, attempt, "declined", how, at.isoformat())
        outbox.emit(fact, at=at, organization_id=row.pk)
    deliver(at)


def status(row: Organization) -> str:
    """Return the status of the organization's latest subscription."""
    with rls.tenant_scope(row.pk):
        return subscriptions.of_organization(row.pk)[0].status


def the_run(row: Organization) -> Run:
    """Return the organization's latest run."""
    with rls.tenant_scope(row.pk):
        return selectors.runs(row.pk)[:1].get()


def history(row: Organization) -> list[str]:
    """Return what has happened in the organization's latest run: what, and how it went unless it
    was done.
    """
    with rls.tenant_scope(row.pk):
        return [_said(entry) for entry in selectors.entries(selectors.runs(row.pk)[:1].get())]


def _said(entry: Entry) -> str:
    kind = entry.kind
    if kind == "remind" and entry.position is not None:
        step = entry.run.plan[entry.position]
        kind = step.argument if step else kind
    return kind if entry.result == "done" else f"{kind} {entry.result}"


def told(row: Organization, name: str) -> Sequence[OutboxEvent]:
    """Return the facts of this name about an organization, oldest first."""
    with rls.ops_scope("test: what was told"):
        return list(OutboxEvent.objects.filter(organization_id=row.pk, name=name).order_by("id"))
