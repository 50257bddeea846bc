"""Invoices over HTTP: amounts, explanations, paper."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from apps.core import rls
from apps.engine.explanation import replay
from apps.invoicing import services as billing
from apps.payments import services as payments
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World


def test_an_invoice_shows_what_is_owed_line_by_line(api: Api, world: World) -> None:
    invoice = api.get(f"invoices/{world.second_invoice}").json()
    assert (invoice["status"], invoice["number"]) == ("open", "CH-000002")
    # 3 requests of 5,000 included; 3,000,000 tokens × 0.0000015; 1,500 tokens = 2 packages × 0.006.
    assert [(line["key"], line["amount"]) for line in invoice["lines"]] == [
        ("base", 50_00),
        ("ai_requests", 0),
        ("context_tokens", 4_50),
        ("generated_tokens", 1),
    ]
    assert (invoice["total"], invoice["amount_due"]) == (54_51, 54_51)
    assert invoice["organization"] == world.organization.public_id
    assert invoice["parties"]["customer"]["id"] == world.organization.public_id


def test_anybody_can_do_the_sums_again(api: Api, world: World) -> None:
    for line in api.get(f"invoices/{world.second_invoice}").json()["lines"]:
        assert replay(line["explanation"]) == line["amount"]


def test_an_invoice_is_found_by_its_number(api: Api, world: World) -> None:
    by_id = api.get(f"invoices/{world.second_invoice}").json()
    assert api.get(f"invoices/{by_id['number']}").json() == by_id


def test_a_payment_shows(api: Api, world: World) -> None:
    with rls.ops_scope("test"):
        payments.record_payment(
            world.second_invoice, amount=Decimal("54.51"), actor=STAFF, at=NOW, reference="bank-1"
        )
    invoice = api.get(f"invoices/{world.second_invoice}").json()
    assert (invoice["status"], invoice["amount_paid"], invoice["amount_due"]) == ("paid", 54_51, 0)
    assert invoice["paid_at"] == "2023-12-10T12:00:00Z"


def test_the_pdf_is_one(api: Api, world: World) -> None:
    invoice = api.get(f"invoices/{world.second_invoice}").json()
    reply = api.get(invoice["pdf"], Accept="application/pdf")
    assert (reply.status_code, reply["Content-Type"]) == (200, "application/pdf")
    assert reply.content.startswith(b"%PDF")
    assert reply["Content-Disposition"] == 'inline; filename="CH-000002.pdf"'


def test_the_preview_becomes_the_bill(api: Api, world: World) -> None:
    path = f"subscriptions/{world.subscription.public_id}/upcoming-invoice"
    quote = api.get(path).json()
    assert (quote["total"], quote["issued_at"]) == (51_51, "2024-01-01T00:00:00Z")
    later = datetime.fromisoformat(quote["issued_at"])
    [issued] = worlds.bill(as_of=later, at=later)
    bill = api.get(f"invoices/{issued.id}").json()
    assert bill["total"] == quote["total"]
    without_ids = [{**line, "id": None} for line in bill["lines"]]
    assert without_ids == quote["lines"]


def draft(world: World) -> str:
    later = datetime.fromisoformat("2024-01-01T00:00:00Z")
    report = billing.bill_due(as_of=later, actor=STAFF, at=later, keep_drafts=True)
    return report.issued[0].id


def test_drafts_are_the_platforms_affair(api: Api, platform: Api, world: World) -> None:
    invoice = draft(world)
    assert api.get(f"invoices/{invoice}").status_code == 404
    assert api.get("invoices", {"status": "draft"}).json()["data"] == []
    assert platform.get(f"invoices/{invoice}").json()["number"] is None
    assert platform.get(f"invoices/{invoice}/pdf").content.startswith(b"%PDF")
    assert [one["id"] for one in platform.get("invoices", {"status": "draft"}).json()["data"]] == [
        invoice
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [2, 1]),
        ({"status": "open"}, [2, 1]),
        ({"status": "paid"}, []),
        ({"issued[gte]": "2023-12-01T00:00:00Z"}, [2]),
        ({"issued[gt]": "2023-12-01T00:00:00Z"}, []),
        ({"issued[lt]": "2023-12-01T00:00:00Z"}, [1]),
        ({"issued[gte]": "2023-11-01T00:00:00Z", "issued[lte]": "2023-12-01T00:00:00Z"}, [2, 1]),
        ({"created[lt]": "2001-01-01T00:00:00Z"}, []),
        ({"created[gte]": "2001-01-01T00:00:00Z"}, [2, 1]),
        ({"subscription": "OWN"}, [2, 1]),
        ({"subscription": "sub_01m7vnd0x7fp4ve7xtr8wwavw8"}, []),
        ({"subscription": "\ud7ff"}, []),
        ({"organization": "acme"}, [2, 1]),
    ],
)
def test_invoices_are_filtered(
    api: Api, world: World, query: dict[str, Any], expected: list[int]
) -> None:
    query = {
        key: world.subscription.public_id if value == "OWN" else value
        for key, value in query.items()
    }
    listed = api.get("invoices", query).json()["data"]
    assert [int(one["number"].removeprefix("CH-")) for one in listed] == expected
