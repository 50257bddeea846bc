"""Books with a bit of everything that goes with invoices, in US dollars and in German tax."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from apps.core import rls
from apps.engine.recognition import Month
from apps.invoicing import services
from apps.invoicing.services import NewCharge
from apps.payments import services as payments
from apps.plans import services as plans
from apps.plans.offers import CouponRules, TaxRules
from apps.subscriptions import services as subscriptions
from apps.tenants import services as tenants
from apps.tenants.models import BillingEntity, Organization
from tests.conftest import STAFF, make_organization
from tests.invoicing import world
from tests.invoicing.world import NOW, day


def build() -> Organization:
    """January and February with a coupon of 10 %, 19 % tax, 7.00 of credit, a charge of 5.00, late
    usage that was healed, a payment, a credit note of 11.90 that is paid back, a recognized month.
    """
    world.load()
    _offer()
    organization = make_organization("acme", country="DE")
    facts = world.subscribe(organization, start=day(1, 1), at=day(1, 1))
    with rls.tenant_scope(organization.pk):
        subscriptions.apply_discount(
            organization.pk,
            code="tenth",
            subscription_id=facts.public_id,
            actor=STAFF,
            at=day(1, 1),
        )
        services.grant_credit(organization.pk, amount=Decimal(7), actor=STAFF, at=day(1, 1))
    world.use(organization, *world.hourly(day(1, 5), 30))
    world.bill(day(1, 1), at=day(1, 1))
    _add(organization)
    world.bill(day(2, 1), at=day(2, 1))
    world.use(organization, *world.hourly(day(1, 20), 10), tokens=0)
    services.heal_usage(actor=STAFF, at=day(2, 2))
    world.bill(day(3, 1), at=day(3, 1))
    _give_back(organization)
    services.recognize_revenue(Month(2026, 2), actor=STAFF, at=NOW)
    return organization


def _offer() -> None:
    with rls.ops_scope("test: a tenth off, and tax in Germany"):
        issuer = BillingEntity.objects.get()
        vat_id = "DE136695976"
        here = {"country": "DE", "tax_id": vat_id, "tax_registrations": {"DE": vat_id}}
        tenants.change_billing_entity(issuer.public_id, changes=here, actor=STAFF, at=day(1, 1))
        tenth = CouponRules(code="tenth", name="Tenth", percent=Decimal(10), duration="forever")
        plans.define_coupon(tenth, actor=STAFF, at=day(1, 1))
        vat = TaxRules(
            code="de",
            name="USt",
            kind="vat",
            percent=Decimal(19),
            country="DE",
            valid_from=date(2020, 1, 1),
        )
        plans.set_tax_rate(vat, actor=STAFF, at=day(1, 1))


def _add(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        charge = NewCharge(name="Setup", unit_amount=Decimal(5))
        services.add_charge(organization.pk, new=charge, actor=STAFF, at=day(1, 10))


def _give_back(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        payments.record_payment(
            "CH-000002", amount=Decimal(60), reference="B-1", actor=STAFF, at=day(3, 2)
        )
        note = services.issue_credit_note(
            "CH-000002",
            reason="other",
            total=Decimal("11.90"),
            split=services.Split(refund=Decimal("11.90")),
            actor=STAFF,
            at=day(3, 3),
        )
        payments.record_refund(
            note.number, amount=Decimal("11.90"), reference="R-1", actor=STAFF, at=day(3, 4)
        )
