"""Being paid through the provider, over the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.client import Api
from tests.payments.tills import Till, till_of
from tests.worlds import World

NO_FUNDS = "pm_card_chargeCustomerFail"


@pytest.fixture
def shop(world: World) -> Iterator[Till]:
    with till_of(world.organization) as opened:
        yield opened


def due(api: Api, world: World) -> int:
    return int(api.get(f"invoices/{world.second_invoice}").json()["amount_due"])


def test_an_invoice_is_charged_and_the_answer_says_what_came_of_it(
    api: Api, world: World, shop: Till
) -> None:
    method = shop.save_card()
    owed = due(api, world)
    attempt = api.post(f"invoices/{world.second_invoice}/pay", {}).json()
    assert (attempt["status"], attempt["amount"], attempt["payment_method"]) == (
        "succeeded",
        owed,
        method.public_id,
    )
    assert due(api, world) == 0
    [paid] = api.get(f"invoices/{world.second_invoice}/payments").json()["data"]
    assert (paid["amount"], paid["method"]) == (owed, "card")
    [tried] = api.get(f"invoices/{world.second_invoice}/attempts").json()["data"]
    assert tried == attempt


def test_a_refused_card_is_an_answer_and_no_error(api: Api, world: World, shop: Till) -> None:
    shop.save_card(NO_FUNDS)
    owed = due(api, world)
    answer = api.post(f"invoices/{world.second_invoice}/pay", {})
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["decline_class"]) == ("failed", "retry")
    assert due(api, world) == owed


def test_a_named_method_is_charged_and_stays_no_default(api: Api, world: World, shop: Till) -> None:
    first = shop.save_card()
    default = shop.save_card(NO_FUNDS)
    body = {"payment_method": first.public_id}
    attempt = api.post(f"invoices/{world.second_invoice}/pay", body).json()
    assert (attempt["status"], attempt["payment_method"]) == ("succeeded", first.public_id)
    listed = api.get("payment-methods").json()["data"]
    assert {one["id"]: one["is_default"] for one in listed} == {
        default.public_id: True,
        first.public_id: False,
    }


def test_methods_are_chosen_and_removed(api: Api, world: World, shop: Till) -> None:
    first, second = shop.save_card(), shop.save_card("pm_card_mastercard")
    chosen = api.post(f"payment-methods/{first.public_id}/default", {}).json()
    assert (chosen["is_default"], chosen["brand"], chosen["last4"]) == (True, "visa", "4242")
    assert api.call("delete", f"payment-methods/{second.public_id}", {}).status_code == 200
    assert [one["id"] for one in api.get("payment-methods").json()["data"]] == [first.public_id]
    gone = api.post(f"payment-methods/{second.public_id}/default", {})
    assert (gone.status_code, gone.json()["code"]) == (404, "unknown_payment_method")


def test_a_visit_that_saves_a_card_is_the_same_while_it_is_open(
    api: Api, world: World, shop: Till
) -> None:
    body = {"mode": "setup", "back": "https://shop.example/billing"}
    begun = api.post("checkout-sessions", body)
    assert begun.status_code == 201
    session = begun.json()
    assert (session["mode"], session["status"]) == ("setup", "open")
    assert session["url"].startswith("http")
    assert api.post("checkout-sessions", body).json() == session
    assert api.get(f"checkout-sessions/{session['id']}").json() == session
    [there] = shop.client.v1.checkout.sessions.list().data
    assert (there.mode, there.success_url) == ("setup", "https://shop.example/billing")


def test_a_visit_that_pays_an_invoice_asks_for_what_is_due(
    api: Api, world: World, shop: Till
) -> None:
    body = {"mode": "payment", "invoice": world.second_invoice}
    api.post("checkout-sessions", body)
    [there] = shop.client.v1.checkout.sessions.list().data
    assert (there.mode, there.amount_total) == ("payment", due(api, world))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"mode": "payment"}, "invoice"),
        ({"mode": "setup", "back": "http://shop.example"}, "back"),
        ({"mode": "setup", "back": "//shop.example"}, "back"),
        ({"mode": "setup", "back": "javascript:alert(1)"}, "back"),
    ],
)
def test_a_visit_that_makes_no_sense_is_refused(
    api: Api, world: World, shop: Till, body: dict[str, str], param: str
) -> None:
    answer = api.post("checkout-sessions", body)
    assert (answer.status_code, answer.json()["param"]) == (400, param)
    assert shop.client.v1.checkout.sessions.list().data == []


def test_without_a_provider_it_says_so(api: Api, world: World) -> None:
    answer = api.post(f"invoices/{world.second_invoice}/pay", {})
    assert (answer.status_code, answer.json()["code"]) == (409, "provider_not_configured")
