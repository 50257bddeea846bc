"""Small worlds to test in: a catalogue, organizations with people and keys, usage and bills.

Everything is made through services in scopes of their own, so a world can be made in a test's
transaction as well as in a committed database. The story: subscribed to Gateway on 1 November 2023,
three requests in November, billed on 1 December (54_51), one more request in December; it is now
`NOW`, the 10th.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apps.core import rls
from apps.invoicing import selectors as invoicing
from apps.invoicing import services as billing
from apps.plans import services as plans
from apps.plans.catalog import read_catalog
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions import services as agreements
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import services as tenants
from apps.tenants.models import Organization, User
from apps.tenants.roles import SCOPES
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from tests.conftest import STAFF

START = datetime(2023, 11, 1, tzinfo=UTC)
BILLED = datetime(2023, 12, 1, tzinfo=UTC)
NOW = datetime(2023, 12, 10, 12, tzinfo=UTC)
PASSWORD = "demo-pass-2026"


@dataclass(frozen=True, slots=True)
class World:
    """An organization with an owner, a subscription and two invoices."""

    organization: Organization
    owner: User
    subscription: SubscriptionFacts
    first_invoice: str  # public id: 50_00 of 1 November
    second_invoice: str  # public id: 54_51 of 1 December

    @property
    def id(self) -> int:
        return self.organization.pk


def gateway_world(slug: str = "acme", *, seats: int | None = None, timezone: str = "UTC") -> World:
    """Make the story for one organization; call it again with another slug for a stranger."""
    load_catalog("gateway")
    organization, owner = make_customer(slug, timezone=timezone)
    subscription = subscribe(organization, "gateway", seats=seats)
    send(organization, november())
    issued = bill()
    mine = [one.id for one in issued if one.organization_id == organization.pk]
    send(organization, [event("dec-1", datetime(2023, 12, 5, 9, tzinfo=UTC))])
    with rls.tenant_scope(organization.pk):
        subscription = subscriptions.get(subscription.public_id)
    return World(organization, owner, subscription, mine[0], mine[1])


def load_catalog(name: str = "gateway") -> None:
    """Load a catalogue that ships."""
    with rls.ops_scope("test: load a catalogue"):
        plans.load_catalog(read_catalog(name), actor=STAFF, at=START)


def make_customer(
    slug: str, *, timezone: str = "UTC", currency: str = "USD"
) -> tuple[Organization, User]:
    """Create an organization and its owner, `owner@SLUG.example`."""
    with rls.ops_scope("test: make a customer"):
        organization = tenants.create_organization(
            slug,
            name=slug.title(),
            actor=STAFF,
            at=START,
            timezone=timezone,
            currency=currency,
            email=f"billing@{slug}.example",
        )
        organization.refresh_from_db()
    return organization, make_member(organization, f"owner@{slug}.example", role="OWNER")


def make_member(organization: Organization, email: str, *, role: str) -> User:
    """Create a user with a role in the organization and the password of the demo."""
    with rls.ops_scope("test: make a member"):
        user = tenants.create_user(email, password=PASSWORD, actor=STAFF, at=START)
        tenants.add_member(organization.pk, user_id=user.pk, role=role, actor=STAFF, at=START)
    return user


def make_staff(email: str, group: str) -> User:
    """Create a staff user: Admin, Finance or Support."""
    with rls.ops_scope("test: make staff"):
        return tenants.create_user(email, password=PASSWORD, groups=[group], actor=STAFF, at=START)


def make_key(
    organization: Organization | None,
    scopes: Sequence[str] = SCOPES,
    *,
    at: datetime = START,
    expires_at: datetime | None = None,
) -> str:
    """Create an API key (None: of the platform) and return its secret."""
    with rls.ops_scope("test: make a key"):
        return tenants.create_api_key(
            None if organization is None else organization.pk,
            name="test key",
            scopes=list(scopes),
            actor=STAFF,
            at=at,
            expires_at=expires_at,
        ).secret


def subscribe(
    organization: Organization,
    plan: str,
    *,
    start: datetime = START,
    seats: int | None = None,
    at: datetime | None = None,
) -> SubscriptionFacts:
    """Subscribe the organization, entered at the start."""
    with rls.tenant_scope(organization.pk):
        return agreements.subscribe(
            organization.pk, plan=plan, start=start, seats=seats, actor=STAFF, at=at or start
        )


def event(key: str, at: datetime, **data: int) -> NewEvent:
    """Return a request to the gateway: a million context and 500 generated tokens unless said."""
    tokens = {"context_tokens": 1_000_000, "generated_tokens": 500, **data}
    return NewEvent("test", key, "ai.request", at, tokens)


def november(count: int = 3) -> list[NewEvent]:
    """Return requests of November, one a day from the 2nd."""
    days = [START + timedelta(days=day, hours=10) for day in range(1, count + 1)]
    return [event(f"nov-{day.day}", day) for day in days]


def send(organization: Organization, events: Sequence[NewEvent]) -> None:
    """Ingest events; all must be taken."""
    with rls.tenant_scope(organization.pk):
        outcome = usage.ingest(organization.pk, events=list(events), actor=STAFF, at=NOW)
    assert outcome.accepted == len(events), outcome.results


def bill(as_of: datetime = BILLED, *, at: datetime = NOW) -> list[billing.Issued]:
    """Bill what is due; nobody may be parked."""
    report = billing.bill_due(as_of=as_of, actor=STAFF, at=at)
    assert not report.parked, report.parked
    return report.issued


def put_on_clock(organization: Organization, now: datetime) -> None:
    """Let the organization live by a test clock that shows `now`."""
    with rls.ops_scope("test: a clock"):
        clock = tenants.create_test_clock("spring", now=now, actor=STAFF, at=NOW)
        tenants.attach_test_clock(organization.pk, clock=clock.public_id, actor=STAFF, at=NOW)


def number_of(invoice: str, organization: Organization) -> str:
    """Return the number of an invoice."""
    with rls.tenant_scope(organization.pk):
        return str(invoicing.get(invoice).number)
