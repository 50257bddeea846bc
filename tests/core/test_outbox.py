from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from apps.core import clock, outbox, rls
from apps.core.models import OutboxDelivery, OutboxEvent
from apps.tenants.models import Organization
from tests.conftest import AT, make_organization
from tests.races import at_once


@dataclass(frozen=True, slots=True)
class Rang:
    """A bell rang."""

    times: int


NAME = outbox.name_of(Rang)


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """Two handlers of the fact: one hears, one fails until it is told not to."""
    notes: list[str] = []

    def hears(fact: Rang) -> None:
        notes.append(f"hears {fact.times} in {rls.current().organization_id}")

    def fails(fact: Rang) -> None:
        if "mended" not in notes:
            raise RuntimeError("no ears")
        notes.append("recovered")

    outbox.on(Rang)(hears)
    outbox.on(Rang)(fails)
    yield notes
    outbox._handlers.pop(NAME)
    outbox._types.pop(NAME)


def ring(organization: Organization) -> None:
    with rls.tenant_scope(organization.pk):
        outbox.emit(Rang(3), at=AT, organization_id=organization.pk)


def statuses() -> dict[str, str]:
    with rls.ops_scope("test"):
        rows = OutboxDelivery.objects.filter(event__name=NAME)
        return {row.handler.rsplit(".", 1)[1]: row.status for row in rows}


def test_each_handler_is_delivered_on_its_own(organization: Organization, heard: list[str]) -> None:
    ring(organization)
    with clock.frozen(AT):
        outbox.deliver_due()
    assert heard == [f"hears 3 in {organization.pk}"]
    assert statuses() == {"hears": "delivered", "fails": "pending"}


def test_a_failing_handler_is_retried_later_and_then_dead_lettered(
    organization: Organization, heard: list[str]
) -> None:
    ring(organization)
    at = AT
    for _ in range(outbox.MAX_TRIES):
        with clock.frozen(at):
            outbox.deliver_due()
            assert outbox.deliver_due() == 0  # never twice in the same instant
        at += timedelta(hours=1)
    assert statuses()["fails"] == "dead"
    assert len(heard) == 1


def test_a_dead_letter_can_be_sent_again(organization: Organization, heard: list[str]) -> None:
    ring(organization)
    at = AT
    for _ in range(outbox.MAX_TRIES):
        with clock.frozen(at):
            outbox.deliver_due()
        at += timedelta(hours=1)
    heard.append("mended")
    with clock.frozen(at), rls.ops_scope("test: a button"):
        dead = OutboxDelivery.objects.filter(status="dead").values_list("pk", flat=True)
        assert outbox.retry(list(dead)) == 1
    with clock.frozen(at):
        outbox.deliver_due()
    assert heard[-1] == "recovered"
    assert statuses()["fails"] == "delivered"


def test_a_fact_of_a_rolled_back_change_is_never_told(
    organization: Organization, heard: list[str]
) -> None:
    with pytest.raises(RuntimeError), rls.tenant_scope(organization.pk):
        outbox.emit(Rang(3), at=AT, organization_id=organization.pk)
        raise RuntimeError
    with rls.ops_scope("test"):
        assert not OutboxEvent.objects.filter(name=NAME).exists()


def test_workers_at_once_deliver_each_fact_once(committed_db: str, heard: list[str]) -> None:
    organization = make_organization("acme")
    heard.append("mended")
    for _ in range(10):
        ring(organization)
    at_once(4, outbox.deliver_due)
    assert sum(note.startswith("hears") for note in heard) == 10
    assert set(statuses().values()) == {"delivered"}
