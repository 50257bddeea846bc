"""What the admin's tests share: a world on 10 December 2023 and a browser for each kind of user."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.core.actor import system
from apps.core.models import OutboxDelivery
from apps.entitlements import services as entitlements
from apps.invoicing import services as invoicing
from apps.invoicing.models import Invoice, Parked
from apps.invoicing.services import Split, run
from apps.licensing import services as licensing
from apps.payments import services as payments
from apps.payments.gateway import Write
from apps.payments.models import ProviderCall, ProviderCustomer, ProviderEvent
from apps.payments.services import calls
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog, read_catalog
from apps.seats import services as seats
from apps.subscriptions import services as subscriptions
from apps.subscriptions.selectors import Due
from apps.tenants import services as tenants
from apps.tenants.models import User
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from apps.usage.devices import NewReport
from tests import worlds
from tests.conftest import STAFF
from tests.dunning.rows import dunned
from tests.payments.rows import collected
from tests.watch.rows import watched
from tests.worlds import NOW, World
from tests.write_guard import rooms_write_only_their_own


@pytest.fixture
def world(db: None) -> Iterator[World]:
    """Acme, on 10 December 2023."""
    with clock.frozen(NOW):
        yield worlds.gateway_world("acme")


def browser(user: User) -> Client:
    """Return a browser in which the user has signed in."""
    client = Client()
    client.force_login(user)
    return client


def pay(invoice: str, amount: str) -> None:
    """Record a payment, in major units."""
    with rls.ops_scope("test"):
        payments.record_payment(
            invoice, amount=Decimal(amount), reference="bank-1", actor=STAFF, at=NOW
        )


@pytest.fixture
def admin(world: World) -> Client:
    """Staff who may do everything."""
    return browser(worlds.make_staff("staff@house.example", "Admin"))


@pytest.fixture
def finance(world: World) -> Client:
    """Staff who act on money."""
    return browser(worlds.make_staff("finance@house.example", "Finance"))


@pytest.fixture
def support(world: World) -> Client:
    """Staff who look."""
    return browser(worlds.make_staff("support@house.example", "Support"))


@pytest.fixture
def owner(world: World) -> Client:
    """A customer: the organization's owner."""
    return browser(world.owner)


@pytest.fixture
def parked(world: World) -> int:
    """A subscription that billing had to leave aside; returns the parking's integer id."""
    due = Due(world.subscription.id, world.id)
    error = RuntimeError("the meter was melted down")
    run._park(due, error, actor=system("scheduler"), at=NOW)
    with rls.ops_scope("test"):
        return Parked.objects.get().pk


@pytest.fixture
def rejected(world: World) -> int:
    """An event that no meter knows; returns the organization's id."""
    with rls.tenant_scope(world.id):
        event = NewEvent("test", "odd-1", "no.such.type", NOW - timedelta(days=1), {})
        usage.ingest(world.id, events=[event], actor=STAFF, at=NOW)
    return world.id


@pytest.fixture
def dead(world: World) -> int:
    """A delivery that nobody could take, after its last try."""
    with rls.ops_scope("test"):
        delivery = OutboxDelivery.objects.select_related("event").first()
        assert delivery is not None
        OutboxDelivery.objects.filter(pk=delivery.pk).update(
            status="dead", tries=8, last_error="SMTPError: nobody answers"
        )
        return delivery.pk


@pytest.fixture
def draft(world: World) -> str:
    """A draft of 1 January 2024 that a run kept; returns its public id."""
    at = NOW + timedelta(days=30)
    report = invoicing.bill_due(as_of=at, actor=STAFF, at=at, keep_drafts=True)
    return report.issued[0].id


@pytest.fixture
def canceled(world: World) -> str:
    """The subscription, which will end; returns its public id."""
    with rls.tenant_scope(world.id):
        subscriptions.cancel(world.subscription.public_id, actor=STAFF, at=NOW)
    return world.subscription.public_id


@pytest.fixture(autouse=True)
def _doors_write_nothing() -> Iterator[None]:
    """Hold every statement of every page against the rule that doors write no rows."""
    with rooms_write_only_their_own():
        yield


@pytest.fixture
def everything(world: World, draft: str, parked: int, rejected: int, dead: int) -> None:
    """Something for every list to show; only committed events are rolled up, so no buckets."""
    worlds.make_key(world.organization)
    worlds.make_key(None)
    pay(world.second_invoice, "4.51")
    with rls.ops_scope("test"):
        tenants.create_test_clock("spring", now=NOW, actor=STAFF, at=NOW)
        watched(world.id, meter="ai_requests", actor=STAFF, at=NOW)
        dunned(world.id, actor=STAFF, at=NOW)
        plans.load_catalog(read_catalog("payments"), actor=STAFF, at=NOW)
        new = invoicing.NewCharge(name="Training", unit_amount=Decimal("950.00"))
        invoicing.add_charge(world.id, new=new, actor=STAFF, at=NOW)
        invoicing.grant_credit(world.id, amount=Decimal(10), actor=STAFF, at=NOW)
        note = invoicing.issue_credit_note(
            world.second_invoice,
            reason="other",
            total=Decimal("1.00"),
            split=Split(refund=Decimal("1.00")),
            actor=STAFF,
            at=NOW,
        )
        payments.record_refund(note.public_id, actor=STAFF, at=NOW)
        limit(world)
        terms = tenants.IssuerTerms(audiences=("billing",), jwks_url="https://id.example/jwks")
        tenants.define_token_issuer("https://id.example", terms=terms, actor=STAFF, at=NOW)
        usage.report_devices(world.id, report=NewReport("plant", 2, 5), actor=STAFF, at=NOW)
        licensing.issue_license(world.id, instance="plant", actor=STAFF, at=NOW)
        seated = world.subscription.public_id
        seats.assign_seat(seated, person=world.owner.email, actor=STAFF, at=NOW)
        seats.assign_seat(seated, person="guest@acme.example", actor=STAFF, at=NOW)
        speak_with_stripe(world.id)
        invoice = Invoice.objects.filter(organization_id=world.id).order_by("id")[0]
        collected(world.id, invoice, actor=STAFF, at=NOW)


def speak_with_stripe(organization_id: int) -> None:
    """A customer at the provider, something that is stuck there, and something it told."""
    ProviderCustomer.objects.create(
        organization_id=organization_id, provider_id="cus_1", livemode=False
    )
    calls.enqueue(
        Write.UPDATE_CUSTOMER,
        about="acme:1",
        params={"name": "Acme"},
        organization_id=organization_id,
        target="cus_1",
    )
    ProviderCall.objects.update(state=ProviderCall.State.STUCK, error="Keys are used once.")
    ProviderEvent.objects.create(
        event_id="evt_1",
        type="invoice.paid",
        object_type="invoice",
        object_id="in_1",
        livemode=False,
        happened_at=NOW,
        received_at=NOW,
        next_try_at=NOW,
        state=ProviderEvent.State.DEAD,
        error="LookupError: nobody knows it",
        payload={"id": "evt_1", "type": "invoice.paid"},
    )


def limit(world: World) -> None:
    """Agree a limit of nine requests, set one aside, and bound what may be spent."""
    text = "features: [{key: requests, kind: limit, meter: ai_requests}]"
    plans.load_catalog(parse_catalog(text, source="limit.yaml"), actor=STAFF, at=NOW)
    entitlements.override_entitlement(
        world.subscription.public_id, feature="requests", value=9, reason="x", actor=STAFF, at=NOW
    )
    entitlements.reserve(world.id, feature="requests", amount=Decimal(1), actor=STAFF, at=NOW)
    entitlements.set_spend_cap(world.id, amount=Decimal(900), actor=STAFF, at=NOW)
