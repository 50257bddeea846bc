"""Alerts and anomalies by mail: to the people who manage billing, each once."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core import mail

from apps.core import clock, outbox, rls
from apps.core.outbox import emit
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from apps.watch import services
from apps.watch.events import AnomalyFound
from tests.conftest import STAFF
from tests.watch import world
from tests.watch.rows import spike
from tests.watch.world import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(db: None) -> Organization:
    world.open_shop()
    row = world.customer()
    world.subscribe(row, start=NOW - 14 * world.DAY)
    for name, role in (("owner", "OWNER"), ("books", "BILLING_ADMIN"), ("guest", "MEMBER")):
        with rls.ops_scope("test: people"):
            user = tenants.create_user(
                f"{name}@acme.example", password="correct-horse-battery", actor=STAFF, at=NOW
            )
            tenants.add_member(row.pk, user_id=user.pk, role=role, actor=STAFF, at=NOW)
    return row


def deliver() -> list[tuple[str, str, str]]:
    """Deliver what is due; return to whom, the subject and the text of each mail."""
    mail.outbox.clear()
    with clock.frozen(NOW):
        outbox.deliver_due()
    with rls.ops_scope("test: nothing failed"):
        assert outbox.backlog().pending == 0
    return [(one.to[0], str(one.subject), str(one.body)) for one in mail.outbox]


def test_an_alert_is_mailed_to_owners_and_billing_admins(acme: Organization) -> None:
    world.rule(acme, "percent_of_included", percent=Decimal(80))
    world.call(acme, 90)
    world.evaluate()
    sent = deliver()
    assert [to for to, _, _ in sent] == ["books@acme.example", "owner@acme.example"]
    _, subject, body = sent[0]
    assert subject == "Acme: Calls has reached 80%"
    assert "Calls: 90% of what is included is used. The limit is 80%." in body
    assert "/portal/alerts/" in body
    assert deliver() == []


def test_an_anomaly_is_mailed_with_its_cause(acme: Organization) -> None:
    with rls.tenant_scope(acme.pk):
        row = spike(acme.pk, meter="tokens", at=NOW)
        emit(AnomalyFound(row.public_id, acme.pk), at=NOW, organization_id=acme.pk)
    sent = deliver()
    assert len(sent) == 2
    _, subject, body = sent[0]
    assert subject == "Acme: unusual usage of Tokens"
    assert "900 in the hour from 15 Apr 2026, 11:00 UTC" in body
    assert "98.7% of the difference is of region us." in body


def test_an_anomaly_that_is_decided_is_not_mailed(acme: Organization) -> None:
    with rls.ops_scope("test"):
        row = spike(acme.pk, meter="tokens", at=NOW)
        emit(AnomalyFound(row.public_id, acme.pk), at=NOW, organization_id=acme.pk)
        services.ignore_anomaly(row.public_id, reason="a launch", actor=STAFF, at=NOW)
    assert deliver() == []


def test_a_german_customer_is_told_in_german(acme: Organization) -> None:
    with rls.ops_scope("test"):
        tenants.update_organization(acme.pk, changes={"locale": "de"}, actor=STAFF, at=NOW)
    world.rule(acme, "amount", amount=Decimal(50))
    world.call(acme, 1)
    world.evaluate()
    _, subject, body = deliver()[0]
    assert subject == "Acme: Watched hat 50,00 $ erreicht"
    assert "Der laufende Zeitraum kommt bisher auf" in body
