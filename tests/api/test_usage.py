"""Usage read over HTTP: windows, included units, series."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.core import clock, rls
from apps.usage import services as usage
from apps.usage.checking import NewEvent
from tests import worlds
from tests.api.client import Api
from tests.conftest import STAFF
from tests.worlds import NOW, World

NOVEMBER = {"start": "2023-11-01T00:00:00Z", "end": "2023-12-01T00:00:00Z"}


def test_the_current_period_of_every_priced_meter(api: Api, world: World) -> None:
    listed = api.get("usage").json()["data"]
    told = [(one["meter"], one["quantity"], one["included"], one["event_count"]) for one in listed]
    assert told == [
        ("ai_requests", "1", "5000", 1),
        ("context_tokens", "1000000", "0", 1),
        ("generated_tokens", "500", "0", 1),
    ]
    assert {one["subscription"] for one in listed} == {world.subscription.public_id}
    assert {(one["start"], one["end"]) for one in listed} == {
        ("2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z")
    }


def test_a_window_of_ones_own(api: Api) -> None:
    listed = api.get("usage", NOVEMBER).json()["data"]
    assert [one["quantity"] for one in listed] == ["3", "3000000", "1500"]
    found = api.get("usage/ai_requests", {**NOVEMBER, "start": "2023-11-03T10:00:00Z"}).json()
    assert (found["quantity"], found["start"]) == ("2", "2023-11-03T10:00:00Z")


def test_half_a_window_takes_the_rest_from_the_current_period(api: Api) -> None:
    found = api.get("usage/ai_requests", {"start": "2023-11-01T00:00:00Z"}).json()
    assert (found["quantity"], found["end"]) == ("4", "2024-01-01T00:00:00Z")


def test_the_hash_is_the_one_on_the_invoice_line(api: Api, world: World) -> None:
    lines = api.get(f"invoices/{world.second_invoice}").json()["lines"]
    [line] = [line for line in lines if line["key"] == "ai_requests"]
    found = api.get("usage/ai_requests", NOVEMBER).json()
    assert found["events_hash"] == line["explanation"]["usage"]["events_hash"]
    assert found["event_count"] == line["explanation"]["usage"]["event_count"] == 3


def test_a_series_tiles_the_window(api: Api) -> None:
    found = api.get("usage/ai_requests", {**NOVEMBER, "grain": "day"}).json()
    assert len(found["series"]) == 30
    assert [point["quantity"] for point in found["series"]][:5] == ["0", "1", "1", "1", "0"]
    edges = [(point["start"], point["end"]) for point in found["series"]]
    assert edges[0][0] == NOVEMBER["start"]
    assert edges[-1][1] == NOVEMBER["end"]
    assert all(left[1] == right[0] for left, right in itertools.pairwise(edges))


def test_days_are_the_organizations_own(db: None) -> None:
    with clock.frozen(NOW):
        world = worlds.gateway_world("berlin", timezone="Europe/Berlin")
        api = Api(worlds.make_key(world.organization))
        window = {"start": "2023-11-02T00:00:00Z", "end": "2023-11-03T00:00:00Z", "grain": "day"}
        series = api.get("usage/ai_requests", window).json()["series"]
    assert [(point["start"], point["quantity"]) for point in series] == [
        ("2023-11-02T00:00:00Z", "1"),
        ("2023-11-02T23:00:00Z", "0"),
    ]


def test_a_meter_that_nothing_is_priced_by_needs_a_window(db: None) -> None:
    with clock.frozen(NOW):
        worlds.load_catalog()
        organization, _ = worlds.make_customer("acme")
        api = Api(worlds.make_key(organization))
        problem = api.get("usage/ai_requests").json()
        found = api.get("usage/ai_requests", NOVEMBER).json()
    assert (problem["status"], problem["param"]) == (400, "start")
    assert (found["included"], found["subscription"], found["quantity"]) == (None, None, "0")
    assert api.get("usage").json()["data"] == []


def test_the_platform_says_whose(platform: Api) -> None:
    problem = platform.get("usage").json()
    assert (problem["status"], problem["param"]) == (400, "organization")
    assert platform.get("usage", {"organization": "acme"}).json()["data"][0]["quantity"] == "1"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"start": "2024-01-02T00:00:00Z", "end": "2024-01-01T00:00:00Z"}, "end"),
        ({"start": "2024-01-01T00:00:00Z"}, "end"),
        ({"start": "then"}, "start"),
        ({"start": "0001-01-01T00:00:00Z"}, "start"),
        ({"end": "9999-12-31T23:59:59-14:00"}, "end"),
        ({"grain": "minute"}, "grain"),
        ({**NOVEMBER, "start": "2020-01-01T00:00:00Z", "grain": "day"}, "grain"),
        ({**NOVEMBER, "start": "2023-10-01T00:00:00Z", "grain": "hour"}, "grain"),
        ({"limit": "3"}, "limit"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(
    api: Api, query: dict[str, Any], param: str
) -> None:
    problem = api.get("usage/ai_requests", query).json()
    assert (problem["status"], problem["param"]) == (400, param)
    assert problem["errors"][0]["parameter"] == param


def test_an_unknown_meter_is_404(api: Api) -> None:
    assert api.get("usage/nothing").json()["code"] == "unknown_meter"


@pytest.fixture
def regions(world: World) -> None:
    """Requests are known by region, one of which is a formula."""
    with rls.ops_scope("test: dimensions"):
        usage.define_meter(
            "ai_requests",
            event_type="ai.request",
            aggregation="count",
            dimensions=["region", "model"],
            unit="request",
            description="Requests to the gateway",
            actor=STAFF,
            at=NOW,
        )
    said = ["eu", "eu", "eu", "us", "us", "=1+1"]
    events = [
        NewEvent(
            "test", f"r-{n}", "ai.request", datetime(2023, 12, 6, n, tzinfo=UTC), {"region": x}
        )
        for n, x in enumerate(said)
    ]
    worlds.send(world.organization, events)


@pytest.mark.usefixtures("regions")
def test_groups_are_the_largest_first_and_make_the_whole(api: Api) -> None:
    found = api.get("usage/ai_requests", {"group_by": "region", "top": "2"}).json()
    assert [(one["values"], one["quantity"]) for one in found["groups"]] == [
        ({"region": "eu"}, "3"),
        ({"region": "us"}, "2"),
    ]
    assert found["other"] == {"groups": 2, "quantity": "2", "event_count": 2}
    assert (found["quantity"], found["groups_add_up"]) == ("7", True)


@pytest.mark.usefixtures("regions")
def test_a_filter_has_one_or_more_values(api: Api) -> None:
    one = api.get("usage/ai_requests", {"filter[region]": "eu"}).json()
    two = api.get("usage/ai_requests", {"filter[region]": ["eu", "us"], "grain": "month"}).json()
    assert (one["quantity"], one["filter"]) == ("3", {"region": ["eu"]})
    assert (two["quantity"], [point["quantity"] for point in two["series"]]) == ("5", ["5"])


@pytest.mark.usefixtures("regions")
@pytest.mark.parametrize("way", [{"format": "csv"}, {}])
def test_a_csv_runs_nothing(api: Api, way: dict[str, str]) -> None:
    headers = {} if way else {"Accept": "text/csv"}
    found = api.get("usage/ai_requests", {"group_by": "region,model", **way}, **headers)
    assert found["Content-Type"] == "text/csv; charset=utf-8"
    assert found["Content-Disposition"] == 'attachment; filename="ai_requests-2023-12-01.csv"'
    rows = found.content.decode().splitlines()
    window = "2023-12-01T00:00:00Z,2024-01-01T00:00:00Z,ai_requests"
    assert rows == [
        "start,end,meter,region,model,quantity,events",
        f"{window},eu,,3,3",
        f"{window},us,,2,2",
        f"{window},'=1+1,,1,1",
        f"{window},,,1,1",
    ]


@pytest.mark.usefixtures("regions")
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"group_by": "tokens"}, "unknown_dimension"),
        ({"group_by": "region,region"}, "unknown_dimension"),
        ({"filter[tokens]": "1"}, "unknown_dimension"),
        ({"filter[": "1"}, "invalid_request"),
        ({"top": "0"}, "invalid_request"),
        ({**NOVEMBER, "start": "2010-01-01T00:00:00Z", "grain": "month"}, "invalid_request"),
    ],
)
def test_what_cannot_be_broken_down_is_refused(api: Api, query: dict[str, Any], code: str) -> None:
    problem = api.get("usage/ai_requests", query).json()
    assert (problem["code"], problem["status"] in {400, 422}) == (code, True)
