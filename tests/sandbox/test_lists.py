"""Lists are walked by ids: every object once, in both directions, while others appear."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.sandbox.engine import Sandbox
from tests.sandbox.shop import KEY, Shop

ASKING = {"Authorization": f"Bearer {KEY}"}


def ask(sandbox: Sandbox, **params: Any) -> dict[str, Any]:
    return sandbox.handle("GET", "/v1/customers", params, ASKING).body


def add(sandbox: Sandbox, count: int) -> list[str]:
    made = (sandbox.handle("POST", "/v1/customers", {}, ASKING) for _ in range(count))
    return [answer.body["id"] for answer in made]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 17), st.integers(1, 7))
def test_walking_down_and_up_meets_every_object_once(count: int, limit: int) -> None:
    sandbox = Sandbox(strict=True)
    youngest_first = add(sandbox, count)[::-1]
    met: list[str] = []
    page = ask(sandbox, limit=limit)
    met += [each["id"] for each in page["data"]]
    while page["has_more"]:
        page = ask(sandbox, limit=limit, starting_after=met[-1])
        assert page["data"]
        met += [each["id"] for each in page["data"]]
    assert met == youngest_first
    back: list[str] = met[-1:]
    while back and back[0] != youngest_first[0]:
        page = ask(sandbox, limit=limit, ending_before=back[0])
        back = [each["id"] for each in page["data"]] + back
        assert page["has_more"] == (back[0] != youngest_first[0])
    assert back == youngest_first


def test_what_appears_meanwhile_does_not_move_the_pages(sandbox: Sandbox) -> None:
    known = add(sandbox, 4)[::-1]
    first = ask(sandbox, limit=2)
    add(sandbox, 3)
    second = ask(sandbox, limit=2, starting_after=first["data"][-1]["id"])
    assert [each["id"] for each in (*first["data"], *second["data"])] == known


@pytest.mark.parametrize("limit", [0, 101])
def test_a_page_has_between_one_and_a_hundred(sandbox: Sandbox, limit: int) -> None:
    assert sandbox.handle("GET", "/v1/customers", {"limit": limit}, ASKING).status == 400


def test_an_unknown_cursor_is_refused(sandbox: Sandbox) -> None:
    refused = sandbox.handle("GET", "/v1/customers", {"starting_after": "cus_no"}, ASKING)
    assert (refused.status, refused.body["error"]["code"]) == (400, "resource_missing")


def test_ids_become_objects_where_that_is_asked_for(shop: Shop) -> None:
    invoice = shop.final(shop.customer(), 10_00)
    shop.client.v1.invoices.pay(str(invoice.id))
    shown = shop.client.v1.invoices.list(
        {"expand": ["data.customer", "data.payments.data.payment.payment_intent"]}
    ).data[0]
    assert isinstance(shown.customer, stripe.Customer)
    assert shown.payments is not None
    assert isinstance(shown.payments.data[0].payment.payment_intent, stripe.PaymentIntent)


def test_what_cannot_be_expanded_is_refused(shop: Shop) -> None:
    shop.customer(card=None)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        shop.client.v1.customers.list({"expand": ["data.friends"]})


def test_an_object_is_found_by_our_own_id_in_its_metadata(shop: Shop) -> None:
    made = shop.customer(card=None, metadata={"billing_id": "org_1"})
    shop.customer(card=None, metadata={"billing_id": "org_2"})
    found = shop.client.v1.customers.search({"query": "metadata['billing_id']:'org_1'"})
    assert [each.id for each in found.data] == [made.id]
