"""Alerts and anomalies by command, on a database where transactions commit."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from apps.core import clock
from apps.tenants.models import Organization
from tests.commands.shell import run, run_json
from tests.watch import world
from tests.watch.world import DAY, HOUR, NOW


@pytest.fixture
def acme(committed_db: str) -> Organization:
    world.open_shop()
    row = world.customer()
    world.subscribe(row, start=NOW - 14 * DAY)
    return row


def test_alerts_are_raised_once(acme: Organization) -> None:
    world.rule(acme, "percent_of_included", percent=Decimal(80))
    world.call(acme, 90)
    with clock.frozen(NOW):
        [alert] = run_json("evaluate_alerts", "--organization", "acme")["alerts"]
        assert (alert["kind"], alert["figure"], alert["limit"]) == (
            "percent_of_included",
            "90",
            "80",
        )
        assert run_json("evaluate_alerts", "--everything")["alerts"] == []
        assert run("evaluate_alerts").code == 0


def test_an_alert_is_printed_as_people_write_it(acme: Organization) -> None:
    world.rule(acme, "credits", amount=Decimal(10), currency="USD")
    world.rule(acme, "percent_of_included", percent=Decimal(80))
    world.call(acme, 90)
    with clock.frozen(NOW):
        printed = run("evaluate_alerts", "--organization", "acme").out
    assert "0.00 USD" in printed
    assert "10.00 USD" in printed
    assert "90 %" in printed


def test_the_last_hour_of_one_organization_is_judged(acme: Organization) -> None:
    world.steadily(acme, NOW - 30 * DAY, NOW)
    world.answer(acme, [(NOW, 900)])
    world.roll_up()
    with clock.frozen(NOW + HOUR + timedelta(minutes=6)):
        found = run_json("detect_anomalies", "--org", "acme")
        assert found["hours"] == ["2026-04-15T12:00:00Z"]
        [one] = found["anomalies"]
        assert (one["meter"], one["direction"], one["seen"]) == ("tokens", "spike", "900")
        before = run_json("detect_anomalies", "--org", "acme", "--as-of", "2026-04-15T12:30:00Z")
        assert (before["hours"], before["anomalies"]) == (["2026-04-15T11:00:00Z"], [])
        assert run("detect_anomalies").code == 0
