"""A seller whose provider is the sandbox: what tests of collecting set up again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import stripe

from apps.core import clock, outbox, rls
from apps.invoicing.models import Invoice
from apps.payments import gateway, selectors, services
from apps.payments.models import Collection, PaymentAttempt, PaymentMethod
from apps.payments.projections import see_method
from apps.payments.services.methods import keep_method
from apps.sandbox.control import control
from apps.sandbox.engine import Sandbox
from apps.sandbox.engine.faults import Fault, Kind
from apps.sandbox.transports import SandboxClient
from apps.subscriptions import services as subscriptions
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.invoicing import world
from tests.invoicing.world import day

KEY = "sk_test_sandbox0123456789abcdefghij"
NOW = world.NOW
VISA, NO_FUNDS = "pm_card_visa", "pm_card_chargeCustomerFail"


@dataclass
class Till:
    """The provider as it stands, and one organization that pays through it."""

    sandbox: Sandbox
    client: stripe.StripeClient
    transport: SandboxClient
    organization: Organization

    def save_card(self, card: str = VISA) -> PaymentMethod:
        """Have the provider keep a test card, and know of it."""
        customer = services.ensure_customer(self.organization.pk)
        told = self.client.v1.payment_methods.attach(card, {"customer": customer})
        with rls.tenant_scope(self.organization.pk):
            seen = see_method(told.to_dict())
            return keep_method(self.organization.pk, seen=seen, at=NOW)

    def bill(self, *, collection: str = "stripe_invoice") -> Invoice:
        """Issue an invoice of 50.00, CH-000001."""
        with rls.tenant_scope(self.organization.pk):
            subscriptions.subscribe(
                self.organization.pk,
                plan="gateway",
                start=day(1, 1),
                collection=collection,
                begin=subscriptions.Begin(card=True),
                actor=STAFF,
                at=NOW,
            )
        world.bill(day(1, 1))
        return self.invoice()

    def invoice(self) -> Invoice:
        """Return the invoice as it is now."""
        with rls.tenant_scope(self.organization.pk):
            return Invoice.objects.get(organization=self.organization)

    def collection(self) -> Collection:
        """Return how it is collected."""
        with rls.tenant_scope(self.organization.pk):
            return Collection.objects.get(organization=self.organization)

    def attempts(self) -> list[PaymentAttempt]:
        """Return what was tried, the first try first."""
        with rls.tenant_scope(self.organization.pk):
            return list(PaymentAttempt.objects.order_by("number"))

    def confirm(self) -> None:
        """Do what the customer's bank asks of them."""
        [intent] = self.client.v1.payment_intents.list({"limit": 1}).data
        control(self.sandbox, "POST", "authenticate", {"intent": intent.id})

    def fail(self, path: str, kind: Kind) -> None:
        """Let the next request to a path that ends so fail."""
        self.sandbox.faults.add(Fault(kind, rf"POST /v1/.*{path}"))

    def collect(self, **wanted: Any) -> PaymentAttempt:
        """Ask for a charge."""
        with rls.tenant_scope(self.organization.pk):
            return services.collect("CH-000001", actor=STAFF, at=NOW, **wanted)

    def pay_by_hand(self, amount: str, reference: str = "wire") -> None:
        """Record a bank transfer."""
        with rls.tenant_scope(self.organization.pk):
            services.record_payment(
                "CH-000001", amount=Decimal(amount), reference=reference, actor=STAFF, at=NOW
            )

    def work(self) -> None:
        """Let the workers do all that is due: facts, calls, and what the provider tells."""
        for _ in range(3):
            outbox.deliver_due()
            services.deliver_calls()
            services.backfill_events()
            services.handle_events()

    def work_later(self, pause: timedelta = timedelta(hours=1)) -> None:
        """Let the workers do what is due by then."""
        with clock.frozen(clock.now() + pause):
            self.work()

    def there(self) -> stripe.Invoice:
        """Return the invoice as the provider has it."""
        return self.client.v1.invoices.retrieve(
            self.collection().provider_id, {"expand": ["payments"]}
        )

    def recorded(self) -> list[tuple[int, str]]:
        """Return the payments: amount and how they came."""
        with rls.tenant_scope(self.organization.pk):
            return [(one.amount, one.method) for one in selectors.of_invoice(self.invoice().pk)]


@contextmanager
def till(slug: str = "acme") -> Iterator[Till]:
    """Open a till: the catalogue is loaded, the organization is there, nothing is owed."""
    world.load()
    with till_of(make_organization(slug)) as opened:
        yield opened


@contextmanager
def till_of(organization: Organization) -> Iterator[Till]:
    """Open a till for an organization."""
    sandbox = Sandbox(strict=True)
    transport = SandboxClient(sandbox)
    with gateway.use(transport, key=KEY):
        client = stripe.StripeClient(KEY, http_client=transport)
        yield Till(sandbox, client, transport, organization)
