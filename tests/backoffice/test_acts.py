"""Every act: asked for on a page of its own, done by one service, recorded, refused to others."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client, RequestFactory

from apps.backoffice.site import SCREENS, site
from apps.core import clock
from apps.core.models import OutboxDelivery
from apps.invoicing.models import Charge, Invoice, Parked
from apps.payments.models import Payment
from apps.plans.models import Coupon, Plan, PlanVersion, PromotionCode, TaxRate
from apps.subscriptions.models import QuantityStep, Subscription
from apps.tenants.models import (
    ApiKey,
    BillingEntity,
    ExternalId,
    Invitation,
    Membership,
    Organization,
    User,
)
from apps.usage.models import RejectedEvent
from tests import worlds
from tests.backoffice.conftest import pay
from tests.backoffice.pages import acts, again, confirm, page, post, rows, text, url
from tests.worlds import NOW, World

CATALOG = b"""
currency: USD
applications: [{slug: shop, name: Shop}]
plans:
  - {code: shop, application: shop, name: Shop, interval: month,
     prices: [{key: base, type: flat, amount: "%s"}]}
"""


def invoice_of(world: World) -> Any:
    """The invoice of 1 December over 54_51, open."""
    return next(row for row in rows(Invoice) if row.public_id == world.second_invoice)


def all_acts() -> list[tuple[type[Model], str, bool]]:
    """Return (model, act, whether it is about one row) of every screen."""
    return [
        (model, name, detail)
        for model in SCREENS
        for names, detail in (
            (site._registry[model].actions_list, False),
            (site._registry[model].actions_detail, True),
        )
        for name in site._registry[model]._extract_action_names(names)
    ]


def address_of(model: type[Model], name: str, detail: bool) -> str:
    """The address of an act, on some row where it is about one."""
    found = rows(model) if detail else []
    return url(model, name, found[0].pk if found else 1) if detail else url(model, name)


def name_of(model: type[Model], name: str) -> str:
    return f"{model.__name__}.{name}"


FINANCE_MAY_NOT = {
    "Organization.create", "Organization.invite", "Organization.create_key", "Organization.map_id",
    "Organization.edit", "ApiKey.create_platform_key", "ApiKey.revoke", "Membership.change_role",
    "Membership.remove", "User.create", "BillingEntity.edit", "Plan.load", "RejectedEvent.replay",
    "Event.void", "Event.correct", "Plan.retire", "Coupon.create", "Coupon.add_code",
    "Coupon.retire", "PromotionCode.retire", "TaxRate.create", "TaxRate.end",
    "Organization.recheck_tax_id", "Organization.attach_clock", "BillingEntity.create",
    "TestClock.create", "TestClock.set_time", "Reservation.release", "DeviceReport.clean_up",
    "AlertRule.create", "Organization.licence_terms", "SigningKey.generate", "SigningKey.rotate",
    "TokenIssuer.create", "TokenIssuer.edit", "TokenIssuer.disable", "ApiKey.rotate",
    "Membership.hand_over", "Seat.reassign", "Seat.revoke",
}  # fmt: skip


# --- who may ------------------------------------------------------------------------------------
def test_support_acts_on_nothing(support: Client, everything: None) -> None:
    before = acts()
    for model, name, detail in all_acts():
        if name in {"download", "xml", "compare", "preview"}:
            continue  # reading a file, or what would come to pass, is looking
        address = address_of(model, name, detail)
        assert support.get(address).status_code == 403, address
        assert support.post(address).status_code == 403, address
    assert acts() == before


def test_owners_and_strangers_are_asked_to_sign_in(owner: Client, everything: None) -> None:
    before = acts()
    for model, name, detail in all_acts():
        for client in (owner, Client()):
            answer = client.post(address_of(model, name, detail))
            assert answer["Location"].startswith("/admin/login/"), (model, name)
    assert acts() == before


def test_finance_acts_on_money_and_on_nothing_else(finance: Client, everything: None) -> None:
    refused = {
        name_of(model, name)
        for model, name, detail in all_acts()
        if finance.get(address_of(model, name, detail)).status_code == 403
    }
    assert refused == FINANCE_MAY_NOT


def test_asking_changes_nothing(admin: Client, everything: None) -> None:
    before = acts()
    for model, name, detail in all_acts():
        if detail and not rows(model):
            continue  # corrections have tests of their own
        asked = admin.get(address_of(model, name, detail)).status_code
        assert asked in {200, 409}, (model, name)  # it asks, or says why it will not
    assert acts() == before


# --- no other way in ----------------------------------------------------------------------------
def test_nothing_is_written_past_the_services(admin: Client, everything: None) -> None:
    before = {one: len(rows(one)) for one in SCREENS}
    for model in SCREENS:
        found = rows(model)
        reference = found[0].pk if found else 1
        for what in ("add", "change", "delete"):
            address = url(model, what, *([] if what == "add" else [reference]))
            refused = 400 if (model, what) == (Charge, "add") else 403  # its form asks the service
            answer = admin.post(address, {"name": "x", "post": "yes"})
            assert answer.status_code == refused, address
        chosen = {"action": "delete_selected", "_selected_action": [reference], "post": "yes"}
        admin.post(url(model), chosen)
    assert {one: len(rows(one)) for one in SCREENS} == before


def test_no_screen_has_permission_to_write(rf: RequestFactory) -> None:
    request = rf.get("/admin/")
    for screen in site._registry.values():
        assert not screen.has_add_permission(request)
        assert not screen.has_change_permission(request)
        assert not screen.has_delete_permission(request)
        assert not screen.has_view_permission(request)


# --- invoices -----------------------------------------------------------------------------------
def test_a_payment_is_recorded_and_the_rest_stays_due(finance: Client, world: World) -> None:
    invoice = invoice_of(world)
    answer = post(finance, page(invoice, "record_payment"), amount="4.51", reference="bank-7")
    assert answer.status_code == 302
    (payment,) = rows(Payment)
    assert (payment.amount, payment.reference) == (4_51, "bank-7")
    assert again(invoice).amount_due == 50_00
    assert ("staff", "invoice.payment_applied", invoice.public_id) in acts()


@pytest.mark.parametrize(
    ("amount", "status", "says"),
    [
        ("54.52", 422, "Record what is due, or keep the rest"),
        ("0", 400, "more than nothing"),
        ("1.001", 400, "more decimals than USD"),
        ("many", 400, "digits and a point only"),
        ("1e1", 400, "digits and a point only"),
        ("1,000.00", 400, "digits and a point only"),
        ("NaN", 400, "digits and a point only"),
        ("", 400, "This field is required"),
    ],
)
def test_a_refused_payment_changes_nothing(
    finance: Client, world: World, amount: str, status: int, says: str
) -> None:
    invoice = invoice_of(world)
    before = acts()
    answer = post(finance, page(invoice, "record_payment"), amount=amount, reference="")
    assert answer.status_code == status
    assert says in text(answer)
    assert not rows(Payment)
    assert again(invoice).amount_paid == 0
    assert acts() == before


def test_money_of_tomorrow_is_not_recorded(finance: Client, world: World) -> None:
    invoice = invoice_of(world)
    answers = {"amount": "1.00", "received_at": "2023-12-11T12:00"}
    answer = post(finance, page(invoice, "record_payment"), **answers)
    assert answer.status_code == 400
    assert "received_at" in answer.context["form"].errors
    assert not rows(Payment)


def test_the_same_bank_line_twice_is_refused(finance: Client, world: World) -> None:
    invoice = invoice_of(world)
    pay(world.second_invoice, "1.00")
    answer = post(finance, page(invoice, "record_payment"), amount="1.00", reference="bank-1")
    assert answer.status_code == 409
    assert len(rows(Payment)) == 1


def test_voiding_asks_why_and_billing_anew_makes_another(finance: Client, world: World) -> None:
    invoice = invoice_of(world)
    assert post(finance, page(invoice, "void"), reason="").status_code == 400
    assert again(invoice).status == "open"
    assert post(finance, page(invoice, "void"), reason="wrong plan").status_code == 302
    assert (again(invoice).status, again(invoice).void_reason) == ("void", "wrong plan")
    assert post(finance, page(invoice, "rebill")).status_code == 302
    (made,) = [row for row in rows(Invoice) if row.revision]
    assert (made.total, made.status) == (54_51, "open")
    assert ("staff", "invoice.voided", invoice.public_id) in acts()


def test_voiding_says_what_is_still_due(finance: Client, world: World) -> None:
    assert "54.51 USD is still to be paid" in text(finance.get(page(invoice_of(world), "void")))


def test_an_act_that_will_be_refused_says_so_at_once(finance: Client, world: World) -> None:
    invoice = invoice_of(world)
    pay(world.second_invoice, "4.51")
    shown = finance.get(page(invoice, "void"))
    assert shown.status_code == 409
    assert "4.51 USD came in and 50.00 USD is still due" in text(shown)
    assert "<form method" not in text(shown).split('id="content-main"')[1]
    post(finance, page(invoice, "record_payment"), amount="50.00", reference="bank-2")
    for act in ("void", "record_payment", "rebill", "finalize"):
        refused = finance.get(page(invoice, act))
        assert refused.status_code == 409, act
        assert "form" not in refused.context, act


def test_acts_on_what_has_ended_say_so_at_once(admin: Client, canceled: str) -> None:
    (row,) = rows(Subscription)
    for act in ("cancel", "resume"):
        assert admin.get(page(row, act)).status_code == 409, act
    assert admin.get(page(row, "uncancel")).status_code == 200


def test_a_paid_invoice_is_not_voided(finance: Client, world: World) -> None:
    pay(world.second_invoice, "54.51")
    invoice = invoice_of(world)
    answer = post(finance, page(invoice, "void"), reason="changed my mind")
    assert answer.status_code == 409
    assert "only an unpaid open one without credit notes" in text(answer)
    assert again(invoice).status == "paid"


def test_a_draft_is_finalized_once(finance: Client, world: World, draft: str) -> None:
    invoice = next(row for row in rows(Invoice) if row.public_id == draft)
    with clock.frozen(NOW + timedelta(days=31)):
        assert post(finance, page(invoice, "finalize")).status_code == 302
        assert again(invoice).number == "CH-000003"
        assert post(finance, page(invoice, "finalize")).status_code == 409


def test_buttons_show_only_what_the_state_allows(finance: Client, world: World, draft: str) -> None:
    shown = {
        row.status: {act["title"] for act in finance.get(page(row)).context["actions_detail"]}
        for row in rows(Invoice)
    }
    assert shown["draft"] == {"Finalize", "Draft", "Files"}
    assert shown["open"] == {"Record payment", "Files", "Give up"}


def test_a_parked_subscription_is_released(finance: Client, world: World, parked: int) -> None:
    assert post(finance, url(Parked, "release", parked)).status_code == 302
    assert rows(Parked)[0].released_at == NOW
    assert "billing.released" in {action for _, action, _ in acts()}


# --- subscriptions ------------------------------------------------------------------------------
def subscription_of(world: World) -> Any:
    return next(row for row in rows(Subscription) if row.public_id == world.subscription.public_id)


def test_seats_are_changed_from_now_on(finance: Client, world: World) -> None:
    row = subscription_of(world)
    answers = {"key": "seats", "quantity": 8, "behaviour": "next_invoice"}
    answer = confirm(finance, page(row, "change_quantity"), **answers)
    assert answer.status_code == 302
    assert max(rows(QuantityStep), key=lambda step: step.effective_at).quantity == 8
    assert ("staff", "subscription.quantity_changed", row.public_id) in acts()


def test_an_absurd_quantity_is_refused(finance: Client, world: World) -> None:
    row = subscription_of(world)
    answers = {"key": "seats", "quantity": 10_000_000, "behaviour": "next_invoice"}
    answer = post(finance, page(row, "change_quantity"), **answers)
    assert answer.status_code == 400
    assert len(rows(QuantityStep)) == 1


def test_cancelling_ends_with_the_period_and_can_be_taken_back(
    finance: Client, world: World
) -> None:
    row = subscription_of(world)
    assert post(finance, page(row, "cancel"), reason="too expensive").status_code == 302
    assert again(row).cancel_at.isoformat() == "2024-01-01T00:00:00+00:00"
    assert again(row).cancel_reason == "too expensive"
    assert post(finance, page(row, "uncancel")).status_code == 302
    assert again(row).cancel_at is None


def test_only_a_paused_subscription_resumes(finance: Client, world: World) -> None:
    answer = post(finance, page(subscription_of(world), "resume"))
    assert answer.status_code == 409
    assert "Only a paused subscription" in text(answer)


def test_an_organization_is_subscribed(finance: Client, world: World) -> None:
    other, _ = worlds.make_customer("globex")
    answer = post(
        finance, url(Subscription, "subscribe"),
        organization="globex", plan="gateway", start="2023-12-10T00:00", seats="5", agreed="",
    )  # fmt: skip
    assert answer.status_code == 302, text(answer)
    (made,) = [row for row in rows(Subscription) if row.organization_id == other.pk]
    assert made.started_at.isoformat() == "2023-12-10T00:00:00+00:00"


def test_an_act_is_dated_by_the_organizations_clock(finance: Client, world: World) -> None:
    spring = datetime(2024, 3, 5, 8, tzinfo=UTC)
    worlds.put_on_clock(world.organization, spring)
    said = {"organization": "acme", "name": "Training", "unit_amount": "950.00", "quantity": "1"}
    assert post(finance, url(Charge, "add"), **said).status_code == 302
    (charge,) = rows(Charge)
    assert charge.recorded_at == spring
    assert post(finance, page(charge, "withdraw")).status_code == 302
    assert rows(Charge)[0].withdrawn_at == spring


def test_a_plan_is_paid_in_the_currency_that_is_asked_for(finance: Client, world: World) -> None:
    worlds.load_catalog("payments")
    worlds.make_customer("globex")
    answer = post(
        finance, url(Subscription, "subscribe"),
        organization="globex", plan="payments-standard", start="2023-12-10T00:00", agreed="",
        currency="eur",
    )  # fmt: skip
    assert answer.status_code == 302, text(answer)
    assert {row.currency for row in rows(Subscription)} == {"USD", "EUR"}


def test_a_second_subscription_is_refused_and_said(finance: Client, world: World) -> None:
    answer = post(
        finance, page(world.organization, "subscribe"),
        organization="acme", plan="gateway", start="2023-12-10T00:00", agreed="",
    )  # fmt: skip
    assert answer.status_code == 409
    assert "is subscribed to gateway already" in text(answer)
    assert len(rows(Subscription)) == 1


@pytest.mark.parametrize("agreed", ["base", "base=", "base=lots", "=5"])
def test_malformed_agreed_prices_are_refused(finance: Client, world: World, agreed: str) -> None:
    worlds.make_customer("globex")
    answer = post(
        finance, url(Subscription, "subscribe"),
        organization="globex", plan="gateway", start="2023-12-10T00:00", agreed=agreed,
    )  # fmt: skip
    assert answer.status_code == 400
    assert len(rows(Subscription)) == 1


# --- customers ----------------------------------------------------------------------------------
def test_an_organization_is_created(admin: Client, world: World) -> None:
    answer = post(
        admin, url(Organization, "create"),
        slug="initech", name="Initech", currency="USD", timezone="Asia/Tokyo", country="JP",
    )  # fmt: skip
    assert answer.status_code == 302
    made = next(row for row in rows(Organization) if row.slug == "initech")
    assert ("staff", "organization.created", made.public_id) in acts()


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [("slug", "acme", 409), ("currency", "XXQ", 400), ("timezone", "Mars", 400)],
)
def test_a_refused_organization_names_its_field(
    admin: Client, world: World, field: str, value: str, status: int
) -> None:
    answers = {"slug": "x", "name": "X", "currency": "USD", "timezone": "UTC", "country": "US"}
    answer = post(admin, url(Organization, "create"), **{**answers, field: value})
    assert answer.status_code == status
    assert answer.context["form"].errors[field]
    assert len(rows(Organization)) == 1


def test_an_edit_saves_what_was_changed_only(admin: Client, world: World) -> None:
    form = admin.get(page(world.organization, "edit")).context["form"]
    answers = {**form.initial, "legal_name": "Acme Corporation"}
    assert post(admin, page(world.organization, "edit"), **answers).status_code == 302
    assert again(world.organization).legal_name == "Acme Corporation"
    assert ("staff", "organization.updated", world.organization.public_id) in acts()
    before = acts()
    assert post(admin, page(world.organization, "edit"), **answers).status_code == 302
    assert acts() == before


def test_a_member_is_invited_changed_and_removed(admin: Client, world: World) -> None:
    address = page(world.organization, "invite")
    assert post(admin, address, email="new@acme.example", role="OWNER").status_code == 302
    assert [row.email for row in rows(Invitation)] == ["new@acme.example"]
    (owner,) = rows(Membership)
    refused = post(admin, page(owner, "remove"))
    assert refused.status_code == 409
    assert "at least one owner" in text(refused)
    assert post(admin, page(owner, "change_role"), role="MEMBER").status_code == 409
    assert again(owner).role == "OWNER"
    second = worlds.make_member(world.organization, "second@acme.example", role="OWNER")
    assert post(admin, page(owner, "change_role"), role="MEMBER").status_code == 302
    assert again(owner).role == "MEMBER"
    assert post(admin, page(owner, "remove")).status_code == 302
    assert [row.user_id for row in rows(Membership)] == [second.pk]


def test_a_key_is_shown_once_and_revoked(admin: Client, world: World) -> None:
    address = page(world.organization, "create_key")
    answer = post(admin, address, name="CI", scopes=["usage:write"])
    secret = answer.context["secret"]
    assert secret.startswith("bk_test_")
    assert "no-store" in answer["Cache-Control"]
    (key,) = rows(ApiKey)
    assert secret not in text(admin.get(page(key)))
    assert post(admin, page(key, "revoke")).status_code == 302
    assert again(key).revoked_at == NOW
    assert {"api_key.created", "api_key.revoked"} <= {action for _, action, _ in acts()}


def test_a_platform_key_belongs_to_nobody(admin: Client, world: World) -> None:
    post(admin, url(ApiKey, "create_platform_key"), name="ops", scopes=["organizations:read"])
    (key,) = rows(ApiKey)
    assert key.organization_id is None


def test_an_external_id_is_mapped(admin: Client, world: World) -> None:
    address = page(world.organization, "map_id")
    assert post(admin, address, application="gateway", external_id="A-7").status_code == 302
    assert [row.external_id for row in rows(ExternalId)] == ["A-7"]


def test_staff_are_created_with_their_groups(admin: Client, world: World) -> None:
    answers = {"email": "new@house.example", "name": "New", "groups": ["Finance"]}
    weak = post(admin, url(User, "create"), **answers, password="password12")
    assert weak.status_code == 400
    assert "new@house.example" not in {row.email for row in rows(User)}
    good = post(admin, url(User, "create"), **answers, password=worlds.PASSWORD)
    assert good.status_code == 302
    made = next(row for row in rows(User) if row.email == "new@house.example")
    assert made.is_staff


def test_the_issuer_is_edited_by_its_service(admin: Client, world: World) -> None:
    (entity,) = rows(BillingEntity)
    form = admin.get(page(entity, "edit")).context["form"]
    answers = {**form.initial, "legal_name": "Countinghouse Ltd", "payment_terms_days": 30}
    assert post(admin, page(entity, "edit"), **answers).status_code == 302
    assert (again(entity).legal_name, again(entity).payment_terms_days) == ("Countinghouse Ltd", 30)
    assert ("staff", "billing_entity.updated", entity.public_id) in acts()
    refused = post(admin, page(entity, "edit"), **{**answers, "invoice_prefix": "no good"})
    assert refused.status_code == 400
    assert again(entity).invoice_prefix == "CH"


# --- catalogue ----------------------------------------------------------------------------------
def upload(client: Client, content: bytes) -> Any:
    from_file = io.BytesIO(content)
    from_file.name = "prices.yaml"
    return client.post(url(Plan, "load"), {"file": from_file})


def test_a_catalogue_is_shown_before_it_is_applied(admin: Client, world: World) -> None:
    before = len(rows(PlanVersion))
    shown = upload(admin, CATALOG % b"20.00")
    assert shown.status_code == 200
    assert shown.context["report"].dry_run
    assert len(rows(PlanVersion)) == before
    confirm = {"text": shown.context["form"].initial["text"], "source": "prices.yaml", "apply": "1"}
    assert admin.post(url(Plan, "load"), confirm).status_code == 302
    assert len(rows(PlanVersion)) == before + 1
    changed = upload(admin, CATALOG % b"25.00")
    (plan,) = changed.context["report"].plans
    assert [str(change) for change in plan.changes] == ["prices.base.amount: 20 → 25"]


@pytest.mark.parametrize(
    "content", [b"", b"plans: [", b"\xff\xfe", b"plans: [{code: x}]", b"#" * 300_000]
)
def test_a_broken_catalogue_changes_nothing(admin: Client, world: World, content: bytes) -> None:
    before = acts()
    assert upload(admin, content).status_code == 400
    assert acts() == before


# --- outbox, usage, password --------------------------------------------------------------------
def test_a_dead_delivery_is_tried_again(finance: Client, world: World, dead: int) -> None:
    assert post(finance, url(OutboxDelivery, "retry", dead)).status_code == 302
    (row,) = [row for row in rows(OutboxDelivery) if row.pk == dead]
    assert (row.status, row.tries) == ("pending", 0)
    assert ("staff", "outbox.retried", "outbox") in acts()


def test_chosen_deliveries_are_tried_again(finance: Client, world: World, dead: int) -> None:
    chosen = {"action": "retry_selected", "_selected_action": [dead]}
    assert finance.post(url(OutboxDelivery), chosen).status_code == 302
    assert "dead" not in {row.status for row in rows(OutboxDelivery)}


def test_support_cannot_choose_deliveries_to_retry(
    support: Client, world: World, dead: int
) -> None:
    support.post(url(OutboxDelivery), {"action": "retry_selected", "_selected_action": [dead]})
    assert "dead" in {row.status for row in rows(OutboxDelivery)}


def test_rejected_events_are_replayed(admin: Client, rejected: int) -> None:
    answer = admin.post(url(RejectedEvent, "replay"), follow=True)
    assert "1 tried: 0 accepted, 0 known already, 1 still rejected." in text(answer)


def test_staff_change_their_own_password_through_the_service(support: Client, world: World) -> None:
    answers = {
        "old_password": worlds.PASSWORD,
        "new_password1": "another-pass-2027",
        "new_password2": "another-pass-2027",
    }
    assert support.post("/admin/password_change/", answers).status_code == 302
    assert support.get("/admin/").status_code == 200  # and stay signed in
    user = next(row for row in rows(User) if row.email == "support@house.example")
    assert user.check_password("another-pass-2027")
    assert ("staff", "user.password_changed", user.public_id) in acts()


# --- coupons, taxes, plans ----------------------------------------------------------------------
def test_a_coupon_is_created_given_a_word_and_withdrawn(admin: Client) -> None:
    answers = {"code": "spring", "name": "Spring", "percent": "15", "currency": "USD",
               "duration": "repeating", "months": "2"}  # fmt: skip
    assert post(admin, url(Coupon, "create"), **answers).status_code == 302
    [coupon] = rows(Coupon)
    assert (coupon.percent, coupon.months, coupon.amounts) == (15, 2, {})
    word = {"code": "Spring15", "organization": "acme"}
    assert post(admin, page(coupon, "add_code"), **word).status_code == 302
    [code] = rows(PromotionCode)
    assert code.code == "SPRING15"
    assert "SPRING15" in text(admin.get(page(coupon)))
    assert post(admin, page(code, "retire")).status_code == 302
    assert post(admin, page(coupon, "retire")).status_code == 302
    assert (again(code).active, again(coupon).active) == (False, False)
    assert {did for _, did, _ in acts()} >= {
        "coupon.created",
        "promotion_code.created",
        "promotion_code.retired",
        "coupon.retired",
    }


def test_a_coupon_that_makes_no_sense_is_refused_beside_its_field(admin: Client) -> None:
    both = {"code": "x", "name": "X", "percent": "5", "amount": "5", "currency": "USD",
            "duration": "once"}  # fmt: skip
    answer = post(admin, url(Coupon, "create"), **both)
    assert answer.status_code == 400
    assert "either a percentage or amounts" in text(answer)
    assert rows(Coupon) == []


def test_a_tax_rate_is_set_and_ended(admin: Client) -> None:
    answers = {"code": "de-vat", "name": "USt.", "kind": "vat", "percent": "19", "country": "DE",
               "valid_from": "2021-01-01"}  # fmt: skip
    assert post(admin, url(TaxRate, "create"), **answers).status_code == 302
    [rate] = rows(TaxRate)
    assert post(admin, page(rate, "end"), until="2024-01-01").status_code == 302
    assert again(rate).valid_until == date(2024, 1, 1)
    assert post(admin, page(rate, "end"), until="2025-01-01").status_code == 409


def test_a_plan_leaves_the_price_list(admin: Client) -> None:
    [plan] = rows(Plan)
    assert post(admin, page(plan, "retire")).status_code == 302
    [version] = rows(PlanVersion)
    assert version.status == "retired"
    assert admin.get(page(plan, "retire")).status_code == 409
