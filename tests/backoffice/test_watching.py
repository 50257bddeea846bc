"""Staff look at anomalies with their band, decide, and set rules for all."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.core import rls
from apps.tenants.models import Organization
from apps.watch.models import AlertRule, Anomaly, WatchTerms
from tests.backoffice.pages import acts, again, page, post, rows, text, url
from tests.watch.rows import spike
from tests.worlds import NOW, World


@pytest.fixture
def anomaly(world: World) -> Anomaly:
    with rls.ops_scope("test"):
        return spike(world.id, meter="ai_requests", at=NOW)


def test_the_page_shows_what_was_seen_against_the_band(support: Client, anomaly: Anomaly) -> None:
    shown = text(support.get(page(anomaly)))
    for words in ("100 (70 to 130)", "80 spreads", "region us: 98.7 %", "The same hour of earlier"):
        assert words in shown
    assert "beginAtZero" in support.get(page(anomaly)).content.decode()  # values on the axis
    assert 'id="hours"' in shown or "As a table" in shown


@pytest.mark.parametrize("act", ["ignore", "resolve"])
def test_a_decision_needs_a_reason_and_is_recorded(
    finance: Client, anomaly: Anomaly, act: str
) -> None:
    assert post(finance, page(anomaly, act), reason="").status_code == 400
    assert again(anomaly).status == "open"
    assert post(finance, page(anomaly, act), reason="a launch").status_code == 302
    assert again(anomaly).status == {"ignore": "ignored", "resolve": "resolved"}[act]
    assert (f"anomaly.{again(anomaly).status}", anomaly.public_id) in {act[1:] for act in acts()}
    assert finance.get(page(anomaly, "hold")).status_code == 409


def test_drafts_are_held_for_it(finance: Client, anomaly: Anomaly, draft: str) -> None:
    assert post(finance, page(anomaly, "hold")).status_code == 302
    assert {"anomaly.held", "invoice.held"} <= {action for _, action, _ in acts()}


def test_support_decides_nothing(support: Client, anomaly: Anomaly) -> None:
    for act in ("acknowledge", "ignore", "resolve", "hold"):
        assert post(support, page(anomaly, act), reason="no").status_code == 403
    assert again(anomaly).status == "open"


def test_a_rule_for_all_is_set_and_ended(admin: Client, finance: Client, world: World) -> None:
    said = {"kind": "percent_of_included", "percent": "80"}
    create = url(AlertRule, "create")
    assert post(finance, create, **said).status_code == 403
    assert post(admin, create, **said).status_code == 302
    [rule] = rows(AlertRule)
    assert (rule.organization_id, rule.percent) == (None, 80)
    assert post(admin, page(rule, "end")).status_code == 302
    assert again(rule).active is False


def test_how_usage_is_watched_is_said_for_all_and_for_one(finance: Client, world: World) -> None:
    said = {"watched": "on", "hold_from": "critical", "least_events": "50"}
    assert post(finance, url(AlertRule, "terms"), **said).status_code == 302
    organization = Organization(pk=world.id)
    assert post(finance, page(organization, "watching"), least_events="5").status_code == 302
    usual, own = sorted(rows(WatchTerms), key=lambda row: row.pk)
    assert (usual.organization_id, usual.hold_from, usual.least_events) == (None, "critical", 50)
    assert (own.organization_id, own.watched, own.hold_from) == (world.id, False, "")


def test_open_anomalies_are_on_the_dashboard(admin: Client, anomaly: Anomaly) -> None:
    assert "Open anomalies" in text(admin.get("/admin/"))
