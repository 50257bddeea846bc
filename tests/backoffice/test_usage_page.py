"""An organization's usage as staff see it."""

from __future__ import annotations

import re
from datetime import timedelta

from django.test import Client
from django.urls import reverse

from apps.core import rls
from apps.usage import services
from apps.usage.checking import NewEvent
from apps.usage.devices import NewReport
from apps.usage.models import DeviceReport, UsageSeal
from tests import worlds
from tests.backoffice.pages import page, post, rows, text, url
from tests.conftest import STAFF
from tests.worlds import NOW, World


def address(world: World) -> str:
    return reverse("admin:tenants_organization_usage", args=[world.id])


def by_region(world: World) -> None:
    with rls.ops_scope("test: dimensions"):
        services.define_meter(
            "ai_requests",
            event_type="ai.request",
            aggregation="count",
            dimensions=["region"],
            unit="request",
            description="Requests to the gateway",
            actor=STAFF,
            at=NOW,
        )
    sent = [
        NewEvent("test", f"r-{n}", "ai.request", NOW, {"region": name})
        for n, name in enumerate(["eu", "eu", "@us"])
    ]
    worlds.send(world.organization, sent)


def test_staff_see_where_usage_stands_and_is_heading(admin: Client, world: World) -> None:
    shown = text(admin.get(address(world)))
    assert "run rate" in shown
    assert re.findall(r"[0-9.]+ USD", shown) == [
        "0.00 USD", "0.00 USD", "1.50 USD", "4.89 USD", "0.01 USD", "0.01 USD",
    ]  # fmt: skip
    assert address(world) in text(admin.get(page(world.organization)))


def test_staff_break_usage_down_and_take_it_along(admin: Client, world: World) -> None:
    by_region(world)
    asked = {"meter": "ai_requests", "by": "region"}
    assert "By region" in text(admin.get(address(world), asked))
    sent = admin.get(address(world), {**asked, "format": "csv"}).content.decode().splitlines()
    assert sent[0] == "start,end,meter,region,quantity,events"
    assert "2023-12-10T00:00:00Z,2023-12-11T00:00:00Z,ai_requests,'@us,1,1" in sent
    assert admin.get(address(world), {"meter": "nothing"}).status_code == 404


def test_nobody_else_sees_it(owner: Client, world: World) -> None:
    for client in (owner, Client()):
        assert client.get(address(world))["Location"].startswith("/admin/login/")


def test_staff_delete_old_device_reports(admin: Client, support: Client, world: World) -> None:
    with rls.tenant_scope(world.id):
        services.report_devices(
            world.id, report=NewReport("plant", 1, 2), actor=STAFF, at=worlds.START
        )
    act = url(DeviceReport, "clean_up")
    assert post(support, act, days="30").status_code in {302, 403, 404}
    assert len(rows(DeviceReport)) == 1
    assert post(admin, act, days="30").status_code == 302
    assert rows(DeviceReport) == []


def test_a_seal_is_found_and_told(support: Client, world: World) -> None:
    with rls.ops_scope("test"):
        seal = UsageSeal.objects.create(
            organization_id=world.id,
            since=NOW - timedelta(days=60),
            until=NOW - timedelta(days=30),
            closed_until=NOW - timedelta(days=30),
            events=12_345,
            buckets="b" * 64,
            proof="f" * 64,
            sealed_at=NOW,
        )
    assert page(seal) in text(support.get(url(UsageSeal)))
    assert url(UsageSeal) in text(support.get("/admin/"))
    shown = text(support.get(page(seal)))
    for words in ("12,345", "f" * 64, seal.public_id):
        assert words in shown
