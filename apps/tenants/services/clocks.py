"""A sandbox's own time: made, attached to organizations, and moved forward."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor, require
from apps.core.errors import Conflict, Invalid, NotFound
from apps.tenants import selectors
from apps.tenants.errors import ClockGoesBack, SandboxOnly
from apps.tenants.events import TestClockMoved
from apps.tenants.models import Organization, TestClock
from apps.tenants.services.organizations import lock


@transaction.atomic
def create_test_clock(name: str, *, now: datetime, actor: Actor, at: datetime) -> TestClock:
    """Make a clock that stands at `now`. Needs the ops scope. Raises SandboxOnly and Invalid."""
    require("manage_platform", actor=actor)
    _sandbox_only()
    if not name.strip():
        raise Invalid("A test clock needs a name.", param="name")
    _check_instant(now)
    row = TestClock.objects.create(name=name.strip()[:100], now=now)
    after = {"name": row.name, "now": now.isoformat()}
    audit.record(action="test_clock.created", target=row.public_id, actor=actor, at=at, after=after)
    return row


@transaction.atomic
def attach_test_clock(
    organization_id: int, *, clock: str, actor: Actor, at: datetime
) -> Organization:
    """Let the organization live by the clock (a public id) for good; safe to repeat.

    Its payer and those it pays for must follow the same time, so attach before choosing payers.
    Needs the ops scope. Raises SandboxOnly, NotFound, and Conflict for one that has a clock.
    """
    require("manage_platform", actor=actor)
    _sandbox_only()
    row, found = lock(organization_id), _lock_clock(clock)
    if row.test_clock_id == found.pk:
        return row
    if row.test_clock_id is not None:
        raise Conflict(f"{row.name} has a test clock and keeps it.", param="organization")
    if row.parent_id is not None or selectors.paid_for_by(row.pk):
        raise Conflict(f"{row.name} has a payer or is one; attach first.", param="organization")
    row.test_clock = found
    row.save(update_fields=["test_clock"])
    audit.record(
        action="test_clock.attached",
        target=found.public_id,
        actor=actor,
        at=at,
        organization_id=row.pk,
        after={"organization": row.public_id},
    )
    return row


@transaction.atomic
def set_test_clock(clock: str, *, to: datetime, actor: Actor, at: datetime) -> TestClock:
    """Set the clock (a public id) to a later instant. Bills nothing: whoever advances it does.

    Emits TestClockMoved. Needs the ops scope. Safe to repeat: to where it stands does nothing.
    Raises SandboxOnly, NotFound, Invalid and ClockGoesBack.
    """
    require("manage_platform", actor=actor)
    _sandbox_only()
    _check_instant(to)
    row = _lock_clock(clock)
    if to < row.now:
        raise ClockGoesBack(f"{row.name} stands at {row.now.isoformat()} and only goes forward.")
    if to == row.now:
        return row
    before, row.now = row.now.isoformat(), to
    row.save(update_fields=["now"])
    audit.record(
        action="test_clock.moved",
        target=row.public_id,
        actor=actor,
        at=at,
        before={"now": before},
        after={"now": to.isoformat()},
    )
    outbox.emit(TestClockMoved(row.public_id, before, to.isoformat()), at=at)
    return row


def _sandbox_only() -> None:
    if settings.PRODUCTION or settings.STRIPE_LIVE_MODE:
        raise SandboxOnly("Test clocks exist in a sandbox only: this system is in production.")


def _check_instant(now: datetime) -> None:
    if now.tzinfo is None:
        raise Invalid("An instant needs a time zone.", param="now")


def _lock_clock(reference: str) -> TestClock:
    found = TestClock.objects.select_for_update().filter(public_id=reference).first()
    if found is None:
        raise NotFound(f"There is no test clock '{reference}'.", param="clock")
    return found
