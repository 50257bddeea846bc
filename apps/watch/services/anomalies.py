"""Finding anomalies hour by hour: one begins, is extended while it lasts, and ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from apps.core import outbox, rls
from apps.core.actor import Actor, require
from apps.engine.anomalies import Cause, Severity
from apps.tenants import selectors as tenant_selectors
from apps.tenants import services as tenants
from apps.usage import selectors as usage
from apps.watch import selectors
from apps.watch.events import AnomalyFound
from apps.watch.models import Anomaly, WatchMark
from apps.watch.selectors import Terms
from apps.watch.services.holding import doubt, hold_drafts
from apps.watch.sightings import HOUR, Eye, Sighting, cause_of, quantity

CHUNK = 500  # organizations that are looked at together
SETTLED = timedelta(minutes=5)  # after its end an hour's last events are rolled up
MOST_HOURS = 48  # what a run makes up for after a standstill
QUIET = 2  # usual hours after which an anomaly has ended
MOST_SCORE = 10**15


@dataclass(frozen=True, slots=True)
class Detected:
    """What a run did: the hours (UTC) it judged, how often it judged one, and what it found."""

    hours: tuple[datetime, ...]
    judged: int
    found: tuple[Anomaly, ...]
    extended: int
    ended: int


def detect_anomalies(
    *,
    actor: Actor,
    at: datetime,
    organization_ids: Collection[int] | None = None,
    step: Callable[[], object] = lambda: None,
) -> Detected:
    """Judge the hours that have passed since the last run, or, of these organizations, the last one
    before `at`; calls `step` after every chunk of them.

    Emits AnomalyFound, and holds drafts where the terms say so. Opens scopes of its own, one
    transaction an organization where something begins, lasts or ends. Safe to repeat, to run twice
    at once and to kill: every anomaly knows the last hour that it was judged by.
    """
    require("manage_platform", actor=actor)
    with rls.ops_scope("anomalies: whom to look at"):
        zones = tenant_selectors.timezones(organization_ids)
        eye = Eye(zones, selectors.terms_of(zones), {one.id: one for one in usage.meters()})
        until = _whole_hour(at - SETTLED)
        hours = _hours(until) if organization_ids is None else [until - HOUR]
    run = _Run(eye, actor, at)
    for hour in hours:
        for chunk in _chunks(sorted(zones)):
            run.judge(chunk, hour)
            step()
        if organization_ids is None:
            _remember(hour + HOUR)
    return Detected(tuple(hours), run.judged, tuple(run.found), run.extended, run.ended)


def _whole_hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _hours(until: datetime) -> list[datetime]:
    since = selectors.judged_until() or until - HOUR
    since = max(since, until - MOST_HOURS * HOUR)
    return [since + n * HOUR for n in range((until - since) // HOUR)]


def _chunks(ids: list[int]) -> Iterable[list[int]]:
    return (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK))


def _remember(until: datetime) -> None:
    with rls.ops_scope("anomalies: remember how far"):
        WatchMark.objects.update_or_create(place=1, defaults={"judged_until": until})


class _Run:
    """A run at work: it reads in a scope that shows everybody, and writes in one of each owner."""

    def __init__(self, eye: Eye, actor: Actor, at: datetime) -> None:
        self.eye, self.actor, self.at = eye, actor, at
        self.judged = self.extended = self.ended = 0
        self.found: list[Anomaly] = []

    def judge(self, organization_ids: list[int], hour: datetime) -> None:
        """Judge one hour of some organizations."""
        with rls.ops_scope("anomalies: judge an hour"):
            sightings = self.eye.sightings(organization_ids, hour)
            lasting = selectors.lasting(organization_ids)
        self.judged += len(sightings)
        notable: dict[int, list[Sighting]] = {}
        for one in sightings:
            if one.steady or one.key in lasting:
                notable.setdefault(one.series.organization_id, []).append(one)
        for organization_id, mine in notable.items():
            with rls.tenant_scope(organization_id):
                self._keep(organization_id, mine)

    def _keep(self, organization_id: int, sightings: list[Sighting]) -> None:
        """Write what an hour made of an organization's anomalies; who comes second waits here."""
        tenants.lock(organization_id)
        lasting = selectors.lasting([organization_id])
        for one in sightings:
            known = lasting.get(one.key, [])
            for row in known:
                self._go_on(row, one)
            way = one.judgement.direction.value
            if one.steady and not any(row.direction == way for row in known):
                self._begin(one)

    def _go_on(self, row: Anomaly, one: Sighting) -> None:
        if one.hour <= row.judged_hour:
            return  # another run was here
        row.judged_hour = one.hour
        if one.judgement.lasts and row.direction == one.judgement.direction.value:
            row.last_hour, row.hours, row.quiet_hours = one.hour, row.hours + 1, 0
            if _score(one.judgement.score) > row.score:
                _put_worst(row, one)
            self.extended += 1
        else:
            row.quiet_hours += 1
            if row.quiet_hours >= QUIET:
                row.ended_at = self.at
                self.ended += 1
        row.save()
        if row.lasts:
            self._hold(row)

    def _begin(self, one: Sighting) -> None:
        row = Anomaly(
            organization_id=one.series.organization_id,
            meter=one.meter.key,
            direction=one.judgement.direction.value,
            severity=one.judgement.severity.value,
            first_hour=one.hour,
            last_hour=one.hour,
            judged_hour=one.hour,
            found_at=self.at,
        )
        _put_worst(row, one)
        _put_cause(row, cause_of(one))
        row.save()
        fact = AnomalyFound(row.public_id, row.organization_id)
        outbox.emit(fact, at=self.at, organization_id=row.organization_id)
        self.found.append(row)
        self._hold(row)

    def _hold(self, row: Anomaly) -> None:
        terms: Terms = self.eye.terms[row.organization_id]
        if terms.holds(row.severity) and not row.is_decided:
            hold_drafts(row, actor=self.actor, at=self.at)
            doubt(row, actor=self.actor)


def _put_worst(row: Anomaly, one: Sighting) -> None:
    """Keep what the worst hour was, and the worst severity of all."""
    low, high = one.baseline.band()
    row.worst_hour, row.basis, row.samples = (
        one.hour,
        one.baseline.basis.value,
        one.baseline.samples,
    )
    row.seen, row.expected = quantity(one.value), quantity(one.baseline.expected)
    row.low, row.high = quantity(low), quantity(high)
    row.score = _score(one.judgement.score)
    worst = max(Severity(row.severity), one.judgement.severity, key=lambda severity: severity.rank)
    row.severity = worst.value


def _put_cause(row: Anomaly, found: Cause | None) -> None:
    if found is not None:
        row.dimension = found.dimension[:200]
        row.dimension_value = "" if found.value is None else found.value
        row.dimension_share = _tenths(found.share * 100)


def _score(score: Fraction) -> Decimal:
    return _tenths(min(score, Fraction(MOST_SCORE)))


def _tenths(value: Fraction) -> Decimal:
    return Decimal(int(value * 10)).scaleb(-1)
