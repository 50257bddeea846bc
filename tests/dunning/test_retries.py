"""Cards that are declined, tried again where that makes sense; the sandbox is the provider."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.core import mail

from apps.core import clock, rls
from apps.dunning import services as dunning
from apps.payments import selectors
from apps.payments import services as payments
from tests.conftest import STAFF
from tests.dunning import world
from tests.dunning.world import history, status, the_run
from tests.payments.tills import NO_FUNDS, NOW, VISA, Till, till

pytestmark = pytest.mark.django_db

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
STEPS = """\
0 remind reminder
2d retry
3d past_due
4d retry
5d remind final
9d unpaid
"""
CONFIRM = "pm_card_authenticationRequired"


@pytest.fixture
def shop() -> Iterator[Till]:
    with till() as opened:
        world.ask_by(STEPS)
        yield opened


def decline(shop: Till, card: str = NO_FUNDS, *, how: str = "") -> None:
    """Issue an invoice of 50.00 on 15 June that the card does not pay.

    Cards that are lost or stolen cannot be saved: of them the provider tells (`how`) later.
    """
    shop.save_card(card)
    with clock.frozen(NOW):
        shop.bill()
        shop.work()
        if how:
            world.fail(shop.organization, "CH-000001", at=NOW, attempt=2, how=how)
        mail.outbox.clear()


def look(shop: Till, days: int) -> None:
    """Let the scheduler and the workers do what is due so many days later, at ten."""
    at = NOW + (days * DAY + 10 * HOUR if days else 0 * HOUR)
    with clock.frozen(at):
        done = dunning.run_dunning(actor=STAFF, at=at)
        assert not done.failed, done.failed
        shop.work()


def results(shop: Till) -> list[str]:
    return [one.status for one in shop.attempts()]


def subjects() -> list[str]:
    return [str(one.subject).split(":")[0] for one in mail.outbox]


def test_what_may_work_later_is_tried_as_the_campaign_says(shop: Till) -> None:
    decline(shop)
    assert (the_run(shop.organization).because, results(shop)) == ("failed", ["failed"])
    for days in (0, 2, 3, 4, 5):
        look(shop, days)
    assert history(shop.organization) == [
        "begun", "failed", "reminder", "retry", "failed", "past_due", "retry", "failed", "final",
    ]  # fmt: skip
    assert results(shop) == ["failed"] * 3
    assert (the_run(shop.organization).attempts, status(shop.organization)) == (3, "past_due")


def test_an_attempt_that_works_ends_it(shop: Till) -> None:
    decline(shop)
    look(shop, 0)
    look(shop, 3)
    assert status(shop.organization) == "past_due"
    with clock.frozen(NOW + 3 * DAY + 11 * HOUR):
        shop.save_card(VISA)
        choose(shop)
    assert results(shop)[-1] == "succeeded"
    assert (the_run(shop.organization).outcome, status(shop.organization)) == ("paid", "active")
    look(shop, 9)
    assert "Last reminder" not in subjects()


def choose(shop: Till) -> None:
    """Let the customer pay by the card that was saved last."""
    owner = shop.organization.pk
    with rls.tenant_scope(owner):
        newest = max(selectors.methods_of(owner), key=lambda one: one.pk)
        payments.choose_method(newest.public_id, actor=STAFF, at=clock.now())
    shop.work()


def test_a_lost_card_is_not_tried_again_until_there_is_another(shop: Till) -> None:
    decline(shop, how="method")
    for days in (0, 2, 4):
        look(shop, days)
    assert history(shop.organization) == [
        "begun", "failed", "failed", "reminder", "retry skipped", "past_due", "retry skipped",
    ]  # fmt: skip
    assert results(shop) == ["failed"]
    with clock.frozen(NOW + 4 * DAY + 11 * HOUR):
        shop.save_card(VISA)
        choose(shop)
    assert results(shop) == ["failed", "succeeded"]
    assert history(shop.organization)[-2:] == ["method", "ended"]
    assert status(shop.organization) == "active"


def test_what_nobody_may_try_again_is_not_tried_with_another_card(shop: Till) -> None:
    decline(shop, how="never")
    assert the_run(shop.organization).decline_class == "never"
    with clock.frozen(NOW + DAY):
        shop.save_card(VISA)
        choose(shop)
    look(shop, 2)
    assert results(shop) == ["failed"]
    assert history(shop.organization)[-1] == "retry skipped"


def test_a_payment_that_waits_for_the_customer_is_not_tried_again(shop: Till) -> None:
    decline(shop, CONFIRM)
    assert the_run(shop.organization).decline_class == "action"
    look(shop, 2)
    assert history(shop.organization)[-1] == "retry skipped"
    assert results(shop) == ["action"]
    with clock.frozen(NOW + 2 * DAY + 11 * HOUR):
        shop.confirm()
        shop.work()
    assert (the_run(shop.organization).outcome, status(shop.organization)) == ("paid", "active")


def test_nobody_is_reminded_of_money_that_is_on_its_way(shop: Till) -> None:
    decline(shop)
    look(shop, 0)
    at = NOW + 4 * DAY + 10 * HOUR
    with clock.frozen(at):  # one attempt is asked for, and nobody has told how it went
        dunning.run_dunning(actor=STAFF, at=at)
    assert results(shop) == ["failed", "pending"]
    with clock.frozen(at + DAY):
        done = dunning.run_dunning(actor=STAFF, at=at + DAY)
        assert (done.steps, done.failed) == (0, [])
        shop.work()
    look(shop, 6)
    assert history(shop.organization)[-2:] == ["failed", "final"]


def test_an_invoice_that_is_transferred_is_never_charged(shop: Till) -> None:
    with clock.frozen(NOW):
        shop.save_card(VISA)
        shop.bill(collection="manual")
        shop.work()
    for days in range(14, 19):
        look(shop, days)
    assert history(shop.organization)[:3] == ["begun", "reminder", "retry skipped"]
    assert results(shop) == []
