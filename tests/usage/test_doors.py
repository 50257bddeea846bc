"""Taking events back through every door: a command, the API, the staff's pages."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from apps.core import clock, rls
from apps.usage.models import Event
from apps.usage.selectors import Want, measure
from tests import worlds
from tests.conftest import make_organization
from tests.worlds import NOW, World


@pytest.fixture
def world(db: None) -> Iterator[World]:
    """Acme, on 10 December 2023."""
    with clock.frozen(NOW):
        yield worlds.gateway_world("acme")


def last(world: World) -> Event:
    with rls.tenant_scope(world.id):
        return Event.objects.order_by("-occurred_at", "-id")[0]


def tokens(world: World) -> Decimal:
    with rls.tenant_scope(world.id):
        return measure(world.id, [Want("context_tokens", worlds.START, NOW)])[0].quantity


def run(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_commands_void_and_correct_an_event(world: World) -> None:
    before, wrong = tokens(world), last(world)
    said = run(
        "correct_event", "acme", wrong.key, "--source", wrong.source, "--format", "json",
        "--data", '{"context_tokens": 1000.5}',
    )  # fmt: skip
    assert tokens(world) == before - wrong.data["context_tokens"] + Decimal("1000.5")
    made = json.loads(said)["event"]
    assert "is void" in run("void_event", "acme", made, "--reason", "load test")
    assert tokens(world) == before - wrong.data["context_tokens"]
    with pytest.raises(CommandError, match="voided already"):
        run("void_event", "acme", made)
    with pytest.raises(CommandError, match="no such event"):
        run("void_event", "acme", "nothing", "--source", "there")
    with pytest.raises(CommandError, match="--data, --time or both"):
        run("correct_event", "acme", made)
    with pytest.raises(CommandError, match="no JSON object"):
        run("correct_event", "acme", made, "--data", "[1]")


def test_the_api_takes_an_event_that_voids_another(world: World) -> None:
    before, wrong = tokens(world), last(world)
    key = worlds.make_key(world.organization)
    new: dict[str, Any] = {
        "specversion": "1.0",
        "id": "void-1",
        "source": "elsewhere",
        "type": "usage.void",
        "time": "2023-12-09T10:00:00Z",
        "voids": wrong.key,
        "voidssource": wrong.source,
    }
    events = [new, {**new, "id": "void-2"}, {**new, "id": "void-3", "voids": "nothing"}]
    reply = Client().post(
        "/api/v1/events",
        json.dumps(events),
        content_type="application/cloudevents-batch+json",
        headers={"Authorization": f"Bearer {key}"},
    )
    assert reply.status_code == 207
    assert [(one["status"], one["code"], one["pointer"]) for one in reply.json()["events"]] == [
        ("accepted", None, None),
        ("rejected", "already_voided", "/voids"),
        ("rejected", "unknown_event", "/voids"),
    ]
    assert tokens(world) == before - wrong.data["context_tokens"]


def test_a_strangers_event_cannot_be_voided(world: World) -> None:
    before, wrong = tokens(world), last(world)
    stranger = make_organization("stranger")
    with pytest.raises(CommandError, match="no such event"):
        run("void_event", stranger.slug, wrong.public_id)
    assert tokens(world) == before


def test_staff_void_and_correct_an_event_on_its_page(world: World) -> None:
    before, wrong = tokens(world), last(world)
    staff = Client()
    staff.force_login(worlds.make_staff("staff@house.example", "Admin"))
    page = reverse("admin:usage_event_change", args=[wrong.pk])
    assert b"counted" in staff.get(page).content.lower()
    asked = reverse("admin:usage_event_correct", args=[wrong.pk])
    assert b"context_tokens" in staff.get(asked).content
    assert staff.post(asked, {"right": "{", "reason": "typo"}).status_code == 400
    assert staff.post(asked, {"right": '{"context_tokens": "x"}', "reason": "a"}).status_code == 409
    assert tokens(world) == before
    done = staff.post(asked, {"right": '{"context_tokens": 0.5}', "reason": "typo"})
    right = last(world)
    assert done.headers["Location"] == reverse("admin:usage_event_change", args=[right.pk])
    assert tokens(world) == before - wrong.data["context_tokens"] + Decimal("0.5")
    assert b"voided" in staff.get(page).content.lower()
    assert staff.get(asked).status_code == 409
    voiding = reverse("admin:usage_event_void", args=[right.pk])
    assert staff.post(voiding, {"reason": "test"}).status_code == 302
    assert staff.post(voiding, {"reason": "test"}).status_code == 409
    assert tokens(world) == before - wrong.data["context_tokens"]
