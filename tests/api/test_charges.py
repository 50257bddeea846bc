"""Single charges and invoices of their own, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core import rls
from apps.invoicing.models import Charge, Invoice
from tests.api.client import Api
from tests.worlds import World

PATH = "organizations/acme/charges"
INVOICES = "organizations/acme/invoices"
PREVIEW = f"{INVOICES}/preview"
SETUP = {"name": "Setup", "unit_amount": "12.505", "quantity": "3"}


def stored() -> tuple[int, int]:
    with rls.ops_scope("test"):
        return Charge.objects.count(), Invoice.objects.count()


def test_a_charge_goes_on_the_next_invoice(api: Api, platform: Api, world: World) -> None:
    made = platform.post(PATH, SETUP)
    # 3 × 12.505 = 37.515, rounded once.
    assert (made.status_code, made.json()["amount"]) == (201, 37_52)
    assert (made.json()["unit_amount"], made.json()["quantity"]) == ("12.505", "3")
    path = f"subscriptions/{world.subscription.public_id}/upcoming-invoice"
    assert api.get(path).json()["total"] == 51_51 + 37_52
    assert api.get(PATH).json()["data"] == [made.json()]


def test_the_same_cause_is_the_same_charge(platform: Api, world: World) -> None:
    first, again = (platform.post(PATH, {**SETUP, "source": "job-7"}).json() for _ in range(2))
    assert first == again


def test_a_withdrawn_charge_is_not_billed(api: Api, platform: Api, world: World) -> None:
    charge = platform.post(PATH, SETUP).json()["id"]
    for _ in range(2):
        gone = platform.call("DELETE", f"{PATH}/{charge}").json()
        assert gone["withdrawn_at"] == "2023-12-10T12:00:00Z"
    path = f"subscriptions/{world.subscription.public_id}/upcoming-invoice"
    assert api.get(path).json()["total"] == 51_51


def test_charges_are_billed_at_once(api: Api, platform: Api, world: World) -> None:
    charges = [
        platform.post(PATH, {"name": name, "unit_amount": amount}).json()["id"]
        for name, amount in (("Training", "200"), ("Allowance", "-50"))
    ]
    body = {"charges": charges, "due_in_days": 7, "memo": "As agreed"}
    made = platform.post(INVOICES, body)
    assert made.status_code == 201
    invoice = made.json()
    assert (invoice["kind"], invoice["status"], invoice["total"]) == ("one_off", "open", 150_00)
    assert (invoice["memo"], invoice["due_at"]) == ("As agreed", "2023-12-17T12:00:00Z")
    assert invoice["subscription"] is None
    assert api.get(f"invoices/{invoice['id']}").json() == invoice
    again = platform.post(INVOICES, body).json()
    assert (again["status"], again["code"]) == (409, "charge_billed")
    refused = platform.call("DELETE", f"{PATH}/{charges[0]}").json()
    assert (refused["status"], refused["code"]) == (409, "charge_billed")


def test_a_preview_is_what_billing_makes(platform: Api, world: World) -> None:
    platform.post("organizations/acme/credit-grants", {"amount": 10_00})
    charges = [platform.post(PATH, SETUP).json()["id"]]
    wanted = {"charges": charges, "due_in_days": 7, "memo": "As agreed"}
    before = stored()
    quote = platform.post(PREVIEW, wanted).json()
    assert stored() == before
    # 37_52, less 10_00 of credit.
    assert (quote["object"], quote["quoted"], quote["credit"]) == ("invoice_quote", 27_52, 10_00)
    made = platform.post(INVOICES, {**wanted, "quoted": quote["quoted"]})
    assert made.status_code == 201
    same = ("total", "subtotal", "credit", "currency", "due_at", "issued_at", "memo", "period")
    assert {name: made.json()[name] for name in same} == {name: quote[name] for name in same}
    assert [{**line, "id": None} for line in made.json()["lines"]] == quote["lines"]
    refused = platform.post(PREVIEW, wanted).json()
    assert (refused["status"], refused["code"]) == (409, "charge_billed")


def test_what_costs_something_else_than_quoted_is_not_billed(platform: Api, world: World) -> None:
    charges = [platform.post(PATH, SETUP).json()["id"]]
    quoted = platform.post(PREVIEW, {"charges": charges}).json()["quoted"]
    platform.post("organizations/acme/credit-grants", {"amount": 10_00})
    before = stored()
    refused = platform.post(INVOICES, {"charges": charges, "quoted": quoted}).json()
    assert (refused["status"], refused["code"]) == (409, "quote_moved")
    assert refused["extra"] == {"quoted": "37.52 USD", "actual": "27.52 USD"}
    assert stored() == before


def test_an_allowance_is_quoted_as_the_credit_that_it_leaves(platform: Api, world: World) -> None:
    allowance = {"name": "Allowance", "unit_amount": "-50"}
    charges = [platform.post(PATH, allowance).json()["id"]]
    quote = platform.post(PREVIEW, {"charges": charges}).json()
    assert (quote["total"], quote["quoted"]) == (0, -50_00)
    made = platform.post(INVOICES, {"charges": charges, "quoted": -50_00}).json()
    assert (made["total"], made["credit"]) == (0, -50_00)


def test_a_draft_is_kept_from_the_customer(api: Api, platform: Api, world: World) -> None:
    charge = platform.post(PATH, SETUP).json()["id"]
    body = {"charges": [charge], "draft": True}
    draft = platform.post(INVOICES, body).json()
    assert (draft["status"], draft["number"]) == ("draft", None)
    assert api.get(f"invoices/{draft['id']}").status_code == 404


def test_another_customers_charge_is_unknown(platform: Api, world: World, stranger: World) -> None:
    foreign = platform.post("organizations/globex/charges", SETUP).json()["id"]
    before = stored()
    problem = platform.post(INVOICES, {"charges": [foreign]}).json()
    assert (problem["status"], problem["code"]) == (404, "unknown_charge")
    assert platform.call("DELETE", f"{PATH}/{foreign}").status_code == 404
    assert stored() == before


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"name": " "}, "name"),
        ({"quantity": "0"}, "quantity"),
        ({"quantity": "-1"}, "quantity"),
        ({"unit_amount": "0.001", "quantity": "1"}, "unit_amount"),
        ({"unit_amount": "0.1234567890123"}, "unit_amount"),
        ({"quantity": "1.0000000000001"}, "quantity"),
        ({"unit_amount": 10**40}, "unit_amount"),
        ({"unit_amount": "1e5"}, "unit_amount"),
        ({"currency": "XXX"}, "unit_amount"),
        ({"period": {"start": "2024-01-02T00:00:00Z", "end": "2024-01-01T00:00:00Z"}}, "period"),
    ],
)
def test_a_charge_is_refused_that_makes_no_sense(
    platform: Api, world: World, change: dict[str, Any], param: str | None
) -> None:
    before = stored()
    problem = platform.post(PATH, {**SETUP, **change}).json()
    assert (problem["status"], problem["param"]) == (400, param)
    assert stored() == before


def test_what_waits_on_a_subscription_is_billed_now(platform: Api, world: World) -> None:
    path = f"subscriptions/{world.subscription.public_id}"
    nothing = platform.post(f"{path}/bill-now").json()
    assert (nothing["status"], nothing["code"]) == (409, "conflict")
    platform.patch(path, {"quantity": 5})
    platform.post(PATH, {**SETUP, "subscription": world.subscription.public_id})
    invoice = platform.post(f"{path}/bill-now").json()
    # 2 seats for the rest of December and the charge.
    assert invoice["total"] == 16_65 + 37_52
    assert platform.get(f"{path}/upcoming-invoice").json()["total"] == 51_51 + 24_00
