"""Staff write campaigns, look at what they would do, and decide about runs."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.core import rls
from apps.dunning.models import Campaign, CampaignVersion, Run
from tests.backoffice.pages import acts, again, page, post, rows, text, url
from tests.conftest import STAFF
from tests.dunning.rows import dunned
from tests.worlds import NOW, World

STEPS = "1d remind final\n8d unpaid"


@pytest.fixture
def run(world: World) -> Run:
    with rls.ops_scope("test"):
        return dunned(world.id, actor=STAFF, at=NOW)


def standard() -> Campaign:
    row: Campaign
    [row] = [one for one in rows(Campaign) if one.name == "Standard"]
    return row


def test_a_run_shows_what_has_happened_and_what_comes(support: Client, run: Run) -> None:
    shown = text(support.get(page(run)))
    for words in ("insufficient_funds", "A payment failed", "1d past_due", "Standard, version 2"):
        assert words in shown
    assert run.number in text(support.get(url(Run), {"standing": "open"}))
    assert run.number not in text(support.get(url(Run), {"standing": "over"}))


def test_finance_pauses_resumes_and_stops(finance: Client, run: Run) -> None:
    assert post(finance, page(run, "pause"), reason="").status_code == 400
    said = {"reason": "pays on the 20th", "until": "2023-12-20 00:00"}
    assert post(finance, page(run, "pause"), **said).status_code == 302
    assert (again(run).status, again(run).paused_until.day) == ("paused", 20)
    assert post(finance, page(run, "resume")).status_code == 302
    assert again(run).status == "running"
    assert post(finance, page(run, "stop"), reason="our mistake").status_code == 302
    assert (again(run).status, again(run).outcome) == ("ended", "stopped")
    assert finance.get(page(run, "stop")).status_code == 409
    assert ("staff", "dunning.ended", run.public_id) in acts()


def test_support_decides_nothing(support: Client, run: Run) -> None:
    for act in ("pause", "resume", "stop"):
        assert post(support, page(run, act), reason="no").status_code == 403
    assert again(run).status == "running"


def test_a_campaign_is_defined_changed_and_ended(
    finance: Client, support: Client, world: World
) -> None:
    said = {"name": "Gateway", "steps": STEPS, "hour": "10", "plans": "gateway"}
    assert post(support, url(Campaign, "create"), **said).status_code == 403
    wrong = post(finance, url(Campaign, "create"), **{**said, "steps": "1d sue"})
    assert (wrong.status_code, "is none of remind" in text(wrong)) == (400, True)
    assert post(finance, url(Campaign, "create"), **said).status_code == 302
    [row] = [one for one in rows(Campaign) if one.name == "Gateway"]
    assert row.plans == ["gateway"]
    changed = {**said, "steps": f"{STEPS}\n30d cancel"}
    assert post(finance, page(row, "edit"), **changed).status_code == 302
    versions = [one for one in rows(CampaignVersion) if one.campaign_id == row.pk]
    assert [len(one.steps) for one in sorted(versions, key=lambda one: one.number)] == [2, 3]
    assert post(finance, page(row, "end")).status_code == 302
    assert again(row).ended_at == NOW
    assert finance.get(page(standard(), "end")).status_code == 409


def test_a_preview_shows_every_date_and_mail_and_writes_nothing(
    support: Client, world: World
) -> None:
    said = {"invoice": world.second_invoice, "because": "failed", "decline": "method"}
    shown = post(support, page(standard(), "preview"), **said)
    assert shown.status_code == 200
    for words in ("0 remind reminder if failed", "21d unpaid", "The card can no longer be charged"):
        assert words in text(shown)
    assert "Access has ended: invoice" in text(shown)
    assert rows(Run) == []
    unknown = post(support, page(standard(), "preview"), **{**said, "invoice": "nothing"})
    assert unknown.status_code == 404
