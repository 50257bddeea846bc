from __future__ import annotations

from datetime import UTC, datetime

from apps.backoffice.demo import cards
from apps.core import clock, rls
from apps.invoicing import selectors as invoicing
from apps.payments import gateway
from apps.payments import selectors as payments
from apps.sandbox.engine import Sandbox
from apps.sandbox.transports import SandboxClient
from apps.tenants import services as tenants
from tests.commands.shell import run
from tests.conftest import STAFF
from tests.portal import world


def test_a_demo_customer_pays_by_card_and_then_does_not(committed_db: str) -> None:
    world.load("gateway")
    customer = world.make_customer(cards.SLUG)
    world.use(customer, datetime(2023, 11, 16, tzinfo=UTC), 30, tokens=200_000)
    first, second = world.bill()
    organization = customer.organization.pk
    with rls.ops_scope("test: mark"):
        changes = {"metadata": {"demo": "true"}}
        tenants.update_organization(organization, changes=changes, actor=STAFF, at=world.NOW)
    run("demo_data", "--cards-only")  # nobody to charge at: nothing happens
    with clock.frozen(world.NOW), gateway.use(SandboxClient(Sandbox())):
        run("demo_data", "--cards-only")
        run("demo_data", "--cards-only")  # nothing is left to do
    with rls.ops_scope("test: look"):
        rows = [invoicing.get(str(number)) for number in (first, second)]
        assert [row.status for row in rows] == ["paid", "open"]
        assert [one.last4 for one in payments.methods_of(organization)] == ["0341", "4242"]
