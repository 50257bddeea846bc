"""How every operation of the API is called, with a world that has what each of them names.

Used by whoever calls all of them: strangers, hostile bodies, and `make prove NAME=matrix`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Model

from apps.core import rls
from apps.core.ids import new_id
from apps.dunning.models import Run
from apps.entitlements import services as entitlements
from apps.entitlements.models import Reservation, SpendCap
from apps.invoicing import services as billing
from apps.invoicing.models import (
    Charge,
    Correction,
    CreditGrant,
    CreditNote,
    Invoice,
    InvoiceLine,
)
from apps.invoicing.services import NewCharge
from apps.licensing import services as licensing
from apps.licensing.models import Instance, License
from apps.payments import services as payments
from apps.payments.models import (
    CheckoutSession,
    Dispute,
    Payment,
    PaymentAttempt,
    PaymentMethod,
)
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.plans.offers import CouponRules
from apps.seats import services as seats
from apps.seats.models import Seat
from apps.subscriptions import services as agreements
from apps.subscriptions.changes import ChangeQuantity
from apps.subscriptions.models import Change, Discount
from apps.tenants import services as tenants
from apps.tenants.models import ApiKey, Invitation, Membership
from apps.usage import services as usage
from apps.usage.devices import NewReport
from apps.usage.models import DeviceReport
from apps.watch.models import Alert, AlertRule, Anomaly
from tests import worlds
from tests.api.client import operations
from tests.conftest import STAFF
from tests.dunning.rows import dunned
from tests.payments.rows import collected
from tests.watch.rows import watched
from tests.worlds import NOW, World

ORGANIZATION, SUBSCRIPTION, INVOICE = "organization", "subscription", "invoice"
CHANGE, DISCOUNT, CHARGE = "change", "discount", "charge"
GRANT, NOTE, PAYMENT, LINE = "grant", "credit_note", "payment", "line"
CORRECTION = "correction"
REPORT = "report"
RESERVATION, SPEND_CAP = "reservation", "spend_cap"
LICENCE, INSTANCE = "licence", "instance"
SEAT = "seat"
HEAD, MEMBER, INVITATION, API_KEY = "head", "member", "invitation", "api_key"
RULE, ALERT, ANOMALY = "alert_rule", "alert", "anomaly"
DUNNING = "dunning_run"
METHOD, CHECKOUT, ATTEMPT, DISPUTE = "payment_method", "checkout_session", "attempt", "dispute"
PREFIXES = {
    ORGANIZATION: "org",
    SUBSCRIPTION: "sub",
    INVOICE: "inv",
    CHANGE: "chg",
    DISCOUNT: "disc",
    CHARGE: "charge",
    GRANT: "cg",
    NOTE: "cn",
    PAYMENT: "pay",
    LINE: "il",
    CORRECTION: "cor",
    REPORT: "udr",
    RESERVATION: "rsv",
    SPEND_CAP: "cap",
    LICENCE: "lic",
    INSTANCE: "ins",
    SEAT: "seat",
    RULE: "ar",
    ALERT: "al",
    ANOMALY: "an",
    DUNNING: "dun",
    METHOD: "pmt",
    CHECKOUT: "cks",
    ATTEMPT: "pat",
    DISPUTE: "dsp",
    HEAD: "mem",
    MEMBER: "mem",
    INVITATION: "invt",
    API_KEY: "key",
}
LIMIT = """
currency: USD
features: [{key: requests, kind: limit, meter: ai_requests}]
plans:
  - {code: trial, application: gateway, name: Trial, interval: month, trial_days: 14,
     prices: [], entitlements: {requests: 5}}
"""
DEVICES = {"instance_id": "plant-1", "active_devices": 2, "total_devices": 5}
SEATS = {"action": "quantity", "quantity": 9}
EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "test",
    "type": "ai.request",
    "time": "2023-12-09T10:00:00Z",
}


@dataclass(frozen=True)
class Call:
    """How an operation is called; `names` says in which place a tenant's thing is named.

    Places: the path, a query parameter (`?name`) or a field of the body (`/name`). Operations
    without a place name nothing of a tenant's. `ok` is what whoever may gets for things of their
    own, as `docs/access.md` says who that is.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    ok: int = 200


def act(ok: int, **body: Any) -> Call:
    """Return how the platform acts on an invoice: a customer's key may not."""
    return Call({"invoice": INVOICE}, body=body, ok=ok)


CALLS: dict[str, Call] = {
    "get_me": Call(),
    "register": Call(body={}, ok=400),
    "login": Call(body={}, ok=400),
    "refresh_tokens": Call(body={}, ok=400),
    "logout": Call(body={}, ok=400),
    "former_register": Call(body={}, ok=400),
    "former_login": Call(body={}, ok=400),
    "list_members": Call({"?organization": ORGANIZATION, "?starting_after": MEMBER}),
    "change_role": Call({"member": MEMBER}, body={"role": "ADMIN"}),
    "remove_member": Call({"member": MEMBER}, body={}),
    "transfer_ownership": Call({"member": HEAD, "/to": MEMBER}, body={"to": new_id("mem")}),
    "list_invitations": Call({"?organization": ORGANIZATION, "?starting_after": INVITATION}),
    "invite_member": Call(
        {"/organization": ORGANIZATION}, body={"email": "new@x.example", "role": "MEMBER"}, ok=201
    ),
    "resend_invitation": Call({"invitation": INVITATION}, body={}, ok=201),
    "revoke_invitation": Call({"invitation": INVITATION}, body={}),
    "list_api_keys": Call({"?starting_after": API_KEY}),
    "create_api_key": Call(
        {"/organization": ORGANIZATION}, body={"name": "x", "scopes": ["api_keys:write"]}, ok=201
    ),
    "rotate_api_key": Call({"api_key": API_KEY}, body={}, ok=201),
    "revoke_api_key": Call({"api_key": API_KEY}, body={}),
    "list_organizations": Call({"?starting_after": ORGANIZATION}),
    "create_organization": Call(body={"slug": "initech", "name": "Initech"}, ok=201),
    "get_organization": Call({"organization": ORGANIZATION}),
    "update_organization": Call({"organization": ORGANIZATION}, body={"name": "Taken"}),
    "list_upcoming_invoices": Call({"organization": ORGANIZATION}),
    "list_current_usage": Call({"organization": ORGANIZATION}),
    "list_plans": Call(),
    "get_plan": Call(path={"plan": "gateway"}),
    "list_plan_versions": Call(path={"plan": "gateway"}),
    "compare_plans": Call(path={"plan": "gateway"}, query={"with": "gateway"}),
    "list_subscriptions": Call({"?organization": ORGANIZATION, "?starting_after": SUBSCRIPTION}),
    "create_subscription": Call({"/organization": ORGANIZATION}, body={"plan": "gateway"}, ok=409),
    "get_subscription": Call({"subscription": SUBSCRIPTION}),
    "change_quantity": Call({"subscription": SUBSCRIPTION}, body={"quantity": 9}),
    "cancel_subscription": Call({"subscription": SUBSCRIPTION}, body={}),
    "uncancel_subscription": Call({"subscription": SUBSCRIPTION}, body={}),
    "resume_subscription": Call({"subscription": SUBSCRIPTION}, body={}, ok=409),
    "get_upcoming_invoice": Call({"subscription": SUBSCRIPTION}),
    "pause_subscription": Call({"subscription": SUBSCRIPTION}, body={}),
    "reactivate_subscription": Call({"subscription": SUBSCRIPTION}, body={}, ok=409),
    "extend_trial": Call(
        {"subscription": SUBSCRIPTION}, body={"until": "2024-01-01T00:00:00Z"}, ok=409
    ),
    "preview_change": Call({"subscription": SUBSCRIPTION}, body=SEATS),
    "change_subscription": Call({"subscription": SUBSCRIPTION}, body=SEATS),
    "list_changes": Call({"subscription": SUBSCRIPTION, "?starting_after": CHANGE}),
    "cancel_change": Call({"subscription": SUBSCRIPTION, "change": CHANGE}, body={}),
    "schedule_changes": Call(
        {"subscription": SUBSCRIPTION},
        body={"changes": [{**SEATS, "effective_at": "2024-03-01T00:00:00Z"}]},
    ),
    "bill_now": Call({"subscription": SUBSCRIPTION}, body={}, ok=201),
    "list_discounts": Call({"organization": ORGANIZATION, "?subscription": SUBSCRIPTION}),
    "redeem_code": Call(
        {"organization": ORGANIZATION, "/subscription": SUBSCRIPTION},
        body={"code": "NOTHING"},
        ok=404,
    ),
    "remove_discount": Call({"organization": ORGANIZATION, "discount": DISCOUNT}, body={}),
    "validate_promotion_code": Call(
        {"organization": ORGANIZATION, "/subscription": SUBSCRIPTION},
        body={"code": "NOTHING"},
        ok=404,
    ),
    "list_charges": Call({"organization": ORGANIZATION, "?starting_after": CHARGE}),
    "add_charge": Call(
        {"organization": ORGANIZATION, "/subscription": SUBSCRIPTION},
        body={"name": "Setup", "unit_amount": "5"},
        ok=201,
    ),
    "withdraw_charge": Call({"organization": ORGANIZATION, "charge": CHARGE}, body={}),
    "create_invoice": Call(
        {"organization": ORGANIZATION}, body={"charges": [new_id("charge")]}, ok=404
    ),
    "preview_invoice": Call(
        {"organization": ORGANIZATION}, body={"charges": [new_id("charge")]}, ok=404
    ),
    "list_corrections": Call({"?organization": ORGANIZATION, "?starting_after": CORRECTION}),
    "approve_correction": Call({"correction": CORRECTION}, body={"reason": "seen"}, ok=409),
    "reject_correction": Call({"correction": CORRECTION}, body={"reason": "seen"}, ok=409),
    "get_credit": Call({"organization": ORGANIZATION}),
    "list_credit_grants": Call({"organization": ORGANIZATION, "?starting_after": GRANT}),
    "grant_credit": Call({"organization": ORGANIZATION}, body={"amount": 1_00}, ok=201),
    "void_credit_grant": Call(
        {"organization": ORGANIZATION, "grant": GRANT}, body={"reason": "wrong"}
    ),
    "list_credit_movements": Call({"organization": ORGANIZATION, "?grant": GRANT}),
    "buy_credit": Call({"organization": ORGANIZATION}, body={"amount": 10_00}, ok=201),
    "list_recharge_rules": Call({"organization": ORGANIZATION}),
    "set_recharge_rule": Call(
        {"organization": ORGANIZATION}, body={"threshold": 5_00, "amount": 20_00}, ok=201
    ),
    "stop_recharge": Call({"organization": ORGANIZATION}, body={}),
    "send_events": Call({"/subject": ORGANIZATION}, body=EVENT),
    "list_usage": Call({"?organization": ORGANIZATION}),
    "report_devices": Call({"/organization": ORGANIZATION}, body=DEVICES, ok=201),
    "list_device_reports": Call({"?organization": ORGANIZATION, "?starting_after": REPORT}),
    "delete_device_reports": Call({"/organization": ORGANIZATION}, body={}),
    "list_latest_device_reports": Call({"?organization": ORGANIZATION}),
    "former_report_usage": Call({"/customer_id": ORGANIZATION}, body=DEVICES, ok=201),
    "former_list_usage": Call({"organization": ORGANIZATION}),
    "former_get_latest_usage": Call({"organization": ORGANIZATION}),
    "former_clean_up_usage": Call(body={}),
    "check_access": Call({"/organization": ORGANIZATION}, body={"feature": "max_devices"}),
    "create_reservation": Call(
        {"/organization": ORGANIZATION}, body={"feature": "max_devices"}, ok=422
    ),
    "get_reservation": Call({"reservation": RESERVATION}),
    "commit_reservation": Call({"reservation": RESERVATION}, body={}),
    "release_reservation": Call({"reservation": RESERVATION}, body={}),
    "list_spend_caps": Call({"organization": ORGANIZATION}),
    "set_spend_cap": Call(
        {"organization": ORGANIZATION, "/subscription": SUBSCRIPTION}, body={"amount": 10_00}
    ),
    "remove_spend_cap": Call({"organization": ORGANIZATION, "spend_cap": SPEND_CAP}, body={}),
    "get_current_licence": Call({"organization": ORGANIZATION}),
    "list_licences": Call({"organization": ORGANIZATION, "?starting_after": LICENCE}),
    "issue_licence": Call({"organization": ORGANIZATION}, body={}, ok=201),
    "get_licence": Call({"licence": LICENCE}),
    "revoke_licence": Call({"licence": LICENCE}, body={}),
    "verify_licence": Call(body={"token": "none"}),
    "get_licence_keys": Call(),
    "get_licence_terms": Call({"organization": ORGANIZATION}),
    "set_licence_terms": Call(
        {"organization": ORGANIZATION}, body={"lifetime_days": 9, "grace_days": 1}
    ),
    "list_instances": Call({"organization": ORGANIZATION}),
    "block_instance": Call({"instance": INSTANCE}, body={}),
    "unblock_instance": Call({"instance": INSTANCE}, body={}),
    "sign_up_customer": Call(body={"name": "Initech"}, ok=201),
    "former_list_customers": Call({"?starting_after": ORGANIZATION}),
    "former_create_customer": Call(
        body={"company_name": "Initech", "email": "pay@initech.example"}, ok=201
    ),
    "former_get_customer": Call({"organization": ORGANIZATION}),
    "former_update_customer": Call({"organization": ORGANIZATION}, body={"company_name": "Taken"}),
    "former_get_license": Call({"organization": ORGANIZATION}),
    "former_get_public_key": Call(),
    "former_verify_license": Call(body={"license": "none"}),
    "former_revoke_licenses": Call({"organization": ORGANIZATION}, body={}),
    "get_usage": Call({"?organization": ORGANIZATION}, path={"meter": "ai_requests"}),
    "list_invoices": Call(
        {
            "?organization": ORGANIZATION,
            "?subscription": SUBSCRIPTION,
            "?starting_after": INVOICE,
            "?ending_before": INVOICE,
        }
    ),
    "get_invoice": Call({"invoice": INVOICE}),
    "get_invoice_pdf": Call({"invoice": INVOICE}),
    "get_invoice_xml": Call({"invoice": INVOICE}, ok=404),
    "approve_invoice": act(409, reason="seen"),
    "hold_invoice": act(409, reason="odd"),
    "finalize_invoice": act(409),
    "refresh_draft": act(409),
    "discard_draft": act(409, reason="wrong"),
    "void_invoice": act(409, reason="wrong"),
    "mark_uncollectible": act(200, reason="bankrupt"),
    "rebill_invoice": act(409),
    "list_payments": Call({"invoice": INVOICE, "?starting_after": PAYMENT}),
    "record_payment": act(201, amount=1_00),
    "reverse_payment": Call({"payment": PAYMENT}, body={"reason": "wrong"}, ok=201),
    "list_line_events": Call({"line": LINE}),
    "list_credit_notes": Call(
        {"?organization": ORGANIZATION, "?invoice": INVOICE, "?starting_after": NOTE}
    ),
    "issue_credit_note": act(201, reason="other"),
    "get_credit_note": Call({"credit_note": NOTE}),
    "get_credit_note_pdf": Call({"credit_note": NOTE}),
    "get_credit_note_xml": Call({"credit_note": NOTE}, ok=404),
    "list_dunning_runs": Call({"?organization": ORGANIZATION, "?starting_after": DUNNING}),
    "get_dunning_run": Call({"dunning_run": DUNNING}),
    "pause_dunning_run": Call({"dunning_run": DUNNING}, body={"reason": "pays soon"}),
    "resume_dunning_run": Call({"dunning_run": DUNNING}, body={}),
    "stop_dunning_run": Call({"dunning_run": DUNNING}, body={"reason": "our mistake"}),
    "list_dunning_campaigns": Call(),
    "preview_dunning": Call({"invoice": INVOICE}),
    "list_alert_rules": Call({"?organization": ORGANIZATION, "?starting_after": RULE}),
    "create_alert_rule": Call(
        {"/organization": ORGANIZATION}, body={"kind": "amount", "amount": 5_00}, ok=201
    ),
    "get_alert_rule": Call({"alert_rule": RULE}),
    "end_alert_rule": Call({"alert_rule": RULE}, body={}),
    "list_alerts": Call({"?organization": ORGANIZATION, "?starting_after": ALERT}),
    "list_anomalies": Call({"?organization": ORGANIZATION, "?starting_after": ANOMALY}),
    "get_anomaly": Call({"anomaly": ANOMALY}),
    "acknowledge_anomaly": Call({"anomaly": ANOMALY}, body={}),
    "list_seats": Call({"?organization": ORGANIZATION, "?starting_after": SEAT}),
    "get_seat": Call({"seat": SEAT}),
    "revoke_seat": Call({"seat": SEAT}, body={}),
    "reassign_seat": Call({"seat": SEAT}, body={"person": "else@acme.example"}),
    "resend_seat_claim": Call({"seat": SEAT}, body={}),
    "list_subscription_seats": Call({"subscription": SUBSCRIPTION, "?starting_after": SEAT}),
    "assign_seat": Call(
        {"subscription": SUBSCRIPTION}, body={"person": "new@acme.example"}, ok=201
    ),
    "assign_seats_in_bulk": Call(
        {"subscription": SUBSCRIPTION}, body={"csv": "person\nnew@acme.example\n"}
    ),
    "list_seat_pools": Call({"subscription": SUBSCRIPTION}),
    "preview_seats": Call({"subscription": SUBSCRIPTION}, body={"count": 1}),
    "buy_seats": Call({"subscription": SUBSCRIPTION}, body={"count": 1}),
    "set_auto_expand": Call({"subscription": SUBSCRIPTION}, body={"up_to": 20}),
    "verify_seat": Call(
        {"/external_org_id": ORGANIZATION},
        body={"user_id": "u", "application_slug": "gateway", "external_org_id": "nobody"},
    ),
    "former_verify_seat": Call(
        {"/externalOrgId": ORGANIZATION},
        body={"userId": "u", "applicationSlug": "gateway", "externalOrgId": "nobody"},
    ),
    "list_payment_methods": Call({"?organization": ORGANIZATION, "?starting_after": METHOD}),
    "choose_payment_method": Call({"payment_method": METHOD}, body={}),
    "remove_payment_method": Call({"payment_method": METHOD}, body={}),
    # There is no provider in the tests of who may: whoever may is told that.
    "create_checkout_session": Call(
        {"/organization": ORGANIZATION}, body={"mode": "setup"}, ok=409
    ),
    "get_checkout_session": Call({"checkout_session": CHECKOUT}),
    "pay_invoice": Call({"invoice": INVOICE}, body={}, ok=409),
    "list_payment_attempts": Call({"invoice": INVOICE}),
    "list_disputes": Call({"?organization": ORGANIZATION, "?starting_after": DISPUTE}),
    "refund_credit_note": Call({"credit_note": NOTE}, body={}, ok=409),
    "list_refunds": Call({"credit_note": NOTE}),
    "record_refund": Call({"credit_note": NOTE}, body={}, ok=422),
}
OTHERS: Mapping[str, type[Model]] = {
    HEAD: Membership,
    MEMBER: Membership,
    INVITATION: Invitation,
    API_KEY: ApiKey,
    CHANGE: Change,
    DISCOUNT: Discount,
    CHARGE: Charge,
    GRANT: CreditGrant,
    NOTE: CreditNote,
    PAYMENT: Payment,
    LINE: InvoiceLine,
    CORRECTION: Correction,
    RESERVATION: Reservation,
    SPEND_CAP: SpendCap,
    LICENCE: License,
    INSTANCE: Instance,
    REPORT: DeviceReport,
    SEAT: Seat,
    RULE: AlertRule,
    ALERT: Alert,
    ANOMALY: Anomaly,
    DUNNING: Run,
    METHOD: PaymentMethod,
    CHECKOUT: CheckoutSession,
    ATTEMPT: PaymentAttempt,
    DISPUTE: Dispute,
}
AMONG = {HEAD: {"role": "OWNER"}, MEMBER: {"role": "MEMBER"}}  # whoever came first


def things(world: World) -> dict[str, str]:
    """Return the public ids of a world, by what they name."""
    return {
        ORGANIZATION: world.organization.public_id,
        SUBSCRIPTION: world.subscription.public_id,
        INVOICE: world.second_invoice,
        **made(world),
    }


def made(world: World) -> dict[str, str]:
    """Return the ids of what a world has besides; the first time, make it."""
    with rls.ops_scope("test"):
        if not Change.objects.filter(organization_id=world.id).exists():
            make(world)
        return {
            thing: model._default_manager.filter(organization_id=world.id, **AMONG.get(thing, {}))
            .values_list("public_id", flat=True)
            .order_by("id")[0]
            for thing, model in OTHERS.items()
        }


def make(world: World) -> None:
    """Schedule a change, redeem a coupon, charge, grant, record a payment, issue a note, heal."""
    slug = world.organization.slug
    worlds.make_key(world.organization, ["api_keys:write"])
    worlds.make_member(world.organization, f"colleague@{slug}.example", role="MEMBER")
    tenants.invite_member(world.id, email="guest@x.example", role="MEMBER", actor=STAFF, at=NOW)
    wish, code = ChangeQuantity(Decimal(7)), f"for-{slug}"
    later, subscription = agreements.Behaviour.NEXT_PERIOD, world.subscription.public_id
    agreements.change(subscription, wish=wish, behaviour=later, actor=STAFF, at=NOW)
    rules = CouponRules(code=code, name="Ten percent", percent=Decimal(10), duration="forever")
    plans.define_coupon(rules, actor=STAFF, at=NOW)
    agreements.apply_discount(
        world.id, code=code, subscription_id=subscription, actor=STAFF, at=NOW
    )
    setup = NewCharge(name="Setup", unit_amount=Decimal("5.00"))
    billing.add_charge(world.id, new=setup, actor=STAFF, at=NOW)
    billing.grant_credit(world.id, amount=Decimal("3.00"), actor=STAFF, at=NOW)
    payments.record_payment(world.second_invoice, amount=Decimal("4.51"), actor=STAFF, at=NOW)
    billing.issue_credit_note(
        world.second_invoice, reason="other", total=Decimal("1.00"), actor=STAFF, at=NOW
    )
    seats.assign_seat(subscription, person="guest@acme.example", actor=STAFF, at=NOW)
    limit(world)
    usage.report_devices(world.id, report=NewReport("plant-1", 2, 5), actor=STAFF, at=NOW)
    worlds.send(world.organization, [worlds.event("late", worlds.START + timedelta(days=20))])
    billing.heal_usage(organization_id=world.id, actor=STAFF, at=NOW)
    watched(world.id, meter="ai_requests", actor=STAFF, at=NOW)
    dunned(world.id, actor=STAFF, at=NOW)
    invoice = Invoice.objects.filter(organization_id=world.id).order_by("id")[0]
    collected(world.id, invoice, actor=STAFF, at=NOW)
    licensing.issue_license(world.id, instance="plant-1", actor=STAFF, at=NOW)


def limit(world: World) -> None:
    """Set a request of an agreed limit aside, and bound what may be spent."""
    plans.load_catalog(parse_catalog(LIMIT, source="limit.yaml"), actor=STAFF, at=NOW)
    entitlements.override_entitlement(
        world.subscription.public_id, feature="requests", value=9, reason="x", actor=STAFF, at=NOW
    )
    wanted = Decimal(1)
    entitlements.reserve(world.id, feature="requests", amount=wanted, actor=STAFF, at=NOW)
    entitlements.set_spend_cap(world.id, amount=Decimal(900), actor=STAFF, at=NOW)


def made_up() -> dict[str, str]:
    """Return ids of nothing."""
    return {thing: new_id(prefix) for thing, prefix in PREFIXES.items()}


@dataclass(frozen=True, slots=True)
class Filled:
    """A request, ready to be sent."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any


def fill(name: str, values: Mapping[str, str], named: Collection[str] = ()) -> Filled:
    """Return the request of an operation with an id in every place of its path.

    Of the query and the body only the places in `named` name something, and what the body needs.
    """
    how = CALLS[name]
    method, template = operations()[name]
    in_path = {place: value for place, value in values.items() if place[0] not in "?/"}
    query = {place[1:]: values[place] for place in named if place[0] == "?"}
    needed = [f"/{field}" for field in how.body or () if f"/{field}" in values]
    fields = {place[1:]: values[place] for place in (*named, *needed) if place[0] == "/"}
    body = {**how.body, **fields} if fields else how.body
    return Filled(method, template.format(**how.path, **in_path), {**how.query, **query}, body)
