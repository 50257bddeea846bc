"""Every operation against everybody who may not: no key, another customer, a made-up id, no scope.

A foreign id and one that does not exist get the same status and the same body, so nobody learns
what others have; and whatever is refused has changed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Model

from apps.api.urls import former, rooted, v1
from apps.audit.models import AuditEntry
from apps.core import rls
from apps.core.ids import new_id
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
    RechargeRule,
)
from apps.invoicing.services import NewCharge
from apps.licensing import services as licensing
from apps.licensing.models import Instance, License
from apps.payments import services as payments
from apps.payments.models import Payment
from apps.plans import services as plans
from apps.plans.catalog import parse_catalog
from apps.plans.offers import CouponRules
from apps.seats import services as seats
from apps.seats.models import Seat
from apps.subscriptions import services as agreements
from apps.subscriptions.changes import ChangeQuantity
from apps.subscriptions.models import Change, Discount, QuantityStep, Subscription
from apps.tenants import services as tenants
from apps.tenants.models import ApiKey, Invitation, Membership, Organization
from apps.tenants.roles import SCOPES
from apps.usage import services as usage
from apps.usage.devices import NewReport
from apps.usage.models import DeviceReport, Event
from apps.watch.models import Alert, AlertRule, Anomaly
from tests import worlds
from tests.api.client import Api, document, operations
from tests.conftest import STAFF
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
MEMBER, INVITATION, API_KEY = "member", "invitation", "api_key"
RULE, ALERT, ANOMALY = "alert_rule", "alert", "anomaly"
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
    MEMBER: "mem",
    INVITATION: "invt",
    API_KEY: "key",
}
LIMIT = "features: [{key: requests, kind: limit, meter: ai_requests}]"
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
class Probe:
    """How an operation is called; `names` says in which place a tenant's thing is named.

    Places: the path, a query parameter (`?name`) or a field of the body (`/name`). Operations
    without a place name nothing of a tenant's.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    ok: int = 200


def act(**body: Any) -> Probe:
    """Return how the platform acts on an invoice: a customer's key may not."""
    return Probe({"invoice": INVOICE}, body=body, ok=403)


PROBES: dict[str, Probe] = {
    "get_me": Probe(),
    "register": Probe(body={}),
    "login": Probe(body={}),
    "refresh_tokens": Probe(body={}),
    "logout": Probe(body={}),
    "former_register": Probe(body={}),
    "former_login": Probe(body={}),
    "list_members": Probe({"?organization": ORGANIZATION, "?starting_after": MEMBER}),
    "change_role": Probe({"member": MEMBER}, body={"role": "ADMIN"}, ok=403),
    "remove_member": Probe({"member": MEMBER}, body={}, ok=403),
    "transfer_ownership": Probe({"member": MEMBER}, body={"to": new_id("mem")}, ok=403),
    "list_invitations": Probe({"?organization": ORGANIZATION, "?starting_after": INVITATION}),
    "invite_member": Probe(
        {"/organization": ORGANIZATION}, body={"email": "new@x.example", "role": "MEMBER"}, ok=201
    ),
    "resend_invitation": Probe({"invitation": INVITATION}, body={}, ok=201),
    "revoke_invitation": Probe({"invitation": INVITATION}, body={}),
    "list_api_keys": Probe({"?starting_after": API_KEY}),
    "create_api_key": Probe(
        {"/organization": ORGANIZATION}, body={"name": "x", "scopes": ["api_keys:write"]}, ok=201
    ),
    "rotate_api_key": Probe({"api_key": API_KEY}, body={}, ok=201),
    "revoke_api_key": Probe({"api_key": API_KEY}, body={}),
    "list_organizations": Probe({"?starting_after": ORGANIZATION}),
    "create_organization": Probe(body={"slug": "initech", "name": "Initech"}, ok=403),
    "get_organization": Probe({"organization": ORGANIZATION}),
    "update_organization": Probe({"organization": ORGANIZATION}, body={"name": "Taken"}),
    "list_upcoming_invoices": Probe({"organization": ORGANIZATION}),
    "list_current_usage": Probe({"organization": ORGANIZATION}),
    "list_plans": Probe(),
    "get_plan": Probe(path={"plan": "gateway"}),
    "list_plan_versions": Probe(path={"plan": "gateway"}),
    "compare_plans": Probe(path={"plan": "gateway"}, query={"with": "gateway"}),
    "list_subscriptions": Probe({"?organization": ORGANIZATION, "?starting_after": SUBSCRIPTION}),
    "create_subscription": Probe({"/organization": ORGANIZATION}, body={"plan": "gateway"}, ok=409),
    "get_subscription": Probe({"subscription": SUBSCRIPTION}),
    "change_quantity": Probe({"subscription": SUBSCRIPTION}, body={"quantity": 9}),
    "cancel_subscription": Probe({"subscription": SUBSCRIPTION}, body={}),
    "uncancel_subscription": Probe({"subscription": SUBSCRIPTION}, body={}),
    "resume_subscription": Probe({"subscription": SUBSCRIPTION}, body={}, ok=409),
    "get_upcoming_invoice": Probe({"subscription": SUBSCRIPTION}),
    "pause_subscription": Probe({"subscription": SUBSCRIPTION}, body={}),
    "reactivate_subscription": Probe({"subscription": SUBSCRIPTION}, body={}, ok=409),
    "extend_trial": Probe(
        {"subscription": SUBSCRIPTION}, body={"until": "2024-01-01T00:00:00Z"}, ok=403
    ),
    "preview_change": Probe({"subscription": SUBSCRIPTION}, body=SEATS),
    "change_subscription": Probe({"subscription": SUBSCRIPTION}, body=SEATS),
    "list_changes": Probe({"subscription": SUBSCRIPTION, "?starting_after": CHANGE}),
    "cancel_change": Probe({"subscription": SUBSCRIPTION, "change": CHANGE}, body={}),
    "schedule_changes": Probe(
        {"subscription": SUBSCRIPTION},
        body={"changes": [{**SEATS, "effective_at": "2024-03-01T00:00:00Z"}]},
    ),
    "bill_now": Probe({"subscription": SUBSCRIPTION}, body={}, ok=403),
    "list_discounts": Probe({"organization": ORGANIZATION, "?subscription": SUBSCRIPTION}),
    "redeem_code": Probe(
        {"organization": ORGANIZATION, "/subscription": SUBSCRIPTION},
        body={"code": "NOTHING"},
        ok=404,
    ),
    "remove_discount": Probe({"organization": ORGANIZATION, "discount": DISCOUNT}, body={}),
    "validate_promotion_code": Probe(
        {"organization": ORGANIZATION, "/subscription": SUBSCRIPTION},
        body={"code": "NOTHING"},
        ok=404,
    ),
    "list_charges": Probe({"organization": ORGANIZATION, "?starting_after": CHARGE}),
    "add_charge": Probe(
        {"organization": ORGANIZATION, "/subscription": SUBSCRIPTION},
        body={"name": "Setup", "unit_amount": "5"},
        ok=403,
    ),
    "withdraw_charge": Probe({"organization": ORGANIZATION, "charge": CHARGE}, body={}, ok=403),
    "create_invoice": Probe(
        {"organization": ORGANIZATION}, body={"charges": [new_id("charge")]}, ok=403
    ),
    "preview_invoice": Probe(
        {"organization": ORGANIZATION}, body={"charges": [new_id("charge")]}, ok=403
    ),
    "list_corrections": Probe(
        {"?organization": ORGANIZATION, "?starting_after": CORRECTION}, ok=403
    ),
    "approve_correction": Probe({"correction": CORRECTION}, body={"reason": "seen"}, ok=403),
    "reject_correction": Probe({"correction": CORRECTION}, body={"reason": "seen"}, ok=403),
    "get_credit": Probe({"organization": ORGANIZATION}),
    "list_credit_grants": Probe({"organization": ORGANIZATION, "?starting_after": GRANT}),
    "grant_credit": Probe({"organization": ORGANIZATION}, body={"amount": 1_00}, ok=403),
    "void_credit_grant": Probe(
        {"organization": ORGANIZATION, "grant": GRANT}, body={"reason": "wrong"}, ok=403
    ),
    "list_credit_movements": Probe({"organization": ORGANIZATION, "?grant": GRANT}),
    "buy_credit": Probe({"organization": ORGANIZATION}, body={"amount": 10_00}, ok=201),
    "list_recharge_rules": Probe({"organization": ORGANIZATION}),
    "set_recharge_rule": Probe(
        {"organization": ORGANIZATION}, body={"threshold": 5_00, "amount": 20_00}, ok=201
    ),
    "stop_recharge": Probe({"organization": ORGANIZATION}, body={}),
    "send_events": Probe({"/subject": ORGANIZATION}, body=EVENT),
    "list_usage": Probe({"?organization": ORGANIZATION}),
    "report_devices": Probe({"/organization": ORGANIZATION}, body=DEVICES, ok=201),
    "list_device_reports": Probe({"?organization": ORGANIZATION, "?starting_after": REPORT}),
    "delete_device_reports": Probe({"/organization": ORGANIZATION}, body={}),
    "list_latest_device_reports": Probe({"?organization": ORGANIZATION}),
    "former_report_usage": Probe({"/customer_id": ORGANIZATION}, body=DEVICES, ok=201),
    "former_list_usage": Probe({"organization": ORGANIZATION}),
    "former_get_latest_usage": Probe({"organization": ORGANIZATION}),
    "former_clean_up_usage": Probe(body={}),
    "check_access": Probe({"/organization": ORGANIZATION}, body={"feature": "max_devices"}),
    "create_reservation": Probe(
        {"/organization": ORGANIZATION}, body={"feature": "max_devices"}, ok=422
    ),
    "get_reservation": Probe({"reservation": RESERVATION}),
    "commit_reservation": Probe({"reservation": RESERVATION}, body={}),
    "release_reservation": Probe({"reservation": RESERVATION}, body={}),
    "list_spend_caps": Probe({"organization": ORGANIZATION}),
    "set_spend_cap": Probe(
        {"organization": ORGANIZATION, "/subscription": SUBSCRIPTION}, body={"amount": 10_00}
    ),
    "remove_spend_cap": Probe({"organization": ORGANIZATION, "spend_cap": SPEND_CAP}, body={}),
    "get_current_licence": Probe({"organization": ORGANIZATION}),
    "list_licences": Probe({"organization": ORGANIZATION, "?starting_after": LICENCE}),
    "issue_licence": Probe({"organization": ORGANIZATION}, body={}, ok=201),
    "get_licence": Probe({"licence": LICENCE}),
    "revoke_licence": Probe({"licence": LICENCE}, body={}),
    "verify_licence": Probe(body={"token": "none"}),
    "get_licence_keys": Probe(),
    "get_licence_terms": Probe({"organization": ORGANIZATION}),
    "set_licence_terms": Probe(
        {"organization": ORGANIZATION}, body={"lifetime_days": 9, "grace_days": 1}, ok=403
    ),
    "list_instances": Probe({"organization": ORGANIZATION}),
    "block_instance": Probe({"instance": INSTANCE}, body={}),
    "unblock_instance": Probe({"instance": INSTANCE}, body={}),
    "sign_up_customer": Probe(body={"name": "Initech"}, ok=403),
    "former_list_customers": Probe({"?starting_after": ORGANIZATION}),
    "former_create_customer": Probe(
        body={"company_name": "Initech", "email": "pay@initech.example"}, ok=403
    ),
    "former_get_customer": Probe({"organization": ORGANIZATION}),
    "former_update_customer": Probe({"organization": ORGANIZATION}, body={"company_name": "Taken"}),
    "former_get_license": Probe({"organization": ORGANIZATION}),
    "former_get_public_key": Probe(),
    "former_verify_license": Probe(body={"license": "none"}),
    "former_revoke_licenses": Probe({"organization": ORGANIZATION}, body={}),
    "get_usage": Probe({"?organization": ORGANIZATION}, path={"meter": "ai_requests"}),
    "list_invoices": Probe(
        {
            "?organization": ORGANIZATION,
            "?subscription": SUBSCRIPTION,
            "?starting_after": INVOICE,
            "?ending_before": INVOICE,
        }
    ),
    "get_invoice": Probe({"invoice": INVOICE}),
    "get_invoice_pdf": Probe({"invoice": INVOICE}),
    "get_invoice_xml": Probe({"invoice": INVOICE}, ok=404),
    "approve_invoice": act(reason="seen"),
    "hold_invoice": act(reason="odd"),
    "finalize_invoice": act(),
    "refresh_draft": act(),
    "discard_draft": act(reason="wrong"),
    "void_invoice": act(reason="wrong"),
    "mark_uncollectible": act(reason="bankrupt"),
    "rebill_invoice": act(),
    "list_payments": Probe({"invoice": INVOICE, "?starting_after": PAYMENT}),
    "record_payment": act(amount=1_00),
    "reverse_payment": Probe({"payment": PAYMENT}, body={"reason": "wrong"}, ok=403),
    "list_line_events": Probe({"line": LINE}),
    "list_credit_notes": Probe(
        {"?organization": ORGANIZATION, "?invoice": INVOICE, "?starting_after": NOTE}
    ),
    "issue_credit_note": act(reason="other"),
    "get_credit_note": Probe({"credit_note": NOTE}),
    "get_credit_note_pdf": Probe({"credit_note": NOTE}),
    "get_credit_note_xml": Probe({"credit_note": NOTE}, ok=404),
    "list_alert_rules": Probe({"?organization": ORGANIZATION, "?starting_after": RULE}),
    "create_alert_rule": Probe(
        {"/organization": ORGANIZATION}, body={"kind": "amount", "amount": 5_00}, ok=201
    ),
    "get_alert_rule": Probe({"alert_rule": RULE}),
    "end_alert_rule": Probe({"alert_rule": RULE}, body={}),
    "list_alerts": Probe({"?organization": ORGANIZATION, "?starting_after": ALERT}),
    "list_anomalies": Probe({"?organization": ORGANIZATION, "?starting_after": ANOMALY}),
    "get_anomaly": Probe({"anomaly": ANOMALY}),
    "acknowledge_anomaly": Probe({"anomaly": ANOMALY}, body={}),
    "list_seats": Probe({"?organization": ORGANIZATION, "?starting_after": SEAT}),
    "get_seat": Probe({"seat": SEAT}),
    "revoke_seat": Probe({"seat": SEAT}, body={}),
    "reassign_seat": Probe({"seat": SEAT}, body={"person": "else@acme.example"}),
    "resend_seat_claim": Probe({"seat": SEAT}, body={}),
    "list_subscription_seats": Probe({"subscription": SUBSCRIPTION, "?starting_after": SEAT}),
    "assign_seat": Probe(
        {"subscription": SUBSCRIPTION}, body={"person": "new@acme.example"}, ok=201
    ),
    "assign_seats_in_bulk": Probe(
        {"subscription": SUBSCRIPTION}, body={"csv": "person\nnew@acme.example\n"}
    ),
    "list_seat_pools": Probe({"subscription": SUBSCRIPTION}),
    "preview_seats": Probe({"subscription": SUBSCRIPTION}, body={"count": 1}),
    "buy_seats": Probe({"subscription": SUBSCRIPTION}, body={"count": 1}),
    "set_auto_expand": Probe({"subscription": SUBSCRIPTION}, body={"up_to": 20}),
    "verify_seat": Probe(
        {"/external_org_id": ORGANIZATION},
        body={"user_id": "u", "application_slug": "gateway", "external_org_id": "nobody"},
    ),
    "former_verify_seat": Probe(
        {"/externalOrgId": ORGANIZATION},
        body={"userId": "u", "applicationSlug": "gateway", "externalOrgId": "nobody"},
    ),
    "list_refunds": Probe({"credit_note": NOTE}),
    "record_refund": Probe({"credit_note": NOTE}, body={}, ok=403),
}
OTHERS: Mapping[str, type[Model]] = {
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
}
# Filters that answer an empty list for whatever is not there.
EMPTY = {("list_invoices", "?subscription")}
# What nobody needs a key for: tests/api/test_auth.py asks who gets what there.
OPEN = {
    "register", "login", "refresh_tokens", "logout", "former_register", "former_login",
}  # fmt: skip
SCOPED = [name for name in PROBES if name not in {"get_me", *OPEN}]
NAMED = [(name, place) for name, probe in PROBES.items() for place in probe.names]


def scope_of(name: str) -> str:
    """Return the scope that the document says an operation needs."""
    method, path = operations()[name]
    [needs] = document()["paths"][path][method.lower()]["security"]
    [scope] = needs["apiKey"]
    return str(scope)


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
            thing: model._default_manager.filter(organization_id=world.id)
            .values_list("public_id", flat=True)
            .order_by("id")[0]
            for thing, model in OTHERS.items()
        }


def make(world: World) -> None:
    """Schedule a change, redeem a coupon, charge, grant, record a payment, issue a note, heal."""
    worlds.make_key(world.organization)
    tenants.invite_member(world.id, email="guest@x.example", role="MEMBER", actor=STAFF, at=NOW)
    wish, code = ChangeQuantity(Decimal(7)), f"for-{world.organization.slug}"
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


def is_the_platforms(name: str) -> bool:
    """Tell whether the document says that only keys of the platform may call an operation."""
    method, path = operations()[name]
    return "Only keys of the platform" in document()["paths"][path][method.lower()]["description"]


def call(api: Api, name: str, ids: Mapping[str, str], only: str = "") -> Any:
    """Call an operation; in `only` (or in its path) it names the thing of `ids`."""
    probe = PROBES[name]
    method, template = operations()[name]
    places = {k: ids[v] for k, v in probe.names.items() if only in {"", k} or k[0] not in "?/"}
    path = template.format(**probe.path, **{k: v for k, v in places.items() if k[0] not in "?/"})
    named = {k[1:]: v for k, v in places.items() if k[0] == "?"} if only else {}
    query = {**probe.query, **named}
    body = probe.body
    if only.startswith("/"):
        body = {**body, only[1:]: places[only]}
    return api.call(method, path, body, query=query)


def seen(reply: Any) -> tuple[int, dict[str, Any]]:
    """Return status and body without what tells one request from another."""
    return reply.status_code, {**reply.json(), "instance": "", "request_id": ""}


def everything(world: World) -> list[list[Any]]:
    """Return all that a refused request might have touched; that a key was used is noted."""
    models: tuple[type[Model], ...] = (
        Organization, Subscription, QuantityStep, Invoice, Event, AuditEntry, RechargeRule,
        *OTHERS.values(),
    )  # fmt: skip
    with rls.tenant_scope(world.id):
        return [
            [_lasting(row) for row in model._default_manager.order_by("pk").values()]
            for model in models
        ]


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "last_used_at"}


def test_every_operation_has_a_row_here() -> None:
    served = {
        getattr(view, method).operation.id
        for entry in [*v1, *former, *rooted]
        for view in [entry.callback.cls]  # type: ignore[attr-defined]
        for method in ("get", "post", "patch", "put", "delete")
        if hasattr(getattr(view, method, None), "operation")
    }
    assert set(PROBES) == served == set(operations())


def test_every_path_variable_of_a_tenants_thing_is_probed() -> None:
    for name, (_, template) in operations().items():
        for thing in PREFIXES:
            assert (f"{{{thing}}}" in template) == (thing in PROBES[name].names), name


def test_nobody_gets_anything_without_a_key(world: World) -> None:
    mine, before = things(world), everything(world)
    for name in PROBES:
        status = 400 if name in OPEN else 401  # they are asked for more than nothing
        assert call(Api(None), name, mine).status_code == status, name
    assert everything(world) == before


def test_a_foreign_id_is_as_unknown_as_a_made_up_one(api: Api, stranger: World) -> None:
    theirs, before = things(stranger), everything(stranger)
    for name, place in NAMED:
        status, body = seen(call(api, name, theirs, place))
        assert (status, body) == seen(call(api, name, made_up(), place)), (name, place)
        if (name, place) in EMPTY:
            assert (status, body["data"]) == (200, []), (name, place)
        elif name == "check_access":
            assert (status, body["reason"]) == (200, "unknown_organization")  # never an error
        elif name == "verify_seat":
            assert (status, body["reason"]) == (200, "unknown_organization")
        elif name == "former_verify_seat":
            assert (status, body["hasAccess"]) == (200, False)
        elif is_the_platforms(name):
            assert (status, body["code"]) == (403, "platform_key_needed"), (name, place)
        elif "{" in operations()[name][1]:
            assert status == 404, (name, place)  # whose it is counts first
        elif place.endswith(("starting_after", "ending_before")) or name == "send_events":
            assert status == 400, (name, place)
        else:
            assert status == 404, (name, place)
    assert everything(stranger) == before


@pytest.mark.parametrize("name", ["get_invoice", "get_invoice_pdf"])
def test_a_foreign_number_is_as_unknown_as_a_made_up_one(
    api: Api, stranger: World, name: str
) -> None:
    number = worlds.number_of(stranger.second_invoice, stranger.organization)
    foreign = call(api, name, {INVOICE: number})
    assert foreign.status_code == 404
    assert seen(foreign) == seen(call(api, name, {INVOICE: "CH-999999"}))


def test_a_key_without_the_scope_is_told_which(world: World) -> None:
    keys = {
        scope: worlds.make_key(world.organization, [one for one in SCOPES if one != scope])
        for scope in SCOPES
    }
    mine, before = things(world), everything(world)
    for name in SCOPED:
        scope = scope_of(name)
        reply = call(Api(keys[scope]), name, mine)
        assert (reply.status_code, reply.json()["code"]) == (403, "missing_scope"), name
        assert reply.json()["extra"] == {"scope": scope}
    assert everything(world) == before


@pytest.mark.parametrize("name", SCOPED)
def test_the_one_scope_is_enough(world: World, name: str) -> None:
    api = Api(worlds.make_key(world.organization, [scope_of(name)]))
    assert call(api, name, things(world)).status_code == PROBES[name].ok


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("cancel_change", CHANGE),
        ("remove_discount", DISCOUNT),
        ("redeem_code", "/subscription"),
        ("validate_promotion_code", "/subscription"),
        ("list_discounts", "?subscription"),
        ("list_changes", "?starting_after"),
        ("list_charges", "?starting_after"),
        ("list_credit_grants", "?starting_after"),
        ("list_credit_movements", "?grant"),
        ("list_payments", "?starting_after"),
    ],
)
def test_a_foreign_part_of_ones_own_is_as_unknown_as_a_made_up_one(
    api: Api, world: World, stranger: World, name: str, place: str
) -> None:
    mine, part = things(world), PROBES[name].names[place]
    foreign = seen(call(api, name, {**mine, part: things(stranger)[part]}, place))
    assert foreign[0] in {400, 404}
    assert foreign == seen(call(api, name, {**mine, part: new_id(PREFIXES[part])}, place))


def test_what_is_made_up_is_unknown_to_the_platform(platform: Api, world: World) -> None:
    for name, place in NAMED:
        if is_the_platforms(name):
            status = 400 if place.startswith("?starting") else 404
            assert call(platform, name, made_up(), place).status_code == status, (name, place)


def test_the_platform_reads_what_is_anybodys(platform: Api, world: World, stranger: World) -> None:
    for one in (world, stranger):
        for name in ("get_organization", "get_subscription", "get_invoice"):
            assert call(platform, name, things(one)).status_code == 200
