"""Alert rules, alerts and anomalies over HTTP."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from apps.core import rls
from apps.watch import services
from apps.watch.models import AlertRule, Anomaly
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.watch.rows import spike, watched
from tests.worlds import NOW, World


@pytest.fixture
def anomaly(world: World) -> Anomaly:
    with rls.ops_scope("test"):
        return spike(world.id, meter="ai_requests", at=NOW)


def listed(api: Api, path: str, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(path, query).json()["data"]
    return found


def test_a_rule_is_set_listed_and_ended(api: Api, world: World) -> None:
    said = {"kind": "percent_of_included", "meter": "ai_requests", "percent": "80"}
    made = api.post("alert-rules", said)
    assert made.status_code == 201
    rule = made.json()
    assert (rule["percent"], rule["amount"], rule["active"]) == ("80", None, True)
    assert api.post("alert-rules", said).json()["id"] == rule["id"]
    assert [one["id"] for one in listed(api, "alert-rules", active="true")] == [rule["id"]]
    ended = api.call("delete", f"alert-rules/{rule['id']}", {}).json()
    assert (ended["active"], ended["ended_at"]) == (False, "2023-12-10T12:00:00Z")
    assert listed(api, "alert-rules", active="true") == []


def test_an_amount_is_in_minor_units(api: Api, world: World) -> None:
    made = api.post("alert-rules", {"kind": "credits", "amount": 12_50}).json()
    assert (made["amount"], made["currency"], made["percent"]) == (12_50, "USD", None)


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "weather", "percent": "5"},
        {"kind": "percent_of_included"},
        {"kind": "percent_of_included", "percent": "0"},
        {"kind": "percent_of_included", "percent": "0.001"},
        {"kind": "amount", "amount": -1},
        {"kind": "credits", "amount": 5, "currency": "XXX"},
        {"kind": "percent_of_included", "percent": "5", "meter": "nothing"},
    ],
)
def test_a_rule_that_means_nothing_is_refused(
    api: Api, world: World, said: dict[str, object]
) -> None:
    assert api.post("alert-rules", said).status_code in {400, 404}
    with rls.ops_scope("test"):
        assert not AlertRule.objects.exists()


def test_an_unknown_meter_is_told_what_there_is(api: Api, world: World) -> None:
    said = {"kind": "percent_of_included", "percent": "5", "meter": "nothing"}
    told = api.post("alert-rules", said).json()["detail"]
    assert told.startswith("There is no meter 'nothing'; there is ai_requests, ")
    assert "load_catalog" not in told


def test_a_platform_key_says_whose_rule_it_is(platform: Api, world: World) -> None:
    said = {"kind": "credits", "amount": 5}
    refused = platform.post("alert-rules", said)
    assert (refused.status_code, refused.json()["param"]) == (400, "organization")
    made = platform.post("alert-rules", {**said, "organization": "acme"})
    assert made.json()["organization"] == world.organization.public_id


def test_rules_for_all_are_not_shown(api: Api, platform: Api, world: World) -> None:
    with rls.ops_scope("test"):
        services.set_rule(
            None, kind="percent_of_included", percent=Decimal(50), actor=STAFF, at=NOW
        )
    assert listed(api, "alert-rules") == listed(platform, "alert-rules") == []


def test_alerts_are_listed_with_their_figures(api: Api, world: World) -> None:
    with rls.ops_scope("test"):
        watched(world.id, meter="ai_requests", actor=STAFF, at=NOW)
    [alert] = listed(api, "alerts")
    assert (alert["figure"], alert["limit"], alert["quantity"]) == ("81.5", "80", "815")


def test_amounts_are_for_who_may_see_invoices(api: Api, world: World) -> None:
    made = api.post("alert-rules", {"kind": "credits", "amount": 5_00}).json()
    services.evaluate_alerts(actor=STAFF, at=NOW, organization_ids=[world.id])
    reader = Api(worlds.make_key(world.organization, ["usage:read"]))
    for who, limit in ((api, "500"), (reader, None)):
        [alert] = listed(who, "alerts")
        assert (alert["kind"], alert["limit"]) == ("credits", limit)
        assert (alert["figure"] is None) == (limit is None)
    assert [one["amount"] for one in listed(reader, "alert-rules")] == [None]
    assert reader.get(f"alert-rules/{made['id']}").json()["amount"] is None
    assert api.get(f"alert-rules/{made['id']}").json()["amount"] == 5_00


def test_an_anomaly_is_read_and_acknowledged(api: Api, world: World, anomaly: Anomaly) -> None:
    [one] = listed(api, "anomalies", status="open", meter="ai_requests")
    assert (one["seen"], one["low"], one["high"]) == ("900", "70", "130")
    assert (one["dimension"], one["dimension_value"]) == ("region", "us")
    path = f"anomalies/{anomaly.public_id}"
    done = api.post(f"{path}/acknowledge", {"reason": "a launch"}).json()
    assert (done["status"], done["reason"]) == ("acknowledged", "a launch")
    assert api.post(f"{path}/acknowledge", {}).status_code == 200
    with rls.ops_scope("test"):
        services.resolve_anomaly(anomaly.public_id, reason="over", actor=STAFF, at=NOW)
    again = api.post(f"{path}/acknowledge", {}).json()
    assert (again["status"], again["code"]) == (409, "anomaly_decided")
