"""Seats over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.core import clock
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from tests.api.client import Api
from tests.conftest import make_organization
from tests.seats import clinic as story
from tests.worlds import make_key


@pytest.fixture
def clinic(db: None) -> Organization:
    story.load()
    return make_organization("clinic")


@pytest.fixture
def team(clinic: Organization) -> SubscriptionFacts:
    return story.subscribe(clinic)


@pytest.fixture
def api(clinic: Organization) -> Iterator[Api]:
    with clock.frozen(story.NOW):
        yield Api(make_key(clinic))


def test_a_seat_is_assigned_listed_given_on_and_taken_away(
    api: Api, clinic: Organization, team: SubscriptionFacts
) -> None:
    first, second = story.people(clinic, 2)
    mine = f"subscriptions/{team.public_id}"
    made = api.post(f"{mine}/seats", {"person": first.email})
    assert (made.status_code, made.json()["user"]) == (201, first.public_id)
    given = api.post(f"seats/{made.json()['id']}/reassign", {"person": second.email}).json()
    assert given["user"] == second.public_id
    [standing] = api.get(f"{mine}/seats", {"status": "standing"}).json()["data"]
    assert standing["id"] == given["id"]
    [pool] = api.get(f"{mine}/seat-pools").json()["data"]
    assert (pool["bought"], pool["assigned"], pool["free"]) == (5, 1, 4)
    gone = api.post(f"seats/{given['id']}/revoke", {}).json()
    assert (gone["status"], gone["because"]) == ("released", "revoked")
    assert api.get("seats", {"status": "active"}).json()["data"] == []


def test_seats_are_previewed_and_bought_for_that(api: Api, team: SubscriptionFacts) -> None:
    pools = f"subscriptions/{team.public_id}/seat-pools"
    quote = api.post(f"{pools}/preview", {"count": 2, "behaviour": "next_invoice"}).json()
    moved = {"amount": 1, "at": quote["quoted"]["at"]}
    body = {"count": 2, "behaviour": "next_invoice"}
    assert api.post(f"{pools}/buy", {**body, "quoted": moved}).json()["code"] == "quote_moved"
    assert api.post(f"{pools}/buy", {**body, "quoted": quote["quoted"]}).status_code == 200
    [pool] = api.get(pools).json()["data"]
    assert pool["bought"] == 7


def test_fewer_than_are_assigned_needs_a_choice(
    api: Api, clinic: Organization, team: SubscriptionFacts
) -> None:
    held = [story.assign(team, nurse) for nurse in story.people(clinic, 5)]
    pools = f"subscriptions/{team.public_id}/seat-pools"
    refused = api.post(f"{pools}/buy", {"count": -1})
    assert (refused.status_code, refused.json()["code"]) == (409, "seats_in_use")
    assert refused.json()["extra"] == {"item": "seats", "assigned": 5, "release": 1}
    done = api.post(f"{pools}/buy", {"count": -1, "seats": [held[0].public_id]})
    assert done.status_code == 200
    assert api.get(f"seats/{held[0].public_id}").json()["leaves_at"] == "2026-04-01T00:00:00Z"


def test_a_file_is_looked_at_and_applied(api: Api, team: SubscriptionFacts) -> None:
    bulk = f"subscriptions/{team.public_id}/seats/bulk"
    body = {"csv": "person\na@clinic.example\nb@clinic.example\n"}
    seen = api.post(bulk, {**body, "dry_run": True}).json()
    assert ([row["outcome"] for row in seen["rows"]], seen["applied"]) == (["invite"] * 2, False)
    assert api.get("seats").json()["data"] == []
    assert api.post(bulk, body).json()["applied"] is True
    assert len(api.get("seats").json()["data"]) == 2
    wrong = api.post(bulk, {"csv": "person\nnobody\n"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bulk_refused")


def test_members_of_the_key_alone_may_be_asked_about(
    api: Api, clinic: Organization, team: SubscriptionFacts
) -> None:
    [nurse] = story.people(clinic, 1)
    story.assign(team, nurse)
    story.know_as(clinic, organization="hospital_456", users={"user_123": nurse})
    body = {"user_id": "user_123", "application_slug": "healos", "external_org_id": "hospital_456"}
    assert api.post("verify-seat", body).json()["has_access"] is True
    stranger = Api(make_key(make_organization("stranger"), ["seats:verify"]))
    assert stranger.post("verify-seat", body).json()["reason"] == "unknown_organization"
    platform = Api(make_key(None, ["seats:verify"]))
    assert platform.post("verify-seat", body).json()["has_access"] is True
