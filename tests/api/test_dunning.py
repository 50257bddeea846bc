"""Dunning over HTTP: runs are looked at by customers, and decided on by the platform."""

from __future__ import annotations

import pytest

from apps.core import rls
from apps.dunning.models import Run
from tests.api.client import Api
from tests.conftest import STAFF
from tests.dunning.rows import dunned
from tests.worlds import NOW, World


@pytest.fixture
def run(world: World) -> Run:
    with rls.ops_scope("test"):
        return dunned(world.id, actor=STAFF, at=NOW)


def test_a_customer_sees_what_has_happened_and_what_comes(api: Api, world: World, run: Run) -> None:
    [found] = api.get("dunning-runs", {"status": "running"}).json()["data"]
    assert (found["id"], found["because"], found["level"]) == (run.public_id, "failed", "")
    assert (found["campaign"], found["version"]) == ("Standard", 2)
    shown = api.get(f"dunning-runs/{run.public_id}").json()
    assert [(one["kind"], one["note"]) for one in shown["history"]] == [
        ("begun", "Standard, version 2"),
        ("failed", "insufficient_funds"),
    ]
    assert [(one["at"], one["step"]) for one in shown["coming"]][:3] == [
        ("2023-12-10T12:00:00Z", "0 remind reminder if failed"),
        ("2023-12-11T09:00:00Z", "1d past_due"),
        ("2023-12-12T09:00:00Z", "2d retry if failed"),
    ]


def test_the_platform_pauses_resumes_and_stops(platform: Api, world: World, run: Run) -> None:
    path = f"dunning-runs/{run.public_id}"
    wait = {"reason": "pays on the 20th", "until": "2023-12-20T00:00:00Z"}
    paused = platform.post(f"{path}/pause", wait).json()
    assert (paused["status"], paused["paused_until"]) == ("paused", "2023-12-20T00:00:00Z")
    resumed = platform.post(f"{path}/resume", {}).json()
    assert (resumed["status"], resumed["history"][-1]["kind"]) == ("running", "resumed")
    stopped = platform.post(f"{path}/stop", {"reason": "our mistake"}).json()
    assert (stopped["status"], stopped["outcome"]) == ("ended", "stopped")
    again = platform.post(f"{path}/stop", {"reason": "our mistake"})
    assert (again.status_code, again.json()["code"]) == (409, "dunning_run_over")


def test_a_customer_decides_nothing(api: Api, world: World, run: Run) -> None:
    for what in ("pause", "resume", "stop"):
        body = {} if what == "resume" else {"reason": "please"}
        assert api.post(f"dunning-runs/{run.public_id}/{what}", body).status_code == 403
    with rls.ops_scope("test"):
        assert Run.objects.get(pk=run.pk).status == "running"


def test_what_would_come_is_shown_with_its_mails(platform: Api, world: World) -> None:
    path = f"invoices/{world.second_invoice}/dunning-preview"
    shown = platform.get(path, {"because": "failed", "decline_class": "method"}).json()
    assert (shown["campaign"], len(shown["steps"])) == ("Standard", 11)
    first = shown["steps"][0]
    assert first["step"] == "0 remind reminder if failed"
    assert first["subject"].startswith("Reminder: ")
    assert "The card can no longer be charged." in first["text"]
    assert shown["steps"][1]["subject"] == ""
    unknown = platform.get(path, {"campaign": "Nothing"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_dunning_campaign")


def test_the_campaigns_are_the_platforms(platform: Api, api: Api, world: World) -> None:
    [found] = platform.get("dunning-campaigns").json()["data"]
    assert (found["name"], found["hour"], found["organizations"]) == ("Standard", 9, [])
    assert found["steps"].splitlines()[0] == "0 remind reminder if failed"
    assert api.get("dunning-campaigns").status_code == 403
