"""Moving a plan's customers to its next version: seen before, one by one, and never half."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
import time_machine

from apps.core import rls
from apps.core.models import OutboxEvent
from apps.invoicing.models import Invoice
from apps.plans import catalog
from apps.plans import services as plans
from apps.subscriptions import selectors, services
from apps.subscriptions.models import Change
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from tests.commands.shell import run, run_json
from tests.conftest import STAFF, make_organization
from tests.invoicing.world import CATALOG, NOW, bill, day, invoices, load, subscribe

pytestmark = pytest.mark.django_db
DEARER = CATALOG.replace('"50.00"', '"60.00"')


@pytest.fixture(autouse=True)
def june(db: None) -> Iterator[None]:
    """Gateway v1 is sold to three, and v2 is published; it is 15 June and June is billed."""
    with time_machine.travel(NOW, tick=False):
        load()
        for slug, seats in (("alpha", 3), ("beta", 5), ("paused", 3)):
            subscribe(make_organization(slug), start=day(6, 1), at=day(6, 1), seats=seats)
        bill(day(6, 1))
        with rls.ops_scope("test"):
            document = catalog.parse_catalog(DEARER, source="new")
            plans.load_catalog(document, actor=STAFF, at=NOW)
        yield


def facts(slug: str) -> SubscriptionFacts:
    with rls.ops_scope("test"):
        row = Organization.objects.get(slug=slug)
        return selectors.of_organization(row.pk)[0]


def pause(slug: str) -> None:
    one = facts(slug)
    with rls.tenant_scope(one.organization_id):
        services.pause(one.public_id, when="now", actor=STAFF, at=NOW)
    bill(NOW)


def written() -> tuple[int, int, int]:
    with rls.ops_scope("test"):
        return Invoice.objects.count(), Change.objects.count(), OutboxEvent.objects.count()


def totals(slug: str, since: datetime) -> list[int]:
    with rls.ops_scope("test"):
        row = Organization.objects.get(slug=slug)
    return [one.total for one in invoices(row) if one.issued_at >= since]


def test_a_dry_run_shows_everybodys_next_invoice_and_writes_nothing() -> None:
    before = written()
    told = run_json("migrate_plan", "gateway", "--to", "gateway@2", "--dry-run")
    assert written() == before
    found = {one["customer"]: (one["before"]["total"], one["after"]["total"]) for one in told}
    assert found == {
        "alpha": (50_00, 60_00), "beta": (74_00, 84_00), "paused": (50_00, 60_00),
    }  # fmt: skip
    assert {one["effective_at"] for one in told} == {"2026-07-01T00:00:00Z"}
    assert all(one["now"] is None for one in told)


def test_everybody_moves_with_the_next_period_and_is_billed_as_was_shown() -> None:
    shown = run("migrate_plan", "gateway", "--to", "gateway@2")
    assert shown.code == 0
    assert "3 moved or scheduled. 0 were scheduled already" in shown.err
    assert facts("alpha").version.number == 1
    bill(day(7, 1), at=day(7, 1))
    assert (totals("alpha", day(7, 1)), totals("beta", day(7, 1))) == ([60_00], [84_00])
    assert facts("beta").version.number == 2
    assert facts("beta").quantities(day(7, 2)) == {"seats": 5}


def test_a_number_alone_is_a_version_of_the_plan() -> None:
    for plan in ("gateway", "gateway@1"):
        told = run_json("migrate_plan", plan, "--to", "2", "--dry-run")
        assert [one["after"]["total"] for one in told] == [60_00, 84_00, 60_00]
    refused = run("migrate_plan", "gateway", "--to", "7")
    assert (refused.code, refused.err) == (1, "gateway has no version 7.")


def test_a_repeated_run_passes_over_who_has_moved() -> None:
    run_json("migrate_plan", "gateway@1", "--to", "gateway@2")
    before = written()
    again = run_json("migrate_plan", "gateway@1", "--to", "gateway@2")
    assert [one["already"] for one in again] == [True] * 3
    assert written() == before
    bill(day(7, 1), at=day(7, 1))
    assert run_json("migrate_plan", "gateway", "--to", "gateway@2") == []


def test_now_bills_the_difference_at_once() -> None:
    """16 of 30 days are left of June: 10.00 more a month are 5.33 for them."""
    seen = run_json("migrate_plan", "gateway", "--to", "gateway@2", "--at", "now", "--dry-run")
    assert [one["now"]["total"] for one in seen] == [5_33] * 3
    told = run_json("migrate_plan", "gateway", "--to", "gateway@2", "--at", "now")
    assert all(one["invoice"] for one in told)
    assert totals("alpha", day(6, 2)) == [5_33]
    assert facts("alpha").version.number == 2


def test_one_who_cannot_be_moved_is_named_and_keeps_nobody() -> None:
    pause("paused")
    for words in (("--dry-run",), ()):
        result = run("migrate_plan", "gateway", "--to", "gateway@2", *words)
        assert result.code == 1
        assert "The subscription is paused; resume it first." in result.out
        assert "1 cannot be moved." in result.err
    assert [len(facts(slug).scheduled) for slug in ("alpha", "beta", "paused")] == [1, 1, 0]


def test_a_migration_stays_within_its_plan() -> None:
    refused = run("migrate_plan", "gateway", "--to", "trial")
    assert (refused.code, refused.out) == (1, "")
    assert "stays within one plan" in refused.err
