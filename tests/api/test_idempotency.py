"""`Idempotency-Key`: the same request once, whatever happens to the answer."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core import clock, rls
from apps.core.models import IdempotencyKey
from apps.tenants.models import Organization
from tests import worlds
from tests.api.client import Api
from tests.races import at_once
from tests.worlds import NOW, World

KEY = {"Idempotency-Key": "0190-key"}
NEW = {"slug": "initech", "name": "Initech"}


def slugs() -> list[str]:
    with rls.ops_scope("test"):
        return sorted(Organization.objects.values_list("slug", flat=True))


def stored_keys() -> int:
    with rls.ops_scope("test"):
        return IdempotencyKey.objects.count()


def test_the_same_request_gets_the_same_answer_and_happens_once(platform: Api) -> None:
    first = platform.post("organizations", NEW, **KEY)
    again = platform.post("organizations", NEW, **KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert slugs() == ["acme", "initech"]


def test_without_a_key_the_second_request_is_a_second_one(platform: Api) -> None:
    assert platform.post("organizations", NEW).status_code == 201
    assert platform.post("organizations", NEW).json()["code"] == "slug_taken"


def test_another_body_under_the_key_is_refused(platform: Api) -> None:
    platform.post("organizations", NEW, **KEY)
    reply = platform.post("organizations", {**NEW, "slug": "other"}, **KEY)
    assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    assert slugs() == ["acme", "initech"]


def test_another_address_under_the_key_is_refused(platform: Api, stranger: World) -> None:
    body = {"name": "Renamed"}
    assert platform.patch("organizations/acme", body, **KEY).status_code == 200
    reply = platform.patch("organizations/globex", body, **KEY)
    assert reply.json()["code"] == "idempotency_key_reused"
    assert platform.get("organizations/globex").json()["name"] == "Globex"


def test_a_key_belongs_to_who_sent_it(world: World, stranger: World) -> None:
    body = {"reason": "done"}
    for one in (world, stranger):
        api = Api(worlds.make_key(one.organization))
        reply = api.post(f"subscriptions/{one.subscription.public_id}/cancel", body, **KEY)
        assert "Idempotent-Replayed" not in reply
        assert reply.json()["cancel_reason"] == "done"


def test_a_key_does_not_open_what_the_scope_closes(world: World) -> None:
    path, body = "organizations/acme", {"name": "Renamed"}
    full = Api(worlds.make_key(world.organization))
    full.patch(path, body, **KEY)
    reader = Api(worlds.make_key(world.organization, ["organizations:read"]))
    assert reader.patch(path, body, **KEY).status_code == 403


def test_a_refusal_is_not_kept_so_the_request_may_be_tried_again(platform: Api) -> None:
    taken = {**NEW, "slug": "acme"}
    assert platform.post("organizations", taken, **KEY).status_code == 409
    assert stored_keys() == 0
    assert platform.post("organizations", NEW, **KEY).status_code == 201


def test_a_change_in_between_does_not_show_in_the_stored_answer(api: Api, world: World) -> None:
    path = f"subscriptions/{world.subscription.public_id}"
    first = api.patch(path, {"quantity": 5}, **KEY).json()
    with clock.frozen(NOW.replace(hour=13)):
        api.patch(path, {"quantity": 9})
        assert api.patch(path, {"quantity": 5}, **KEY).json() == first
        now = {item["key"]: item["quantity"] for item in api.get(path).json()["items"]}
    assert now["seats"] == "9"


@pytest.mark.committed
def test_eight_at_once_make_one(committed_db: str) -> None:
    key = worlds.make_key(None)

    def create() -> tuple[int, str, Any]:
        reply = Api(key).post("organizations", NEW, **KEY)
        return reply.status_code, reply.json().get("code", ""), reply.json().get("id")

    answers = at_once(8, create)
    made = {found for status, _, found in answers if status == 201}
    assert len(made) == 1
    assert {(status, code) for status, code, _ in answers} <= {
        (201, ""),
        (409, "idempotency_in_flight"),
    }
    assert slugs() == ["initech"]
    assert create() == (201, "", made.pop())
