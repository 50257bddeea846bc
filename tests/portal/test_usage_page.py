"""The usage page: forecasts, hours, dimensions, files, and what installations report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from apps.core import clock, rls
from apps.usage import services
from apps.usage.checking import NewEvent
from apps.usage.devices import NewReport
from tests.conftest import STAFF
from tests.portal import world
from tests.portal.conftest import signed_in
from tests.portal.test_money_pages import sub_of, text
from tests.portal.world import Customer


@pytest.fixture
def owner(acme: Customer) -> Client:
    return signed_in(acme.owner)


@pytest.fixture
def regions(acme: Customer) -> None:
    """Twenty requests in a week of December: most from the EU, one from a formula."""
    with rls.ops_scope("test: dimensions"):
        services.define_meter(
            "ai_requests",
            event_type="ai.request",
            aggregation="count",
            dimensions=["region"],
            unit="request",
            description="Requests to the gateway",
            actor=STAFF,
            at=world.NOW,
        )
    said = ["eu"] * 12 + ["us"] * 7 + ["=cmd()"]
    first = datetime(2023, 12, 4, 9, tzinfo=UTC)
    events = [
        NewEvent("test", f"r-{n}", "ai.request", first + timedelta(hours=n), {"region": region})
        for n, region in enumerate(said)
    ]
    with rls.tenant_scope(acme.organization.pk):
        services.ingest(acme.organization.pk, events=events, actor=STAFF, at=world.NOW)


@pytest.mark.usefixtures("regions")
def test_the_period_under_way_says_where_it_is_heading(owner: Client) -> None:
    assert "Likely" in text(owner, "usage/")
    assert "As fast as in the period so far." in text(owner, "usage/")
    assert "Likely" not in text(owner, "usage/?period=previous")


def test_the_last_twelve_periods_are_offered(acme: Customer) -> None:
    with clock.frozen(datetime(2025, 3, 10, tzinfo=UTC)):
        page = signed_in(acme.owner).get("/portal/usage/?period=11").content.decode()
    assert page.count("<option") == 12
    assert '<option value="11" selected>1 Apr 2024 – 30 Apr 2024</option>' in page
    assert "It does not go back that far" not in page


def test_a_period_of_before_the_start_is_the_current_one(owner: Client) -> None:
    page = owner.get("/portal/usage/?period=11").content.decode()
    assert page.count("<option") == 2
    assert "It does not go back that far" in page


@pytest.mark.usefixtures("regions")
def test_usage_is_broken_down_by_a_dimension(owner: Client) -> None:
    page = text(owner, "usage/?by=region")
    assert "eu 12 12 us 7 7" in page
    assert "=cmd() 1 1" in page
    assert "eu 12 12" not in text(owner, "usage/?by=nonsense")


@pytest.mark.usefixtures("regions")
def test_the_last_hours_have_a_chart_and_a_table(acme: Customer) -> None:
    with clock.frozen(datetime(2023, 12, 5, 2, 30, tzinfo=UTC)):
        page = text(signed_in(acme.owner), "usage/?grain=hour")
    assert "Hour Quantity Events" in page


@pytest.mark.usefixtures("regions")
def test_the_csv_follows_the_view_and_runs_nothing(acme: Customer, owner: Client) -> None:
    address = f"/portal/usage/{sub_of(acme)}/ai_requests.csv?by=region"
    rows = owner.get(address).content.decode().splitlines()
    assert rows[0] == "start,end,meter,region,quantity,events"
    assert "2023-12-05T00:00:00Z,2023-12-06T00:00:00Z,ai_requests,'=cmd(),1,1" in rows
    plain = owner.get(address.replace("?by=region", "?grain=hour")).content.decode().splitlines()
    assert len(plain) == 1 + 31 * 24


def test_installations_show_their_last_report(acme: Customer, owner: Client) -> None:
    assert "Your installations" not in text(owner, "usage/")
    with rls.tenant_scope(acme.organization.pk):
        for active, moment in ((3, world.NOW - timedelta(hours=1)), (4, world.NOW)):
            services.report_devices(
                acme.organization.pk,
                report=NewReport("plant-1", active, 9, moment),
                actor=STAFF,
                at=world.NOW,
            )
    page = text(owner, "usage/")
    assert "plant-1 4 9" in page
    assert "plant-1 3 9" not in page
