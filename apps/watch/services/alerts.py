"""Raising alerts: once a crossing, however often and by however many it is looked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from apps.core import outbox, rls
from apps.core.actor import Actor, require
from apps.tenants import services as tenants
from apps.watch import crossings, selectors
from apps.watch.crossings import Crossing
from apps.watch.events import AlertRaised
from apps.watch.models import Alert, WatchMark

CHUNK = 200  # organizations whose figures are read together


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What a run did: the organizations looked at, the alerts raised, how many ended."""

    organizations: int
    raised: tuple[Alert, ...]
    cleared: int


def evaluate_alerts(
    *,
    actor: Actor,
    at: datetime,
    organization_ids: Collection[int] | None = None,
    everything: bool = False,
) -> Evaluated:
    """Hold every rule against the organizations whose usage or rules changed since the last look,
    or against these (`organization_ids`); rules on credit against all that are under one.

    Emits AlertRaised. Opens scopes of its own, one transaction an organization that has crossed.
    Safe to repeat, to run twice at once and to kill: a run that ends early looks again. Raises
    UsageNotReady after a restore.
    """
    require("manage_platform", actor=actor)
    with rls.ops_scope("alerts: whom to look at"):
        look = selectors.to_look_at(at, everything=everything)
        holders = selectors.under_credit_rules()
    wanted = sorted(look.organizations if organization_ids is None else organization_ids)
    if organization_ids is not None:
        holders &= set(organization_ids)
    raised, cleared = _on_credit(holders, at)
    for chunk in _chunks(wanted):
        raised += _raise_all(_of_usage(chunk, at), at)
    if organization_ids is None:
        _remember(look, at)
    return Evaluated(len({*wanted, *holders}), tuple(raised), cleared)


def _of_usage(organization_ids: list[int], at: datetime) -> list[Crossing]:
    with rls.ops_scope("alerts: figures of usage"):
        found = crossings.of_usage(organization_ids, at)
        known = selectors.standing({one.organization_id for one in found})
    return [one for one in found if one.key not in known]


def _on_credit(organization_ids: Collection[int], at: datetime) -> tuple[list[Alert], int]:
    with rls.ops_scope("alerts: figures of credit"):
        look = crossings.of_credit(organization_ids, at)
        known = selectors.standing(organization_ids)
    over = sorted(look.fine & known)
    cleared = sum(_clear(*key, at=at) for key in over)
    return _raise_all([one for one in look.crossed if one.key not in known], at), cleared


def _clear(organization_id: int, rule: str, subject: str, *, at: datetime) -> int:
    """End the alert of a credit that is there again; 0 when somebody else has."""
    with rls.tenant_scope(organization_id):
        tenants.lock(organization_id)
        rows = Alert.objects.filter(rule=rule, subject=subject, cleared_at=None)
        return rows.update(cleared_at=at)


def _raise_all(found: list[Crossing], at: datetime) -> list[Alert]:
    return [
        alert
        for organization_id, mine in crossings.by_organization(found).items()
        for alert in _raise(organization_id, mine, at)
    ]


def _raise(organization_id: int, found: Iterable[Crossing], at: datetime) -> list[Alert]:
    """Raise what nobody has raised meanwhile: who comes second waits for the lock, and then sees.

    The unique constraint would refuse it anyway.
    """
    with rls.tenant_scope(organization_id):
        tenants.lock(organization_id)
        known = selectors.standing([organization_id])
        made = [_row(one, at) for one in found if one.key not in known]
        for row in made:
            row.save()
            fact = AlertRaised(row.public_id, organization_id)
            outbox.emit(fact, at=at, organization_id=organization_id)
        return made


def _row(found: Crossing, at: datetime) -> Alert:
    return Alert(
        organization_id=found.organization_id,
        rule=found.rule.public_id,
        kind=found.rule.kind,
        subject=found.subject,
        name=found.name[:200],
        meter=found.meter,
        subscription=found.subscription,
        figure=found.figure,
        limit=found.rule.limit,
        currency=found.rule.currency,
        quantity=found.quantity,
        included=found.included,
        window_start=None if found.window is None else found.window.start,
        window_end=None if found.window is None else found.window.end,
        raised_at=at,
    )


def _chunks(ids: list[int]) -> Iterable[list[int]]:
    left = iter(ids)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


def _remember(look: selectors.Look, at: datetime) -> None:
    said = {"epoch": look.mark.epoch, "snapshot": look.mark.snapshot, "looked_at": at}
    if look.everything:
        said["everything_at"] = at
    with rls.ops_scope("alerts: remember how far"):
        WatchMark.objects.update_or_create(place=1, defaults=said)
