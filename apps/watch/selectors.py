"""Questions about what is watched: rules, alerts, anomalies, and whom a run has to look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from apps.engine.anomalies import USUAL, Sensitivity, Severity
from apps.tenants import selectors as tenants
from apps.usage import selectors as usage
from apps.watch.errors import UnknownAnomaly, UnknownRule
from apps.watch.models import Alert, AlertRule, Anomaly, WatchMark, WatchTerms

# A rule's time is its transaction's beginning: one that was long in coming is seen all the same.
LATE = timedelta(minutes=10)
ALL_AGAIN = timedelta(days=1)
KINDS_OF_USAGE = [kind for kind in AlertRule.Kind if kind != AlertRule.Kind.CREDITS]


@dataclass(frozen=True, slots=True)
class Terms:
    """How closely an organization is watched. `hold_from`: the least severity that holds drafts."""

    watched: bool = True
    hold_from: Severity | None = None
    least_events: int = USUAL.minimum

    @property
    def sensitivity(self) -> Sensitivity:
        """The terms as the engine takes them."""
        return Sensitivity(minimum=self.least_events)

    def holds(self, severity: str) -> bool:
        """Tell whether an anomaly of this severity holds drafts."""
        return self.hold_from is not None and Severity(severity).rank >= self.hold_from.rank


@dataclass(frozen=True, slots=True)
class Look:
    """Whom a run looks at, and the mark that stands once it has."""

    organizations: frozenset[int]
    mark: usage.Mark
    everything: bool


def whose(organization_id: int | None) -> Q:
    """Return the condition for the rows of an organization, or (None) those for all."""
    if organization_id is None:
        return Q(organization=None)
    return Q(organization_id=organization_id)


# --- rules and alerts -----------------------------------------------------------------------------
def get_rule(reference: str, *, organization_id: int | None = None) -> AlertRule:
    """Return the rule with this public id (of the organization), or raise UnknownRule."""
    rows = AlertRule.objects.filter(public_id=reference)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = rows.first()
    if found is None:
        raise UnknownRule(f"There is no alert rule '{reference}'.")
    return found


def rules_of(organization_id: int | None) -> Sequence[AlertRule]:
    """Return the rules in force of an organization, or (None) those for all of them."""
    rows = AlertRule.objects.filter(whose(organization_id), active=True)
    return list(rows.order_by("kind", "meter", "percent", "amount", "id"))


def rules_for(organization_ids: Iterable[int], kinds: Sequence[str]) -> dict[int, list[AlertRule]]:
    """Return the rules of these kinds that each organization is under; needs the ops scope."""
    wanted = set(organization_ids)
    found: dict[int, list[AlertRule]] = {one: [] for one in wanted}
    rows = AlertRule.objects.filter(active=True, kind__in=kinds).order_by("id")
    for row in rows.filter(Q(organization=None) | Q(organization_id__in=wanted)):
        for organization_id in wanted if row.organization_id is None else (row.organization_id,):
            found[organization_id].append(row)
    return {one: rules for one, rules in found.items() if rules}


def alerts_of(organization_id: int, *, limit: int = 50) -> Sequence[Alert]:
    """Return an organization's alerts, newest first."""
    return list(Alert.objects.filter(organization_id=organization_id).order_by("-id")[:limit])


def get_alert(reference: str) -> Alert:
    """Return the alert with this public id."""
    return Alert.objects.get(public_id=reference)


def standing(organization_ids: Collection[int]) -> set[tuple[int, str, str]]:
    """Return the alerts that stand, as (organization, rule, subject)."""
    rows = Alert.objects.filter(organization_id__in=organization_ids, cleared_at=None)
    return set(rows.values_list("organization_id", "rule", "subject"))


def to_look_at(at: datetime, *, everything: bool) -> Look:
    """Return the organizations whose usage or rules changed since the last look, and once a day all
    that are under a rule; needs the ops scope. Raises UsageNotReady after a restore.
    """
    now, last = usage.mark(), WatchMark.objects.first()
    days = None
    due = last is None or last.everything_at is None or at - last.everything_at >= ALL_AGAIN
    if last is not None and last.epoch is not None and not (everything or due):
        days = usage.changed_since(usage.Mark(last.epoch, last.snapshot))
    if days is None or last is None or last.looked_at is None:
        return Look(frozenset(_under_rules()), now, everything=True)
    changed = {day.organization_id for day in days}
    anew = AlertRule.objects.filter(active=True, set_at__gte=last.looked_at - LATE)
    return Look(frozenset(changed | _owners(anew)), now, everything=False)


def _under_rules() -> set[int]:
    return _owners(AlertRule.objects.filter(active=True))


def _owners(rules: QuerySet[AlertRule]) -> set[int]:
    owners = set(rules.values_list("organization_id", flat=True).distinct())
    if None not in owners:
        return {one for one in owners if one is not None}
    return set(tenants.timezones()) | set(tenants.clocked_organizations())


def under_credit_rules() -> set[int]:
    """Return the organizations that a rule watches the credit of; needs the ops scope."""
    return _owners(AlertRule.objects.filter(active=True, kind=AlertRule.Kind.CREDITS))


# --- anomalies ------------------------------------------------------------------------------------
def get_anomaly(reference: str, *, organization_id: int | None = None) -> Anomaly:
    """Return the anomaly with this public id (of the organization), or raise UnknownAnomaly."""
    rows = Anomaly.objects.filter(public_id=reference)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = rows.first()
    if found is None:
        raise UnknownAnomaly(f"There is no anomaly '{reference}'.")
    return found


def anomalies_of(
    organization_id: int, *, since: datetime | None = None, limit: int = 50
) -> Sequence[Anomaly]:
    """Return an organization's anomalies, newest first; those that were off `since` then."""
    rows = Anomaly.objects.filter(organization_id=organization_id).order_by("-id")
    return list((rows if since is None else rows.filter(last_hour__gte=since))[:limit])


def lasting(organization_ids: Collection[int]) -> dict[tuple[int, str], list[Anomaly]]:
    """Return the anomalies that go on, by organization and meter."""
    found: dict[tuple[int, str], list[Anomaly]] = {}
    rows = Anomaly.objects.filter(organization_id__in=organization_ids, ended_at=None)
    for row in rows.order_by("id"):
        found.setdefault((row.organization_id, row.meter), []).append(row)
    return found


def terms_of(organization_ids: Collection[int]) -> dict[int, Terms]:
    """Return how each organization is watched; needs a scope that shows the terms for all."""
    rows = WatchTerms.objects.filter(Q(organization=None) | Q(organization_id__in=organization_ids))
    said = {row.organization_id: as_terms(row) for row in rows}
    usual = said.get(None, Terms())
    return {one: said.get(one, usual) for one in organization_ids}


def as_terms(row: WatchTerms) -> Terms:
    """Return a row as terms."""
    return Terms(row.watched, Severity(row.hold_from) if row.hold_from else None, row.least_events)


def judged_until() -> datetime | None:
    """Return up to which hour anomalies have been looked for."""
    return WatchMark.objects.values_list("judged_until", flat=True).first()
