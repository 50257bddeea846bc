from __future__ import annotations

import pytest
from django.core.cache import cache

from apps.backoffice.management.commands import doctor
from apps.core import rls
from apps.core.models import OutboxDelivery, OutboxEvent
from tests.commands.shell import run
from tests.conftest import AT

pytestmark = pytest.mark.django_db(databases=["default", "owner"])


def states() -> dict[str, str]:
    return {row["check"]: row["state"] for row in run("doctor", "--format", "json").json["checks"]}


def test_a_migrated_system_has_no_failures() -> None:
    found = states()
    assert [check for check, state in found.items() if state == "fail"] == []
    assert set(found) == set(doctor.CHECKS)


def test_a_dead_delivery_is_a_finding() -> None:
    with rls.ops_scope("test: a dead delivery"):
        event = OutboxEvent.objects.create(name="x.Y", payload={}, occurred_at=AT)
        OutboxDelivery.objects.create(event=event, handler="h", status="dead", next_try_at=AT)
    examined = run("doctor", "--format", "json")
    assert examined.code == 1
    assert {"check": "outbox", "state": "fail"}.items() <= next(
        row for row in examined.json["checks"] if row["check"] == "outbox"
    ).items()


def test_a_check_that_breaks_is_itself_the_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise ConnectionError("the cache is gone\nsecond line")

    monkeypatch.setattr(cache, "set", lost)
    examined = run("doctor")
    assert examined.code == 1
    assert "ConnectionError: the cache is gone" in examined.out
