"""Credit, credit notes, payments and refunds over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core import rls
from apps.invoicing.models import CreditGrant, CreditNote, Invoice
from apps.payments.models import Payment, Refund
from tests.api.client import Api
from tests.worlds import World

ACME = "organizations/acme"


def stored() -> list[int]:
    models = (CreditGrant, CreditNote, Invoice, Payment, Refund)
    with rls.ops_scope("test"):
        return [model._default_manager.count() for model in models]


@pytest.fixture
def invoice(world: World) -> str:
    return f"invoices/{world.second_invoice}"


def test_granted_credit_pays_the_next_invoice(api: Api, platform: Api, world: World) -> None:
    made = platform.post(f"{ACME}/credit-grants", {"amount": 20_00, "name": "Welcome"})
    assert made.status_code == 201
    grant = made.json()
    assert (grant["kind"], grant["remaining"], grant["priority"]) == ("promotional", 20_00, 50)
    [balance] = api.get(f"{ACME}/credit").json()["data"]
    assert (balance["currency"], balance["available"]) == ("USD", 20_00)
    assert balance["grants"] == api.get(f"{ACME}/credit-grants").json()["data"] == [grant]
    upcoming = api.get(f"subscriptions/{world.subscription.public_id}/upcoming-invoice").json()
    assert (upcoming["credit"], upcoming["total"]) == (20_00, 51_51 - 20_00)
    assert upcoming["credits"] == [{"name": "Welcome", "amount": 20_00}]


def test_the_same_cause_is_the_same_grant(platform: Api, world: World) -> None:
    body = {"amount": 20_00, "source": "ticket-1"}
    first, again = (platform.post(f"{ACME}/credit-grants", body).json() for _ in range(2))
    assert first["id"] == again["id"]


def test_a_withdrawn_grant_leaves_nothing(api: Api, platform: Api, world: World) -> None:
    grant = platform.post(f"{ACME}/credit-grants", {"amount": 20_00}).json()["id"]
    verb = f"{ACME}/credit-grants/{grant}/void"
    gone = platform.post(verb, {"reason": "Mistake"}).json()
    assert (gone["remaining"], gone["voided_at"]) == (0, "2023-12-10T12:00:00Z")
    assert platform.post(verb, {"reason": "Mistake"}).json()["code"] == "credit_spent"
    moved = api.get(f"{ACME}/credit-movements", {"grant": grant}).json()["data"]
    assert [(one["kind"], one["amount"]) for one in moved] == [
        ("voided", -20_00),
        ("granted", 20_00),
    ]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": "5"}, "amount"),
        ({"amount": 10**30}, "amount"),
        ({"amount": 5, "currency": "XXX"}, "currency"),
        ({"amount": 5, "priority": 101}, "priority"),
        ({"amount": 5, "kind": "purchased"}, "kind"),
        ({"amount": 5, "expires_at": "2023-12-01T00:00:00Z"}, "expires_at"),
    ],
)
def test_credit_that_makes_no_sense_is_refused(
    platform: Api, world: World, body: dict[str, Any], param: str
) -> None:
    before = stored()
    problem = platform.post(f"{ACME}/credit-grants", body).json()
    assert (problem["status"], problem["param"]) == (400, param)
    assert stored() == before


def test_bought_credit_is_there_when_it_is_paid(api: Api, platform: Api, world: World) -> None:
    bought = api.post(f"{ACME}/credit-purchases", {"amount": 100_00}).json()
    assert (bought["status"], bought["total"], bought["tax"]) == ("open", 100_00, 0)
    assert api.get(f"{ACME}/credit").json()["data"] == []
    platform.post(f"invoices/{bought['id']}/payments", {"amount": 100_00})
    assert platform.get(f"invoices/{bought['id']}").json()["status"] == "paid"


@pytest.mark.parametrize("name", ["kind", "expires_at", "priority", "due_in_days"])
def test_a_customer_says_only_how_much_it_buys(api: Api, world: World, name: str) -> None:
    said = {"kind": "commitment", "expires_at": "2024-12-01T00:00:00Z", "priority": 0}
    body = {"amount": 100_00, name: said.get(name, 90)}
    problem = api.post(f"{ACME}/credit-purchases", body).json()
    assert (problem["code"], problem["param"]) == ("platform_key_needed", name)


def test_a_rule_that_buys_credit_is_set_and_stopped(api: Api, world: World) -> None:
    path = f"{ACME}/recharge-rules"
    api.post(path, {"threshold": 10_00, "amount": 50_00})
    rule = api.post(path, {"threshold": 5_00, "amount": 50_00, "monthly_cap": 200_00}).json()
    assert (rule["threshold"], rule["monthly_cap"]) == (5_00, 200_00)
    assert api.get(path).json()["data"] == [rule]
    for _ in range(2):
        assert api.call("DELETE", path).json()["data"] == []


def test_parts_of_a_payment_add_up(api: Api, platform: Api, invoice: str) -> None:
    first = platform.post(f"{invoice}/payments", {"amount": 50_00, "reference": "bank-1"})
    assert (first.status_code, first.json()["amount"]) == (201, 50_00)
    assert api.get(invoice).json()["amount_due"] == 4_51
    again = platform.post(f"{invoice}/payments", {"amount": 4_51, "reference": "bank-1"}).json()
    assert (again["status"], again["code"]) == (409, "reference_used")
    platform.post(f"{invoice}/payments", {"amount": 4_51, "reference": "bank-2"})
    assert api.get(invoice).json()["status"] == "paid"
    assert [one["amount"] for one in api.get(f"{invoice}/payments").json()["data"]] == [
        4_51,
        50_00,
    ]


def test_too_much_is_refused_or_kept_as_credit(api: Api, platform: Api, invoice: str) -> None:
    before = stored()
    problem = platform.post(f"{invoice}/payments", {"amount": 60_00}).json()
    assert (problem["status"], problem["code"]) == (422, "overpayment")
    assert stored() == before
    kept = platform.post(f"{invoice}/payments", {"amount": 60_00, "keep_excess": True}).json()
    assert kept["excess"] == 5_49
    [balance] = api.get(f"{ACME}/credit").json()["data"]
    assert balance["available"] == 5_49


def test_a_payment_is_taken_back_once(api: Api, platform: Api, invoice: str) -> None:
    paid = platform.post(f"{invoice}/payments", {"amount": 54_51}).json()
    verb = f"payments/{paid['id']}/reverse"
    back = platform.post(verb, {"reason": "Another customer's"}).json()
    assert (back["amount"], back["reverses"]) == (-54_51, paid["id"])
    assert api.get(invoice).json()["amount_due"] == 54_51
    assert platform.post(verb, {"reason": "Again"}).json()["code"] == "already_reversed"


def test_a_note_lowers_what_is_due(api: Api, platform: Api, invoice: str) -> None:
    line = api.get(invoice).json()["lines"][0]["id"]
    body = {"reason": "order_change", "lines": [{"line": line, "amount": 10_00}], "memo": "Sorry"}
    note = platform.post(f"{invoice}/credit-notes", body).json()
    assert (note["total"], note["offset"], note["credited"], note["refunded"]) == (
        10_00,
        10_00,
        0,
        0,
    )
    assert [(one["line"], one["amount"]) for one in note["lines"]] == [(line, 10_00)]
    after = api.get(invoice).json()
    assert (after["credited"], after["amount_due"], after["total"]) == (10_00, 44_51, 54_51)
    assert api.get(f"credit-notes/{note['number']}").json() == note
    assert api.get("credit-notes").json()["data"] == [note]
    assert api.get("credit-notes", {"invoice": after["number"]}).json()["data"] == [note]
    assert api.get(note["pdf"]).content.startswith(b"%PDF")


def test_a_note_never_takes_more_than_is_left(platform: Api, invoice: str) -> None:
    platform.post(f"{invoice}/credit-notes", {"reason": "other", "total": 54_00})
    before = stored()
    problem = platform.post(f"{invoice}/credit-notes", {"reason": "other", "total": 52}).json()
    assert (problem["status"], problem["code"]) == (422, "not_creditable")
    assert stored() == before
    rest = platform.post(f"{invoice}/credit-notes", {"reason": "other"}).json()
    assert rest["total"] == 51
    assert platform.get(invoice).json()["status"] == "paid"


def test_what_a_note_promised_is_paid_back(api: Api, platform: Api, invoice: str) -> None:
    paid = platform.post(f"{invoice}/payments", {"amount": 54_51}).json()
    body = {"reason": "other", "total": 20_00, "split": {"refund": 15_00}}
    note = platform.post(f"{invoice}/credit-notes", body).json()
    assert (note["credited"], note["refunded"]) == (5_00, 15_00)
    path = f"credit-notes/{note['id']}/refunds"
    part = platform.post(path, {"amount": 10_00, "payment": paid["id"]}).json()
    assert (part["amount"], part["payment"]) == (10_00, paid["id"])
    assert platform.post(path, {}).json()["amount"] == 5_00
    problem = platform.post(path, {"amount": 1}).json()
    assert (problem["status"], problem["code"]) == (422, "refund_too_large")
    assert [one["amount"] for one in api.get(path).json()["data"]] == [5_00, 10_00]
