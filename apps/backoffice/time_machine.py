"""A test clock taken forward: at every instant at which something comes due it stops, and what the
scheduler would run is run for those who live by it.

A step is committed before the next begins. One that was interrupted is taken up again: whatever was
due by the time shown is run first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from apps.analytics.instants import next_due
from apps.core import outbox, rls
from apps.core.actor import Actor
from apps.core.errors import NotFound
from apps.dunning import services as dunning
from apps.invoicing import services as invoicing
from apps.invoicing.services.grants import expire_grants_of
from apps.invoicing.services.reports import Issued
from apps.subscriptions import services as subscriptions
from apps.tenants import selectors as tenants
from apps.tenants import services as clocks


@dataclass(frozen=True, slots=True)
class Stop:
    """What happened when the clock showed `at`. `parked` is what failed, with the reasons; `asked`
    are steps of dunning.
    """

    at: datetime
    changes: int
    issued: tuple[Issued, ...]
    expired: int
    parked: tuple[tuple[str, str], ...]
    asked: int = 0

    @property
    def is_eventful(self) -> bool:
        """Whether anything happened at all."""
        return any((self.changes, self.issued, self.expired, self.parked, self.asked))


def advance(clock: str, *, to: datetime, actor: Actor, at: datetime) -> Iterator[Stop]:
    """Take the clock (a public id) to an instant, and yield every stop on the way.

    `at` is the real time. Opens its own scopes; must not be called inside a transaction. Raises
    NotFound, SandboxOnly, and ClockGoesBack before anything is run.
    """
    moment, living = _read(clock)
    if to < moment:
        _set(clock, to, actor=actor, at=at)  # refuses
    while True:
        yield _stop(living, moment, actor)
        if moment >= to:
            return
        with rls.ops_scope("time machine: what comes next"):
            following = next_due(living, after=moment)
        moment = to if following is None else min(following, to)
        _set(clock, moment, actor=actor, at=at)


def _read(clock: str) -> tuple[datetime, list[int]]:
    """Return the time that the clock shows, and who lives by it."""
    with rls.ops_scope("time machine: read the clock"):
        row = tenants.find_test_clock(clock)
        if row is None:
            raise NotFound(f"There is no test clock '{clock}'.", param="clock")
        return row.now, [one.pk for one in tenants.organizations_on_clock(row.pk)]


def _set(clock: str, to: datetime, *, actor: Actor, at: datetime) -> None:
    with rls.ops_scope("time machine: set the clock"):
        clocks.set_test_clock(clock, to=to, actor=actor, at=at)


def _stop(living: list[int], moment: datetime, actor: Actor) -> Stop:
    """Run what the scheduler would, at the clock's time and for these organizations alone."""
    changes = subscriptions.apply_changes_due(
        as_of=moment, actor=actor, at=moment, organization_ids=living
    )
    expired = sum(expire_grants_of(one, as_of=moment, actor=actor, at=moment) for one in living)
    report = invoicing.bill_due(as_of=moment, actor=actor, at=moment, organization_ids=living)
    passed = invoicing.bill_thresholds(actor=actor, at=moment, organization_ids=living)
    _deliver()
    asked = dunning.run_dunning(actor=actor, at=moment, organization_ids=living)
    _deliver()
    return Stop(
        moment,
        changes,
        (*report.issued, *passed),
        expired,
        (*report.parked, *asked.failed),
        asked.steps,
    )


def _deliver() -> None:
    """Hand over mails, recharges and the like, while the clock still shows this time."""
    while outbox.deliver_due():
        pass
