"""Device reports over HTTP, at our addresses and at the former ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.core import rls
from apps.usage import selectors, services
from apps.usage.devices import NewReport, last_reports
from apps.usage.models import DeviceReport, Event
from apps.usage.selectors import Want
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World

PLANT = {"instance_id": "plant-1", "active_devices": 42, "total_devices": 50}
EARLIER = "2023-12-09T06:00:00Z"


def stored(world: World) -> int:
    with rls.ops_scope("test"):
        return DeviceReport.objects.filter(organization_id=world.id).count()


def report(world: World, instance: str, active: int, days_ago: int) -> None:
    moment = NOW - timedelta(days=days_ago)
    with rls.tenant_scope(world.id):
        services.report_devices(
            world.id, report=NewReport(instance, active, 50, moment), actor=STAFF, at=moment
        )


def test_the_same_report_is_stored_once(api: Api, world: World) -> None:
    first = api.post("usage/reports", {**PLANT, "reported_at": EARLIER})
    again = api.post("usage/reports", {**PLANT, "reported_at": EARLIER})
    assert (first.status_code, again.json()["id"]) == (201, first.json()["id"])
    assert {key: first.json()[key] for key in PLANT} == PLANT
    other = {**PLANT, "reported_at": EARLIER, "active_devices": 41}
    assert api.post("usage/reports", other).json()["code"] == "report_differs"
    assert stored(world) == 1


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"active_devices": 51}, "active_devices"),
        ({"active_devices": -1}, "/active_devices"),
        ({"active_devices": True}, "/active_devices"),
        ({"total_devices": 10**10}, "/total_devices"),
        ({"total_devices": "50"}, "/total_devices"),
        ({"instance_id": "no blanks"}, "instance_id"),
        ({"instance_id": "x" * 97}, "/instance_id"),
        ({"instance_id": ""}, "/instance_id"),
        ({"reported_at": "2023-12-10T12:06:00Z"}, "reported_at"),
        ({"reported_at": "2023-09-01T00:00:00Z"}, "reported_at"),
        ({"devices": 1}, "/devices"),
    ],
)
def test_a_report_that_cannot_be_is_refused(
    api: Api, world: World, wrong: dict[str, Any], param: str
) -> None:
    problem = api.post("usage/reports", {**PLANT, **wrong}).json()
    assert problem["status"] == 400
    named = [error.get("pointer") for error in problem.get("errors", [])]
    assert param in {problem.get("param"), *named}
    assert stored(world) == 0


def test_a_report_counts_where_a_meter_reads_it(api: Api, world: World) -> None:
    api.post("usage/reports", {**PLANT, "reported_at": "2023-12-08T00:00:00Z"})
    with rls.ops_scope("test"):
        services.define_meter(
            "devices",
            event_type="device.report",
            aggregation="max",
            value="active_devices",
            dimensions=["instance_id"],
            actor=STAFF,
            at=NOW,
        )
    for _ in range(2):
        api.post("usage/reports", {**PLANT, "reported_at": EARLIER})
    api.post("usage/reports", {**PLANT, "instance_id": "plant-2", "active_devices": 7})
    with rls.tenant_scope(world.id):
        [found] = selectors.measure(
            world.id, [Want("devices", datetime(2023, 12, 1, tzinfo=UTC), NOW + timedelta(hours=1))]
        )
        assert (found.quantity, found.event_count) == (Decimal(42), 2)
        assert Event.objects.filter(type="device.report").count() == 2


def test_reports_are_listed_and_the_last_of_each_instance(api: Api, world: World) -> None:
    for instance, active, days_ago in [("a", 1, 3), ("b", 9, 2), ("a", 2, 1)]:
        report(world, instance, active, days_ago)
    listed = api.get("usage/reports").json()["data"]
    assert [(one["instance_id"], one["active_devices"]) for one in listed] == [
        ("a", 2), ("b", 9), ("a", 1),
    ]  # fmt: skip
    of_a = api.get("usage/reports", {"instance_id": "a", "limit": "1"}).json()
    assert ([one["active_devices"] for one in of_a["data"]], of_a["has_more"]) == ([2], True)
    latest = api.get("usage/reports/latest").json()["data"]
    assert [(one["instance_id"], one["active_devices"]) for one in latest] == [("a", 2), ("b", 9)]
    with rls.tenant_scope(world.id):
        assert [one.active for one in last_reports(world.id)] == [2, 9]


def test_old_reports_are_forgotten_on_request(api: Api, world: World, stranger: World) -> None:
    for owner in (world, stranger):
        for days_ago in (1, 31, 91):
            report(owner, "plant", 1, days_ago)
    call = api.call
    assert call("DELETE", "usage/reports", {}).json()["deleted"] == 1
    assert call("DELETE", "usage/reports", {"older_than_days": 30}).json()["deleted"] == 1
    assert call("DELETE", "usage/reports", {"older_than_days": 0}).status_code == 400
    assert (stored(world), stored(stranger)) == (1, 3)


def test_the_platform_forgets_for_everybody(platform: Api, world: World, stranger: World) -> None:
    for owner in (world, stranger):
        report(owner, "plant", 1, 91)
    assert platform.get("usage/reports/latest").json()["param"] == "organization"
    assert platform.call("DELETE", "usage/reports", {}).json()["deleted"] == 2


def test_parameters_that_nobody_reads_delete_nothing(platform: Api, world: World) -> None:
    report(world, "plant-1", 1, days_ago=91)
    refused = platform.call("DELETE", "usage/reports", query={"organization": "other"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert refused.json()["param"] == "organization"
    assert stored(world) == 1


def test_the_former_addresses_answer_in_their_spelling(api: Api, world: World) -> None:
    body = {"customer_id": "acme", **PLANT, "reported_at": EARLIER}
    made = api.post("/api/usage/report", body)
    row = {"customer_id": world.organization.public_id, **PLANT, "reported_at": EARLIER}
    assert (made.status_code, made.json()) == (201, {"status": "success", "data": row})
    api.post("/api/usage/report", {**PLANT, "instance_id": "plant-2"})
    history = api.get("/api/usage/acme").json()["data"]
    assert [one["instance_id"] for one in history] == ["plant-2", "plant-1"]
    assert api.get("/api/usage/acme/latest").json()["data"]["instance_id"] == "plant-2"
    report(world, "old", 1, 91)
    gone = api.call("DELETE", "/api/usage/cleanup")
    assert gone.json()["data"]["deleted"] == 1


def test_the_former_addresses_tell_strangers_nothing(api: Api, stranger: World) -> None:
    report(stranger, "plant", 1, 1)
    refused = [
        api.get("/api/usage/globex"),
        api.get("/api/usage/globex/latest"),
        api.post("/api/usage/report", {"customer_id": "globex", **PLANT}),
    ]
    assert {one.status_code for one in refused} == {404}
    assert stored(stranger) == 1
    assert Api(None).get("/api/usage/globex").status_code == 401


def test_without_the_right_nothing_is_stored(world: World) -> None:
    reader = Api(worlds.make_key(world.organization, ["usage:read"]))
    assert reader.post("usage/reports", PLANT).status_code == 403
    assert reader.call("DELETE", "usage/reports", {}).status_code == 403
    assert stored(world) == 0
