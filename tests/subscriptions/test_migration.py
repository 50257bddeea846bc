"""Subscriptions from before phases get the one that they have been in."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

import psycopg
import pytest
from django.apps import apps
from django.db import connection

from apps.core import rls
from apps.subscriptions import services
from apps.subscriptions.models import Phase
from tests import database
from tests.conftest import STAFF, make_organization
from tests.invoicing import world
from tests.invoicing.world import day

MIGRATION = import_module("apps.subscriptions.migrations.0002_phases_changes_and_discounts")


def phases() -> list[tuple[object, ...]]:
    with rls.ops_scope("test: look"):
        rows = Phase.objects.order_by("subscription_id", "during")
        return [
            (p.subscription_id, p.plan_version_id, p.anchor, p.interval_unit, p.during)
            for p in rows
        ]


@pytest.mark.usefixtures("committed_db")
def test_old_subscriptions_get_the_phase_they_are_in() -> None:
    world.load()
    paid, trying, taken_up = (make_organization(slug) for slug in ("paid", "trying", "taken-up"))
    world.subscribe(paid, start=day(5, 31))
    world.subscribe(trying, "trial", start=day(6, 1), at=day(6, 1))
    facts = world.subscribe(
        taken_up, "trial", start=day(5, 1), at=day(5, 1), collection="stripe_invoice"
    )
    world.bill(day(5, 16), at=day(5, 16))
    with rls.tenant_scope(taken_up.pk):
        services.resume(facts.public_id, actor=STAFF, at=day(5, 25))
    before = phases()
    _forget()
    MIGRATION.one_phase_each(apps, SimpleNamespace(connection=SimpleNamespace(alias="owner")))
    # The phase of the trial that nobody paid is not told from the row; nothing was billed in it.
    assert phases() == [phase for phase in before if phase[-1] != _trial_of(before)]


def _trial_of(rows: list[tuple[object, ...]]) -> object:
    return next(phase[-1] for phase in rows if phase[-1].upper is not None)  # type: ignore[attr-defined]


def _forget() -> None:
    """Take the phases away, which nobody but the server's owner can."""
    url = database.named(database.urls_of_server().admin, str(connection.settings_dict["NAME"]))
    with psycopg.connect(url) as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute("DELETE FROM subscriptions_phase")
