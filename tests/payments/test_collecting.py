"""An invoice is collected by the provider: from issuing it to the money, whatever comes between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.core import clock, rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden, NotFound
from apps.core.models import OutboxEvent
from apps.invoicing import books
from apps.invoicing import services as invoicing
from apps.invoicing.errors import NotPayable
from apps.invoicing.services import Split
from apps.payments import gateway, services, tasks
from apps.payments.errors import AttemptUnderWay, NoPaymentMethod, NotConfigured
from apps.payments.models import Refund
from apps.sandbox.engine.faults import Kind
from apps.tenants import roles
from apps.tenants.models import Organization
from tests.conftest import STAFF, make_organization
from tests.payments.tills import NOW, Till, till

pytestmark = pytest.mark.django_db

NO_FUNDS = "pm_card_chargeCustomerFail"
CONFIRM = "pm_card_authenticationRequired"


@pytest.fixture
def shop() -> Iterator[Till]:
    with till() as opened:
        yield opened


def facts(name: str) -> list[dict[str, object]]:
    with rls.ops_scope("test: facts"):
        rows = OutboxEvent.objects.filter(name=f"payments.{name}").order_by("id")
        return [one.payload for one in rows]


def acting(organization: Organization, role: str) -> Actor:
    may = roles.ROLE_CAPABILITIES[role]
    return Actor("user", "usr_1", role, organization.pk, may)


# --- the straight way -----------------------------------------------------------------------------
def test_an_invoice_is_charged_to_the_card_when_it_is_issued(shop: Till) -> None:
    shop.save_card()
    shop.bill()
    shop.work()
    there = shop.there()
    assert (there.status, there.amount_paid) == ("paid", 50_00)
    assert there.to_dict()["metadata"] == {
        "billing_id": f"{shop.collection().public_id}:1",
        "invoice": shop.invoice().public_id,
        "number": "CH-000001",
        "told": "0",
    }
    assert (shop.invoice().status, shop.collection().status) == ("paid", "paid")
    assert [one.status for one in shop.attempts()] == ["succeeded"]
    assert shop.recorded() == [(50_00, "card")]
    assert books.verify().hold


def test_hearing_of_it_again_changes_nothing(shop: Till) -> None:
    shop.save_card()
    shop.bill()
    shop.work()
    with rls.ops_scope("test: everything again"):
        assert services.replay_events(actor=STAFF) > 0
    shop.work()
    assert shop.recorded() == [(50_00, "card")]
    assert len(facts("PaymentCollected")) == 1


def test_an_invoice_by_bank_transfer_never_gets_to_the_provider(shop: Till) -> None:
    shop.save_card()
    shop.bill(collection="manual")
    shop.work()
    assert shop.invoice().status == "open"
    assert shop.client.v1.invoices.list().data == []


# --- refusals of the card -------------------------------------------------------------------------
def test_a_refused_card_is_told_of_with_what_may_be_done(shop: Till) -> None:
    shop.save_card(NO_FUNDS)
    shop.bill()
    shop.work()
    [attempt] = shop.attempts()
    assert (attempt.status, attempt.decline_code, attempt.decline_class) == (
        "failed",
        "generic_decline",
        "retry",
    )
    [fact] = facts("PaymentFailed")
    assert (fact["invoice"], fact["attempt"], fact["decline_class"]) == (
        shop.invoice().public_id,
        1,
        "retry",
    )
    assert (shop.invoice().status, shop.collection().status) == ("open", "open")


def test_another_card_pays_what_the_first_did_not(shop: Till) -> None:
    shop.save_card(NO_FUNDS)
    shop.bill()
    shop.work()
    good = shop.save_card()
    attempt = shop.collect()
    shop.work()
    assert [(one.number, one.status) for one in shop.attempts()] == [
        (1, "failed"),
        (2, "succeeded"),
    ]
    assert attempt.method_id == good.pk
    assert shop.recorded() == [(50_00, "card")]


def test_without_a_card_it_is_told_all_the_same_and_chased(shop: Till) -> None:
    shop.bill()
    shop.work()
    there = shop.there()
    assert (there.status, there.amount_due) == ("open", 50_00)
    assert shop.collection().hosted_url == there.hosted_invoice_url
    [fact] = facts("PaymentFailed")
    assert (fact["attempt"], fact["decline_code"]) == (0, "no_payment_method")
    assert not shop.attempts()
    with pytest.raises(NoPaymentMethod):
        shop.collect()


def test_a_bank_that_asks_the_customer_makes_the_payment_wait(shop: Till) -> None:
    shop.save_card(CONFIRM)
    shop.bill()
    shop.work()
    [attempt] = shop.attempts()
    assert (attempt.status, attempt.action_url) == ("action", shop.collection().hosted_url)
    assert len(facts("PaymentActionRequired")) == 1
    assert not facts("PaymentFailed")
    shop.work()
    assert [one.status for one in shop.attempts()] == ["action"]


def test_confirming_pays(shop: Till) -> None:
    shop.save_card(CONFIRM)
    shop.bill()
    shop.work()
    shop.confirm()
    shop.work()
    assert [one.status for one in shop.attempts()] == ["succeeded"]
    assert shop.recorded() == [(50_00, "card")]


def test_another_card_takes_the_place_of_one_that_waits(shop: Till) -> None:
    shop.save_card(CONFIRM)
    shop.bill()
    shop.work()
    shop.save_card()
    shop.collect()
    shop.work()
    assert [(one.status, one.decline_code) for one in shop.attempts()] == [
        ("failed", "superseded"),
        ("succeeded", ""),
    ]
    assert not facts("PaymentFailed")


# --- what happens in between ----------------------------------------------------------------------
def test_an_invoice_paid_by_hand_is_paid_elsewhere_for_the_provider(shop: Till) -> None:
    shop.bill()
    shop.work()
    shop.pay_by_hand("50.00")
    shop.work()
    there = shop.there()
    assert (there.status, there.amount_paid) == ("paid", 0)
    assert shop.collection().status == "closed"
    assert shop.recorded() == [(50_00, "manual")]


def test_what_was_paid_in_part_is_told_anew(shop: Till) -> None:
    shop.bill()
    shop.work()
    first = shop.there()
    shop.pay_by_hand("20.00")
    shop.save_card()
    shop.collect()
    shop.work()
    again = shop.there()
    assert (again.amount_due, again.amount_paid, again.status) == (30_00, 30_00, "paid")
    assert shop.client.v1.invoices.retrieve(str(first.id)).status == "void"
    assert shop.recorded() == [(20_00, "manual"), (30_00, "card")]
    assert shop.invoice().status == "paid"


def test_a_void_invoice_is_void_there(shop: Till) -> None:
    shop.bill()
    shop.work()
    first = shop.there()
    with rls.tenant_scope(shop.organization.pk):
        invoicing.void_invoice("CH-000001", reason="by mistake", actor=STAFF, at=NOW)
    shop.work()
    assert shop.client.v1.invoices.retrieve(str(first.id)).status == "void"
    assert shop.collection().status == "closed"


def test_money_for_an_invoice_that_was_paid_meanwhile_becomes_credit(shop: Till) -> None:
    shop.save_card()
    shop.bill()
    shop.pay_by_hand("50.00")  # before any worker has told anybody
    shop.work()
    assert shop.client.v1.invoices.list().data == []
    assert shop.recorded() == [(50_00, "manual")]


def test_what_is_less_than_the_provider_charges_is_refused_with_the_reason(shop: Till) -> None:
    shop.bill()
    shop.pay_by_hand("49.80")
    shop.work()
    collection = shop.collection()
    assert collection.status == "refused"
    assert "0.50" in collection.reason
    [fact] = facts("PaymentFailed")
    assert (fact["decline_code"], fact["decline_class"]) == ("not_collectible", "never")


# --- asking for it --------------------------------------------------------------------------------
def test_an_invoice_is_charged_once_at_a_time(shop: Till) -> None:
    shop.save_card()
    shop.bill(collection="manual")
    shop.collect()
    with pytest.raises(AttemptUnderWay):
        shop.collect()
    assert len(shop.attempts()) == 1


def test_a_paid_invoice_is_not_charged(shop: Till) -> None:
    shop.save_card()
    shop.bill()
    shop.work()
    with pytest.raises(NotPayable):
        shop.collect()
    assert len(shop.attempts()) == 1


def test_only_who_manages_billing_has_it_charged(shop: Till) -> None:
    shop.save_card()
    shop.bill(collection="manual")
    member = acting(shop.organization, roles.MEMBER)
    stranger = acting(make_organization("other"), roles.OWNER)
    for actor, error in ((member, Forbidden), (stranger, NotFound)):
        with pytest.raises(error), rls.tenant_scope(shop.organization.pk):
            services.collect("CH-000001", actor=actor, at=NOW)
    assert not shop.attempts()


def test_without_a_provider_nothing_is_charged(shop: Till) -> None:
    shop.save_card()
    shop.bill(collection="manual")
    with gateway.use(shop.transport, key=""), pytest.raises(NotConfigured):
        shop.collect()
    assert not shop.attempts()


# --- faults ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["invoices", "add_lines", "finalize", "pay"])
@pytest.mark.parametrize(
    "kind",
    [
        "error_before",
        "error_after",
        "sticky_error",
        "sticky_after",
        "reset_before",
        "reset_after",
        "busy",
        "locked",
    ],
)
def test_a_provider_that_fails_at_any_step_charges_once(shop: Till, path: str, kind: Kind) -> None:
    shop.save_card()
    shop.bill()
    shop.fail(path, kind)
    shop.work()
    shop.work_later()
    assert shop.recorded() == [(50_00, "card")]
    charges = shop.client.v1.charges.list().data
    assert [one.amount for one in charges] == [50_00]


# --- money back -----------------------------------------------------------------------------------
def test_a_credit_note_pays_back_to_the_card(shop: Till) -> None:
    shop.save_card()
    shop.bill()
    shop.work()
    with rls.tenant_scope(shop.organization.pk):
        invoicing.issue_credit_note(
            "CH-000001",
            reason="product_unsatisfactory",
            total=Decimal("12.50"),
            split=Split(refund=Decimal("12.50")),
            actor=STAFF,
            at=NOW,
        )
    shop.work()
    [back] = shop.client.v1.refunds.list().data
    assert (back.amount, back.status) == (12_50, "succeeded")
    with rls.tenant_scope(shop.organization.pk):
        [row] = Refund.objects.all()
    assert (row.amount, row.method, row.reference) == (12_50, "card", back.id)
    shop.work()
    assert len(shop.client.v1.refunds.list().data) == 1
    assert books.verify().hold


def test_a_card_that_expires_this_month_is_told_of_once(shop: Till) -> None:
    card = shop.save_card()
    at = datetime(card.exp_year or 0, card.exp_month or 0, 3, tzinfo=UTC)
    with clock.frozen(at - timedelta(days=5)):
        assert tasks.tell_expiring() == 0
    with clock.frozen(at):
        assert (tasks.tell_expiring(), tasks.tell_expiring()) == (1, 0)
    [fact] = facts("PaymentMethodExpiring")
    assert (fact["method"], fact["expires"]) == (card.public_id, f"{at:%Y-%m}")
