"""A step and a payment at the same moment, two schedulers at once, and one that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from threading import Barrier, Thread

import pytest
from django.db import connections

from apps.core import rls
from apps.core.models import OutboxEvent
from apps.dunning import services as dunning
from apps.dunning.models import Entry, Run
from apps.payments import services as payments
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.dunning import world
from tests.dunning.world import billed, deliver, history, run, status, the_run, told
from tests.invoicing.world import day
from tests.races import at_once

ROOT = Path(__file__).parents[2]
NUMBER = "CH-000001"
STEP = day(1, 16, 9)


@pytest.fixture
def acme(committed_db: str) -> Organization:
    world.open_shop()
    row, _ = billed()
    run(day(1, 15, 1))
    return row


def pay(row: Organization) -> None:
    with rls.tenant_scope(row.pk):
        payments.record_payment(NUMBER, amount=Decimal("20.00"), actor=STAFF, at=STEP)


def ask(at: datetime = STEP) -> None:
    done = dunning.run_dunning(actor=STAFF, at=at)
    assert not done.failed, done.failed


def facts(row: Organization) -> list[str]:
    """Return the payment and the reminders of an organization in the order they came to be."""
    with rls.ops_scope("test"):
        names = OutboxEvent.objects.filter(
            organization_id=row.pk, name__in=("invoicing.InvoicePaid", "dunning.ReminderDue")
        )
        return list(names.order_by("id").values_list("name", flat=True))


def test_a_step_that_comes_first_is_taken_and_given_back(acme: Organization) -> None:
    ask()
    pay(acme)
    deliver(STEP)
    assert facts(acme) == ["dunning.ReminderDue", "invoicing.InvoicePaid"]
    assert (status(acme), the_run(acme).outcome) == ("active", "paid")


def test_a_payment_that_comes_first_leaves_nothing_to_take(acme: Organization) -> None:
    pay(acme)
    ask()
    deliver(STEP)
    assert facts(acme) == ["invoicing.InvoicePaid"]
    assert history(acme) == ["begun", "ended"]


@pytest.mark.parametrize("turn", range(6))
def test_whoever_comes_first_nobody_is_asked_after_they_paid(acme: Organization, turn: int) -> None:
    first, second = (ask, lambda: pay(acme))[:: 1 if turn % 2 else -1]
    together(first, second)
    deliver(STEP)
    assert facts(acme) in (
        ["invoicing.InvoicePaid"],
        ["dunning.ReminderDue", "invoicing.InvoicePaid"],
    )
    assert (status(acme), the_run(acme).outcome) == ("active", "paid")
    run(day(2, 5, 9))
    assert facts(acme)[-1] == "invoicing.InvoicePaid"


def together(*acts: Callable[[], None]) -> None:
    """Call all at the same moment, each with a connection of its own."""
    barrier, failed = Barrier(len(acts)), []

    def one(act: Callable[[], None]) -> None:
        barrier.wait()
        try:
            act()
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)
        finally:
            connections.close_all()

    threads = [Thread(target=one, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


def test_four_schedulers_at_once_take_each_step_once(acme: Organization) -> None:
    at_once(4, ask)
    assert history(acme) == ["begun", "reminder", "past_due"]
    assert len(told(acme, "dunning.ReminderDue")) == 1


def test_four_schedulers_at_once_begin_one_run(committed_db: str) -> None:
    world.open_shop()
    acme, _ = billed()
    at_once(4, lambda: ask(day(1, 15, 1)))
    with rls.tenant_scope(acme.pk):
        assert Run.objects.count() == 1


KILLED = """\
import django; django.setup()
from datetime import datetime, UTC
from apps.core.actor import operator
from apps.dunning import services
services.run_dunning(actor=operator("test"), at=datetime(2026, 1, {day}, 9, tzinfo=UTC))
"""


def killed(at: str, number: int) -> None:
    """Let a scheduler be killed at a point on the day of January."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(day=number)],
        cwd=ROOT,
        env={**os.environ, "FAULT_POINT": at, "ENVIRONMENT": "development"},
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


@pytest.mark.parametrize(
    "at", ["dunning.step_taken", "dunning.step_taken:2", "dunning.batch_taken"]
)
def test_one_that_is_killed_in_a_step_has_taken_none_of_it(acme: Organization, at: str) -> None:
    killed(at, 16)
    assert (history(acme), status(acme)) == (["begun"], "active")
    assert not told(acme, "dunning.ReminderDue")
    run(STEP)
    assert history(acme) == ["begun", "reminder", "past_due"]
    assert len(told(acme, "dunning.ReminderDue")) == 1


def test_one_that_is_killed_while_it_begins_has_begun_nothing(committed_db: str) -> None:
    world.open_shop()
    acme, _ = billed()
    killed("dunning.begun", 15)
    with rls.tenant_scope(acme.pk):
        assert not Run.objects.exists()
        assert not Entry.objects.exists()


def test_one_that_is_killed_while_it_ends_ends_it_the_next_time(acme: Organization) -> None:
    run(STEP)
    with rls.tenant_scope(acme.pk):
        payments.record_payment(NUMBER, amount=Decimal("20.00"), actor=STAFF, at=day(1, 20))
    killed("dunning.ended", 22)
    assert (the_run(acme).status, status(acme)) == ("running", "past_due")
    run(day(1, 22, 10))
    assert (the_run(acme).outcome, status(acme)) == ("paid", "active")
