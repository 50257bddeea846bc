"""What is mailed to who has not paid, and what is not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core import mail

from apps.core import outbox, rls
from apps.dunning import services as dunning
from apps.payments import services as payments
from apps.payments.events import PaymentActionRequired
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from tests import worlds
from tests.conftest import STAFF
from tests.dunning import world
from tests.dunning.world import billed, fail, run, the_run
from tests.invoicing.world import day
from tests.scenarios import shop

NUMBER = "CH-000001"


@pytest.fixture
def acme(db: None) -> Organization:
    world.open_shop()
    row, _ = billed()
    mail.outbox.clear()
    return row


def sent() -> list[tuple[str, str, str]]:
    found = [(one.to[0], str(one.subject), str(one.body)) for one in mail.outbox]
    mail.outbox.clear()
    return found


def test_a_reminder_says_what_is_due_and_what_comes_next(acme: Organization) -> None:
    run(day(1, 16, 9))
    [(to, subject, body)] = sent()
    assert (to, subject) == ("pay@acme.example", "Reminder: $20.00 for invoice CH-000001")
    assert "$20.00 for invoice CH-000001 were due on 15 Jan 2026 and are not paid yet." in body
    assert "Without payment, access ends on 5 Feb 2026, 09:00 UTC." in body
    assert "/portal/invoices/CH-000001/" in body
    run(day(1, 22, 9))
    run(day(1, 29, 9))
    assert [subject for _, subject, _ in sent()] == [
        "Please pay $20.00 for invoice CH-000001",
        "Last reminder: $20.00 for invoice CH-000001",
    ]


def test_what_was_taken_is_said_with_how_it_comes_back(acme: Organization) -> None:
    for moment in (day(1, 16, 9), day(1, 22, 9), day(1, 29, 9)):
        run(moment)
    sent()
    run(day(2, 5, 9))
    [(_, subject, body)] = sent()
    assert subject == "Access has ended: invoice CH-000001 is not paid"
    assert "It comes back as soon as the invoice is paid." in body
    assert "Without payment, the subscription ends on 1 Mar 2026, 09:00 UTC." in body


def test_who_pays_before_the_mail_is_rendered_does_not_get_it(acme: Organization) -> None:
    dunning.run_dunning(actor=STAFF, at=day(1, 16, 9))
    with rls.tenant_scope(acme.pk):
        payments.record_payment(NUMBER, amount=Decimal("20.00"), actor=STAFF, at=day(1, 16, 9))
    world.deliver(day(1, 16, 9))
    assert [subject for _, subject, _ in sent() if "Reminder" in subject] == []


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("retry", "The payment was declined. See that there are funds"),
        ("method", "The card can no longer be charged. Please give us another one."),
        ("never", "The payment was declined for good."),
    ],
)
def test_a_declined_card_is_told_what_helps(acme: Organization, how: str, said: str) -> None:
    world.ask_by("0 remind reminder\n1d past_due")
    fail(acme, NUMBER, at=day(1, 2), how=how)
    run(day(1, 2))
    [(_, _, body)] = sent()
    assert f"We could not collect $20.00 for invoice CH-000001. {said}" in body


def test_a_bank_that_asks_is_linked_at_once(acme: Organization) -> None:
    with rls.tenant_scope(acme.pk):
        invoice = shop.invoices(acme)[0].id
        url = "https://bank.example/confirm/1"
        fact = PaymentActionRequired(invoice, acme.pk, url, day(1, 2).isoformat())
        for _ in range(2):
            outbox.emit(fact, at=day(1, 2), organization_id=acme.pk)
    world.deliver(day(1, 2))
    [(_, subject, body)] = sent()
    assert subject == "Confirm your payment of $20.00 for invoice CH-000001"
    assert "Your bank wants you to confirm the payment." in body
    assert "https://bank.example/confirm/1" in body
    assert the_run(acme).decline_class == "action"


def test_staff_who_act_on_money_are_told(acme: Organization) -> None:
    worlds.make_staff("finance@house.example", "Finance")
    worlds.make_staff("support@house.example", "Support")
    fail(acme, NUMBER, at=day(1, 2), how="never")
    [(to, subject, body)] = sent()
    assert to == "finance@house.example"
    assert subject == "Acme: invoice CH-000001 over $20.00 needs you"
    assert f"/admin/dunning/run/{the_run(acme).pk}/" in body


def test_a_customer_without_an_address_is_told_through_its_people(acme: Organization) -> None:
    with rls.ops_scope("test"):
        tenants.update_organization(acme.pk, changes={"email": ""}, actor=STAFF, at=day(1, 2))
        for name, role in (("owner", "OWNER"), ("guest", "MEMBER")):
            user = tenants.create_user(
                f"{name}@acme.example", password="correct-horse-battery", actor=STAFF, at=day(1, 2)
            )
            tenants.add_member(acme.pk, user_id=user.pk, role=role, actor=STAFF, at=day(1, 2))
    run(day(1, 16, 9))
    assert [to for to, _, _ in sent()] == ["owner@acme.example"]


def test_a_german_customer_is_reminded_in_german_and_in_their_time(acme: Organization) -> None:
    row, _ = billed("berlin", locale="de", timezone="Europe/Berlin")
    mail.outbox.clear()
    run(day(1, 16, 8), row)  # 09:00 there
    [(_, subject, body)] = sent()
    assert subject == "Zahlungserinnerung: 20,00 $ für Rechnung CH-000002"
    assert "waren am 15.01.2026 fällig und sind noch nicht bezahlt." in body
    assert "Ohne Zahlung endet der Zugang am 05.02.2026, 09:00 CET." in body
