"""One invoice that is not paid: when its steps come, and when they stop."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from apps.core import rls
from apps.core.actor import Actor
from apps.core.errors import Forbidden, Invalid
from apps.dunning import selectors, services
from apps.dunning.errors import RunOver, UnknownRun
from apps.dunning.models import Entry, Run
from apps.invoicing import services as invoicing
from apps.invoicing.services import Split
from apps.payments import selectors as payment_selectors
from apps.payments import services as payments
from apps.tenants import roles
from tests.conftest import STAFF
from tests.dunning import world
from tests.dunning.world import billed, fail, history, pay, run, status, the_run, told
from tests.invoicing.world import day
from tests.scenarios import shop

NUMBER = "CH-000001"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(autouse=True)
def _shop(db: None) -> None:
    world.open_shop()


# --- a run from its beginning to its end ----------------------------------------------------------
def test_nobody_is_asked_before_the_invoice_is_due() -> None:
    acme, _ = billed()
    assert run(day(1, 14)).begun == 0
    assert status(acme) == "active"


def test_an_overdue_invoice_is_asked_for_step_by_step() -> None:
    acme, _ = billed()  # 20.00, due on the 15th at midnight UTC
    assert run(day(1, 15, 1)).begun == 1
    assert (the_run(acme).next_at, status(acme)) == (day(1, 16, 9), "active")
    run(day(1, 16, 9))
    assert (history(acme), status(acme)) == (["begun", "reminder", "past_due"], "past_due")
    run(day(1, 22, 9))
    run(day(1, 29, 9))
    assert status(acme) == "past_due"
    run(day(2, 5, 9))
    assert status(acme) == "unpaid"
    assert history(acme) == [
        "begun", "reminder", "past_due", "urgent", "final", "unpaid", "notify_staff",
    ]  # fmt: skip
    assert the_run(acme).next_at == day(3, 1, 9)
    run(day(3, 1, 9))
    assert (the_run(acme).status, the_run(acme).outcome) == ("ended", "exhausted")
    shop.bill(day(3, 1, 10))
    assert status(acme) == "canceled"


def test_each_step_is_taken_once_however_often_somebody_looks() -> None:
    acme, _ = billed()
    for _ in range(3):
        run(day(1, 16, 9))
    assert history(acme) == ["begun", "reminder", "past_due"]
    assert len(told(acme, "dunning.ReminderDue")) == 1


def test_one_run_an_invoice_says_the_database_itself() -> None:
    acme, _ = billed()
    run(day(1, 15, 1))
    with rls.tenant_scope(acme.pk):
        twin = the_run(acme)
        twin.pk, twin.public_id = None, "dun_another"
        with pytest.raises(IntegrityError, match="one_open_run_an_invoice"), transaction.atomic():
            twin.save(force_insert=True)
        step = selectors.entries(the_run(acme))[0]
        step.pk, step.public_id, step.cause = None, "due_another", "begun"
        with pytest.raises(IntegrityError, match="each_cause_once"), transaction.atomic():
            step.save(force_insert=True)


def test_a_run_keeps_the_version_that_it_began_with() -> None:
    acme, _ = billed()
    run(day(1, 15, 1))
    world.ask_by("1d remind final\n2d unpaid")
    run(day(1, 17, 9))
    assert (history(acme), status(acme)) == (["begun", "reminder", "past_due"], "past_due")
    other, _ = billed("other")
    run(day(1, 16, 9), other)
    run(day(1, 17, 9), other)
    assert (history(other), status(other)) == (["begun", "final", "unpaid", "ended"], "unpaid")


def test_a_mail_before_the_due_date_begins_a_run_early() -> None:
    world.ask_by("-3d remind reminder\n1d past_due")
    acme, _ = billed()
    assert run(day(1, 12, 8)).begun == 0
    run(day(1, 12, 9))
    assert (history(acme), the_run(acme).next_at) == (["begun", "reminder"], day(1, 16, 9))


def test_a_run_that_begins_late_begins_at_its_beginning() -> None:
    acme, _ = billed()
    run(day(3, 1, 12))  # 44 days after the first step was to come
    assert (history(acme), the_run(acme).next_at) == (["begun"], day(3, 2, 9))
    run(day(3, 2, 9))
    assert history(acme) == ["begun", "reminder", "past_due"]
    assert the_run(acme).next_at == day(3, 8, 9)


def test_after_an_outage_one_mail_is_sent_and_nothing_is_taken_without_notice() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    run(day(2, 20, 9))  # urgent, final, unpaid were due meanwhile
    assert history(acme) == ["begun", "reminder", "past_due", "urgent superseded", "final"]
    assert len(told(acme, "dunning.ReminderDue")) == 2
    # the final notice was 22 days late: seven days are left, as the campaign says
    assert (the_run(acme).next_at, status(acme)) == (day(2, 27, 9), "past_due")


# --- it stops by itself ---------------------------------------------------------------------------
def test_whoever_pays_by_hand_gets_no_other_reminder() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    with rls.tenant_scope(acme.pk):  # and nobody has heard of it yet
        payments.record_payment(NUMBER, amount=Decimal("20.00"), actor=STAFF, at=day(1, 22))
    services.run_dunning(actor=STAFF, at=day(1, 22, 9))
    assert history(acme) == ["begun", "reminder", "past_due", "ended"]
    assert (the_run(acme).outcome, status(acme)) == ("paid", "active")
    assert len(told(acme, "dunning.ReminderDue")) == 1


def test_part_of_the_sum_does_not_stop_it() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    pay(acme, NUMBER, "19.99", at=day(1, 17))
    assert (the_run(acme).status, status(acme)) == ("running", "past_due")
    pay(acme, NUMBER, "0.01", at=day(1, 18))
    assert (the_run(acme).outcome, status(acme)) == ("paid", "active")


def test_a_credit_note_over_all_of_it_stops_it() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    with rls.tenant_scope(acme.pk):
        invoicing.issue_credit_note(
            NUMBER, reason="order_change", total=Decimal("20.00"), split=Split(),
            actor=STAFF, at=day(1, 17),
        )  # fmt: skip
    world.deliver(day(1, 17))
    assert (the_run(acme).outcome, status(acme)) == ("credited", "active")


def test_a_void_invoice_stops_it() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    with rls.tenant_scope(acme.pk):
        invoicing.void_invoice(NUMBER, reason="wrong", actor=STAFF, at=day(1, 17))
    world.deliver(day(1, 17))
    assert (the_run(acme).outcome, status(acme)) == ("voided", "active")


def test_what_is_given_up_asks_nobody_and_gives_nothing_back_until_it_is_paid() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    with rls.tenant_scope(acme.pk):
        invoicing.mark_uncollectible(NUMBER, reason="bankrupt", actor=STAFF, at=day(1, 17))
    world.deliver(day(1, 17))
    assert (the_run(acme).outcome, status(acme)) == ("written_off", "past_due")
    run(day(2, 5, 9))
    assert status(acme) == "past_due"
    pay(acme, NUMBER, "20.00", at=day(2, 6))
    assert (the_run(acme).outcome, status(acme)) == ("paid", "active")


def test_a_payment_that_is_taken_back_begins_again() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    pay(acme, NUMBER, "20.00", at=day(1, 17))
    with rls.tenant_scope(acme.pk):
        payment = payment_selectors.of_invoice(the_run(acme).invoice_id)[0].public_id
        payments.reverse_payment(payment, reason="bounced", actor=STAFF, at=day(1, 20))
    assert run(day(1, 20, 12)).begun == 1
    assert (history(acme), the_run(acme).next_at) == (["begun"], day(1, 21, 9))


# --- several invoices of one subscription ---------------------------------------------------------
def test_a_subscription_is_active_again_when_nothing_holds_it_any_more() -> None:
    acme, _ = billed()
    shop.bill(day(2, 1))  # CH-000002, due on 15 February
    for moment in (day(1, 16, 9), day(1, 22, 9), day(1, 29, 9), day(2, 5, 9)):
        run(moment)
    assert status(acme) == "unpaid"
    run(day(2, 16, 9))  # the second invoice is past due
    pay(acme, NUMBER, "20.00", at=day(2, 17))
    assert status(acme) == "past_due"
    changes = [
        fact.payload["after"] for fact in told(acme, "subscriptions.SubscriptionStatusChanged")
    ]
    assert changes == ["past_due", "unpaid", "active", "past_due"]
    pay(acme, "CH-000002", "20.00", at=day(2, 18))
    assert status(acme) == "active"


def test_the_second_invoice_keeps_what_the_first_one_took() -> None:
    acme, _ = billed()
    shop.bill(day(2, 1))
    run(day(1, 16, 9))
    run(day(2, 16, 9))  # both are past due
    pay(acme, "CH-000002", "20.00", at=day(2, 17))
    assert status(acme) == "past_due"
    pay(acme, NUMBER, "20.00", at=day(2, 17))
    assert status(acme) == "active"


# --- cards ----------------------------------------------------------------------------------------
def test_a_declined_card_begins_a_run_at_once() -> None:
    world.ask_by("0 remind reminder if failed\n1d remind reminder if overdue\n3d past_due")
    acme, _ = billed()
    fail(acme, NUMBER, at=day(1, 2, 15))
    found = the_run(acme)
    assert (found.because, found.anchor, found.next_at) == ("failed", day(1, 2, 15), day(1, 2, 15))
    run(day(1, 2, 15))
    assert history(acme) == ["begun", "failed", "reminder"]
    assert the_run(acme).next_at == day(1, 5, 9)


def test_an_attempt_is_noted_once_and_the_next_one_as_well() -> None:
    acme, _ = billed()
    for attempt in (1, 1, 2):
        fail(acme, NUMBER, at=day(1, 2), attempt=attempt)
    assert history(acme) == ["begun", "failed", "failed"]
    assert the_run(acme).attempts == 2


def test_what_must_not_be_tried_again_is_told_to_staff() -> None:
    acme, _ = billed()
    fail(acme, NUMBER, at=day(1, 2), how="never")
    assert len(told(acme, "dunning.StaffNeeded")) == 1


def test_an_invoice_that_is_paid_meanwhile_begins_nothing() -> None:
    acme, _ = billed()
    pay(acme, NUMBER, "20.00", at=day(1, 2))
    fail(acme, NUMBER, at=day(1, 3))
    with rls.tenant_scope(acme.pk):
        assert not Run.objects.exists()


# --- what ends it ---------------------------------------------------------------------------------
def test_a_lower_plan_is_active_again() -> None:
    world.ask_by("1d remind final\n8d unpaid\n15d downgrade free")
    acme, _ = billed(plan="team", seats=3)
    for moment in (day(1, 16, 9), day(1, 23, 9), day(1, 30, 9)):
        run(moment)
    assert (status(acme), the_run(acme).level) == ("active", "downgraded")
    assert history(acme) == ["begun", "final", "unpaid", "downgrade", "ended"]
    shop.bill(day(2, 1))
    assert [one.total for one in shop.invoices(acme)] == [30_00, 0]


def test_what_is_refused_changes_nothing_and_staff_are_told() -> None:
    world.ask_by("1d remind final\n8d unpaid\n15d downgrade free")
    acme, _ = billed(plan="basic")  # of another application: it cannot move to `free`
    for moment in (day(1, 16, 9), day(1, 23, 9), day(1, 30, 9)):
        run(moment)
    assert status(acme) == "unpaid"
    assert history(acme)[-2:] == ["downgrade refused", "ended"]
    assert len(told(acme, "dunning.StaffNeeded")) == 1


def test_an_invoice_without_a_subscription_only_reminds() -> None:
    row = shop.customer("single", email="pay@single.example")
    with rls.tenant_scope(row.pk):
        new = invoicing.NewCharge(name="Training", unit_amount=Decimal("950.00"))
        charge = invoicing.add_charge(row.pk, new=new, actor=STAFF, at=day(1, 1))
        invoicing.invoice_charges([charge.public_id], actor=STAFF, at=day(1, 1))
    run(day(1, 16, 9))
    assert history(row) == ["begun", "reminder", "past_due skipped"]


# --- what finance decides -------------------------------------------------------------------------
def test_a_pause_moves_what_is_to_come() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    with rls.tenant_scope(acme.pk):
        services.pause_run(
            the_run(acme).public_id, reason="pays on the 25th", until=day(1, 26),
            actor=STAFF, at=day(1, 20),
        )  # fmt: skip
    run(day(1, 22, 9))
    assert history(acme)[-1] == "paused"
    run(day(1, 26))
    # six days: what was to come on the 22nd comes on the 28th
    assert (the_run(acme).status, the_run(acme).next_at) == ("running", day(1, 28, 9))
    run(day(1, 28, 9))
    assert history(acme)[-3:] == ["paused", "resumed", "urgent"]


def test_who_pays_during_a_pause_is_not_asked_again() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    with rls.tenant_scope(acme.pk):
        services.pause_run(the_run(acme).public_id, reason="pays soon", actor=STAFF, at=day(1, 20))
    pay(acme, NUMBER, "20.00", at=day(1, 21))
    assert (the_run(acme).outcome, status(acme)) == ("paid", "active")
    with rls.tenant_scope(acme.pk), pytest.raises(RunOver):
        services.resume_run(the_run(acme).public_id, actor=STAFF, at=day(1, 22))


def test_a_stop_gives_back_what_was_taken_and_nobody_begins_again() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    with rls.tenant_scope(acme.pk):
        found = services.stop_run(
            the_run(acme).public_id, reason="our mistake", actor=STAFF, at=day(1, 20)
        )
    assert (found.outcome, found.reason, status(acme)) == ("stopped", "our mistake", "active")
    assert run(day(2, 20, 9)).begun == 0
    fail(acme, NUMBER, at=day(2, 21))
    assert the_run(acme).pk == found.pk


def test_decisions_need_a_reason_a_role_and_a_run() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    mine = the_run(acme).public_id
    owner = Actor("user", "usr_1", "Owner", acme.pk, roles.capabilities_of("OWNER"))
    stranger = Actor("api_key", "key_1", "Key", acme.pk + 1, frozenset({"manage_invoices"}))
    with rls.tenant_scope(acme.pk):
        with pytest.raises(Invalid):
            services.stop_run(mine, reason=" ", actor=STAFF, at=day(1, 17))
        with pytest.raises(Invalid):
            services.pause_run(mine, reason="x", until=day(1, 16), actor=STAFF, at=day(1, 17))
        with pytest.raises(Forbidden):
            services.stop_run(mine, reason="please", actor=owner, at=day(1, 17))
        with pytest.raises(UnknownRun):
            services.stop_run(mine, reason="please", actor=stranger, at=day(1, 17))
    assert history(acme) == ["begun", "reminder", "past_due"]


def test_entries_are_facts() -> None:
    acme, _ = billed()
    run(day(1, 16, 9))
    with rls.tenant_scope(acme.pk), pytest.raises(Exception, match=r"never changes|permission"):
        Entry.objects.filter(organization_id=acme.pk).update(note="nothing happened")
