"""What finance does to invoices, over HTTP: review, issue, void, give up."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from apps.invoicing import services as billing
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import World

JANUARY = datetime.fromisoformat("2024-01-01T00:00:00+00:00")


@pytest.fixture
def draft(world: World) -> str:
    report = billing.bill_due(as_of=JANUARY, actor=STAFF, at=JANUARY, keep_drafts=True)
    return f"invoices/{report.issued[0].id}"


def lines_of(api: Api, world: World) -> dict[str, Any]:
    lines = api.get(f"invoices/{world.second_invoice}").json()["lines"]
    return {line["key"]: line for line in lines}


def test_a_held_draft_is_approved_with_a_reason(api: Api, platform: Api, draft: str) -> None:
    held = platform.post(f"{draft}/hold", {"reason": "Looks odd"}).json()
    assert (held["status"], held["hold_reason"]) == ("draft", "Looks odd")
    refused = platform.post(f"{draft}/finalize").json()
    assert (refused["status"], refused["code"]) == (409, "held_for_review")
    issued = platform.post(f"{draft}/approve", {"reason": "Seen"}).json()
    assert (issued["status"], issued["hold_reason"], issued["total"]) == ("open", "", 51_51)
    assert api.get(draft).json()["number"] == issued["number"]
    again = platform.post(f"{draft}/approve", {"reason": "Seen"}).json()
    assert (again["status"], again["code"]) == (409, "not_a_draft")


def test_a_draft_is_refreshed_and_issued(platform: Api, draft: str) -> None:
    assert platform.post(f"{draft}/refresh").json()["total"] == 51_51
    assert platform.post(f"{draft}/finalize").json()["status"] == "open"


def test_a_discarded_draft_is_gone(platform: Api, draft: str) -> None:
    problem = platform.post(f"{draft}/discard", {"reason": "  "}).json()
    assert (problem["status"], problem["param"]) == (400, "reason")
    gone = platform.post(f"{draft}/discard", {"reason": "Wrong"}).json()
    assert gone == {"object": "invoice", "id": draft.split("/")[1], "deleted": True}
    assert platform.get(draft).status_code == 404


def test_a_void_invoice_is_billed_anew_once(platform: Api, world: World) -> None:
    path = f"invoices/{world.second_invoice}"
    refused = platform.post(f"{path}/rebill").json()
    assert (refused["status"], refused["code"]) == (409, "conflict")
    void = platform.post(f"{path}/void", {"reason": "Wrong address"}).json()
    assert (void["status"], void["void_reason"], void["amount_due"]) == ("void", "Wrong address", 0)
    anew = platform.post(f"{path}/rebill")
    assert (anew.status_code, anew.json()["total"]) == (201, 54_51)
    assert platform.post(f"{path}/rebill").json()["code"] == "conflict"


def test_what_nobody_will_pay_is_given_up_and_may_still_be_paid(
    platform: Api, world: World
) -> None:
    path = f"invoices/{world.second_invoice}"
    given_up = platform.post(f"{path}/uncollectible", {"reason": "Bankrupt"}).json()
    assert given_up["status"] == "uncollectible"
    assert given_up["uncollectible_at"] == "2023-12-10T12:00:00Z"
    assert platform.post(f"{path}/payments", {"amount": 54_51}).status_code == 201
    assert platform.get(path).json()["status"] == "paid"


def test_what_is_no_invoice_by_the_standard_says_why(api: Api, world: World) -> None:
    problem = api.get(f"invoices/{world.second_invoice}/xml").json()
    assert (problem["status"], problem["code"]) == (404, "no_einvoice")
    assert problem["extra"]["reasons"]


def test_a_line_leads_to_its_very_events(api: Api, world: World) -> None:
    lines = {
        line["key"]: line for line in api.get(f"invoices/{world.second_invoice}").json()["lines"]
    }
    path = f"lines/{lines['context_tokens']['id']}/events"
    events = api.get(path).json()["data"]
    assert [(event["key"], event["value"], event["status"]) for event in events] == [
        ("nov-2", "1000000", "counted"),
        ("nov-3", "1000000", "counted"),
        ("nov-4", "1000000", "counted"),
    ]
    first = api.get(path, {"limit": "2"}).json()
    assert (first["has_more"], first["next_cursor"]) == (True, events[1]["id"])
    rest = api.get(path, {"starting_after": first["next_cursor"]}).json()
    assert rest["data"] == events[2:]
    assert api.get(f"lines/{lines['base']['id']}/events").json()["data"] == []
    for cursor in ("nov-2", "evt_1", "\x00"):
        assert api.get(path, {"starting_after": cursor}).status_code == 400
