"""A customer with a history: subscribed, used, billed; made by the services alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.test import Client

from apps.core import rls
from apps.invoicing import services as invoicing
from apps.licensing import services as licensing
from apps.payments import services as payments
from apps.plans import services as plans
from apps.plans.catalog import read_catalog
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import services as tenants
from apps.tenants.models import Organization, User
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from apps.usage.devices import NewReport
from tests.conftest import STAFF

START = datetime(2023, 11, 1, tzinfo=UTC)
NOW = datetime(2023, 12, 10, 12, tzinfo=UTC)
PASSWORD = "correct-horse-battery"


@dataclass(frozen=True, slots=True)
class Customer:
    """An organization with a person in every role, and its subscription."""

    organization: Organization
    users: dict[str, User]
    subscription: SubscriptionFacts | None

    @property
    def owner(self) -> User:
        """Who may do everything."""
        return self.users["OWNER"]


def make_customer(slug: str = "acme", *, plan: str = "gateway", **options: str) -> Customer:
    """Make an organization with four people; subscribed to `plan` (none when empty)."""
    with rls.ops_scope("test: a customer"):
        row = tenants.create_organization(slug, name=slug.title(), actor=STAFF, at=START, **options)
        users = {role: person(row, role) for role in ("OWNER", "BILLING_ADMIN", "ADMIN", "MEMBER")}
        facts = None
        if plan:
            facts = subscriptions.subscribe(
                row.pk, plan=plan, start=START, actor=STAFF, at=NOW - timedelta(seconds=1)
            )
    return Customer(row, users, facts)


def person(organization: Organization, role: str, name: str = "") -> User:
    """Make a user who is a member with that role."""
    name = name or role.replace("_", "-").lower()
    user = tenants.create_user(
        f"{name}@{organization.slug}.example",
        password=PASSWORD,
        name=f"{name.title()} of {organization.name}",
        actor=STAFF,
        at=START,
    )
    tenants.add_member(organization.pk, user_id=user.pk, role=role, actor=STAFF, at=START)
    return user


def load(*catalogs: str) -> None:
    """Load catalogues that ship."""
    with rls.ops_scope("test: catalogues"):
        for name in catalogs:
            plans.load_catalog(read_catalog(name), actor=STAFF, at=START)


def use(customer: Customer, day: datetime, count: int, tokens: int = 1000) -> None:
    """Send `count` requests of `tokens` context tokens each on that day."""
    events: Sequence[NewEvent] = [
        NewEvent(
            source="test",
            key=f"{day:%Y%m%d}-{number}",
            type="ai.request",
            occurred_at=day + timedelta(seconds=number),
            data={"context_tokens": Decimal(tokens), "generated_tokens": Decimal(tokens // 4)},
        )
        for number in range(count)
    ]
    with rls.tenant_scope(customer.organization.pk):
        usage.ingest(
            customer.organization.pk, events=events, actor=STAFF, at=day + timedelta(days=1)
        )


def bill(until: datetime = NOW) -> list[str]:
    """Bill what is due; return the numbers."""
    report = invoicing.bill_due(as_of=until, actor=STAFF, at=until)
    assert not report.parked, report.parked
    return [str(issued.number) for issued in report.issued]


def pay(number: str, amount: str) -> None:
    """Record a payment in major units."""
    with rls.ops_scope("test: a payment"):
        payments.record_payment(number, amount=Decimal(amount), actor=STAFF, at=NOW)


def confirmation(client: Client, path: str) -> dict[str, str]:
    """Look at a quote; return what its form carries when it is confirmed."""
    response = client.get(path)
    assert response.status_code == 200, path
    hidden = re.findall(
        r'<input type="hidden" name="(\w+)" value="([^"]*)"', response.content.decode()
    )
    return {name: value for name, value in hidden if not name.startswith("csrf")}


def sign_licence(customer: Customer, instance: str) -> None:
    """Sign a licence for an installation that has reported its devices."""
    owner = customer.organization.pk
    with rls.tenant_scope(owner):
        usage.report_devices(owner, report=NewReport(instance, 2, 5), actor=STAFF, at=NOW)
        licensing.issue_license(owner, instance=instance, actor=STAFF, at=NOW)


def history() -> Customer:
    """Acme on the gateway plan: two months of use, three invoices, the first one paid."""
    load("gateway")
    customer = make_customer()
    use(customer, datetime(2023, 11, 16, tzinfo=UTC), 30, tokens=200_000)
    use(customer, datetime(2023, 12, 3, tzinfo=UTC), 12)
    use(customer, datetime(2023, 12, 4, tzinfo=UTC), 5)
    first, _second = bill()
    pay(first, "50.00")
    return customer
