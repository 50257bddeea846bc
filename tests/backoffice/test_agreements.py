"""Agreements as staff change them: quoted first, billed as said, refused when the quote moved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from apps.core import clock
from apps.invoicing.models import Invoice
from apps.subscriptions.models import Change, Discount, Subscription
from apps.tenants.models import Organization
from tests import worlds
from tests.backoffice.conftest import browser
from tests.backoffice.pages import acts, again, confirm, page, post, rows, text
from tests.invoicing.world import day
from tests.subscriptions import desk

NOW = day(6, 16)


@pytest.fixture
def small(organization: Organization) -> Iterator[Any]:
    """Two seats of the small plan since 1 June, billed; it is the 16th: half of June is left."""
    desk.load()
    with clock.frozen(NOW):
        desk.subscribed(organization, "small", seats=2)
        yield rows(Subscription)[0]


@pytest.fixture
def finance(db: None) -> Client:
    """Staff who act on money."""
    return browser(worlds.make_staff("finance@house.example", "Finance"))


def test_a_change_of_plan_shows_its_quote_and_bills_it(finance: Client, small: Any) -> None:
    address = page(small, "change_plan")
    answers = {"plan": "large", "behaviour": "now"}
    shown = post(finance, address, **answers)
    # setup 99.00 + half of (60.00 − 30.00) + half of two seats × (20.00 − 10.00)
    assert "124.00 USD is billed at once" in text(shown)
    assert len(rows(Invoice)) == 1
    assert confirm(finance, address, **answers).status_code == 302
    made = max(rows(Invoice), key=lambda one: one.pk)
    assert (made.total, made.kind) == (124_00, "change")
    assert rows(Change)[0].quoted_amount == 124_00


def test_a_quote_that_moved_is_shown_anew_and_changes_nothing(finance: Client, small: Any) -> None:
    address = page(small, "change_plan")
    shown = post(finance, address, plan="large", behaviour="now")
    quote = dict(shown.context["answers"]) | {"quoted": "1"}
    refused = finance.post(address, quote)
    assert refused.status_code == 409
    assert "look at it again" in text(refused)
    assert ("quoted", "12400") in refused.context["answers"]
    assert not rows(Change)
    with clock.frozen(NOW + timedelta(hours=2)):
        late = finance.post(address, dict(shown.context["answers"]))
    assert (late.status_code, "more than an hour old" in text(late)) == (409, True)
    assert not rows(Change)


def test_a_change_waits_for_the_next_period_and_is_called_off(finance: Client, small: Any) -> None:
    answers = {"key": "seats", "quantity": 5, "behaviour": "next_period"}
    assert confirm(finance, page(small, "change_quantity"), **answers).status_code == 302
    [change] = rows(Change)
    assert (change.status, change.effective_at) == ("scheduled", day(7, 1))
    assert "to 5 seats, from 2026-07-01 00:00 UTC" in text(finance.get(page(small)))
    assert post(finance, page(small, "call_off"), change=change.public_id).status_code == 302
    assert again(change).status == "canceled"


def test_an_add_on_is_taken_and_left(finance: Client, small: Any) -> None:
    taken = confirm(finance, page(small, "add_on"), add_on="support", behaviour="next_invoice")
    assert taken.status_code == 302
    assert "Support" in text(finance.get(page(small)))
    with clock.frozen(NOW + timedelta(days=1)):
        answers = {"add_on": "support", "behaviour": "next_invoice"}
        assert confirm(finance, page(small, "remove_add_on"), **answers).status_code == 302
    assert {one.action for one in rows(Change)} == {"add_item", "remove_item"}


def test_a_price_is_agreed_with_one_customer(finance: Client, small: Any) -> None:
    answers = {"key": "base", "amount": "25.00", "behaviour": "next_period"}
    shown = post(finance, page(small, "agree_price"), **answers)
    assert "It changes the next invoice by -5.00 USD" in text(shown)
    assert confirm(finance, page(small, "agree_price"), **answers).status_code == 302


def test_what_is_so_already_has_nothing_to_confirm(finance: Client, small: Any) -> None:
    answers = {"key": "seats", "quantity": 2, "behaviour": "now"}
    shown = text(post(finance, page(small, "change_quantity"), **answers))
    assert "nothing would change" in shown
    assert 'type="submit" class="ch-button"' not in shown


def test_a_pause_comes_now_and_goes(finance: Client, small: Any) -> None:
    assert post(finance, page(small, "pause"), when="now").status_code == 302
    assert finance.get(page(small, "pause")).status_code == 409
    assert again(small).pause_at == NOW
    assert post(finance, page(small, "cancel"), when="on").status_code == 400


def test_it_ends_at_the_instant_said(finance: Client, small: Any) -> None:
    answers = {"when": "on", "on": "2026-06-20T00:00", "reason": "moved", "keep": "on"}
    assert post(finance, page(small, "cancel"), **answers).status_code == 302
    assert again(small).cancel_at == day(6, 20)


def test_who_left_comes_back(finance: Client, small: Any) -> None:
    post(finance, page(small, "cancel"), when="now", keep="on")
    desk.bill(NOW)
    assert again(small).status == "canceled"
    assert post(finance, page(small, "reactivate")).status_code == 302
    assert {row.status for row in rows(Subscription)} == {"canceled", "active"}


def test_a_code_is_redeemed_once_and_taken_away(finance: Client, small: Any) -> None:
    assert post(finance, page(small, "redeem"), code="launch20").status_code == 302
    refused = post(finance, page(small, "redeem"), code="LAUNCH20")
    assert refused.status_code in {409, 422}
    [discount] = rows(Discount)
    assert "Launch" in text(finance.get(page(small)))
    answers = {"discount": discount.public_id}
    assert post(finance, page(small, "remove_discount"), **answers).status_code == 302
    assert again(discount).removed_at == NOW
    assert ("staff", "subscription.discount_removed", discount.public_id) in acts()


def test_a_code_that_needs_a_larger_bill_is_refused(finance: Client, small: Any) -> None:
    refused = post(finance, page(small, "redeem"), code="ample5")
    assert refused.status_code == 409
    assert "needs a bill of 100.00 USD or more" in text(refused)
    assert not rows(Discount)


def test_nothing_that_waits_is_no_invoice(finance: Client, small: Any) -> None:
    assert post(finance, page(small, "bill_now")).status_code == 409


def test_a_trial_is_extended(finance: Client, organization: Organization) -> None:
    desk.load()
    with clock.frozen(NOW):
        desk.subscribed(organization, "tried", seats=None)
        [trial] = rows(Subscription)
        later = trial.trial_end + timedelta(days=7)
        answers = {"until": f"{later:%Y-%m-%dT%H:%M}"}
        assert post(finance, page(trial, "extend_trial"), **answers).status_code == 302
    assert again(trial).trial_end == later
