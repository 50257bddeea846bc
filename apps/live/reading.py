"""What the database is asked, each question in a transaction of its own and in the right scope.

Who changed is asked for all organizations at once, in the ops scope; what they may know is read in
the scope of the organization itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from apps.core import outbox, rls
from apps.core.outbox import Told
from apps.core.snapshots import Snapshot
from apps.invoicing.gauges import gauges
from apps.live.cursors import Cursor
from apps.live.messages import Figure
from apps.live.stories import STORIES
from apps.subscriptions import selectors as subscriptions
from apps.usage import selectors as usage
from apps.usage.selectors import Pulse

# Whoever missed more reads it again where it is listed.
MOST_MISSED = 200


@dataclass(frozen=True, slots=True)
class News:
    """What there is to know of one organization at the moment `upto`; no figures: none moved."""

    upto: Snapshot
    at: datetime
    facts: tuple[Told, ...] = ()
    figures: tuple[Figure, ...] | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """How a connection begins: the listener's cursor, and what it has missed.

    `lost` says why its old cursor is of no use; then it has to read everything again.
    """

    cursor: Cursor
    news: News
    lost: str = ""


def look(seen: Mapping[int, Snapshot]) -> tuple[Pulse, frozenset[int]]:
    """Return this moment, and the organizations of which something came since their snapshots."""
    with rls.ops_scope("live: who changed"):
        pulse = usage.pulse(seen)
        return pulse, pulse.changed | outbox.told_to(seen, upto=pulse.snapshot)


def news(organization_id: int, *, seen: Snapshot, pulse: Pulse, at: datetime) -> News:
    """Return what came between `seen` and the pulse, with the figures as they stand now.

    Facts may change what is included, so the figures are read whatever came.
    """
    with rls.tenant_scope(organization_id):
        facts = _missed(organization_id, seen, pulse)
        return News(pulse.snapshot, at, tuple(facts), _figures(organization_id, at))


def opening(organization_id: int, *, resumed: str, at: datetime) -> Opening:
    """Return how to begin: anew with the figures of now, or, with a cursor, what came since."""
    with rls.tenant_scope(organization_id):
        now = usage.pulse({})
        if not resumed:
            return _anew(organization_id, now, at)
        try:
            return _resumed(organization_id, _usable(resumed, now), at)
        except ValueError as error:
            return _anew(organization_id, now, at, lost=str(error))


def _anew(organization_id: int, now: Pulse, at: datetime, *, lost: str = "") -> Opening:
    # After the moment was taken: what comes in between is told again, and not missed.
    figures = _figures(organization_id, at)
    return Opening(Cursor(now.epoch, now.snapshot), News(now.snapshot, at, (), figures), lost)


def _usable(text: str, now: Pulse) -> Cursor:
    cursor = Cursor.parse(text)
    if cursor.epoch != now.epoch:
        raise ValueError("the database is another one since")
    if max(cursor.seen.xmax, cursor.batch.xmax if cursor.batch else 0) > now.snapshot.xmax:
        raise ValueError("this id is of no moment that was")
    return cursor


def _resumed(organization_id: int, cursor: Cursor, at: datetime) -> Opening:
    pulse = usage.pulse({organization_id: cursor.seen})
    missed = _missed(organization_id, cursor.seen, pulse)
    if len(missed) > MOST_MISSED:
        return _anew(organization_id, pulse, at, lost="too much came since")
    facts = tuple(fact for fact in missed if not cursor.has_told(fact))
    moved = bool(facts) or organization_id in pulse.changed
    figures = _figures(organization_id, at) if moved else None
    return Opening(cursor, News(pulse.snapshot, at, facts, figures))


def _missed(organization_id: int, seen: Snapshot, pulse: Pulse) -> list[Told]:
    return outbox.told(
        organization_id,
        seen=seen,
        upto=pulse.snapshot,
        names=list(STORIES),
        since=pulse.epoch_started_at,
        limit=MOST_MISSED + 1,
    )


def _figures(organization_id: int, at: datetime) -> tuple[Figure, ...]:
    live = subscriptions.of_organization(organization_id, live=True)
    periods = [(facts, facts.current_period(at)) for facts in live]
    return tuple(
        Figure(facts, period.start, period.end, gauge)
        for facts, period in periods
        for gauge in gauges(facts, period)
    )
