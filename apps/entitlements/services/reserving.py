"""Setting an amount aside, and then using it or giving it back: a hard limit is never passed.

Everybody who reserves or settles takes the feature's turn first and looks then, so that what is
used and what is set aside together never exceed a limit that blocks, whoever else comes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F

from apps.core import rls
from apps.core.actor import Actor, require
from apps.core.errors import Invalid
from apps.engine.aggregation import Aggregation
from apps.engine.decimals import EXACT
from apps.engine.entitlements import Behaviour
from apps.engine.metering import EventFilter
from apps.entitlements import selectors
from apps.entitlements.decisions import Decision, Held
from apps.entitlements.errors import (
    ExceedsReservation,
    NotAllowed,
    NotReservable,
    ReservationExpired,
    ReservationKeyReused,
    ReservationSettled,
    UnknownReservation,
)
from apps.entitlements.models import HIGHEST, Reservation
from apps.entitlements.selectors import Holdings, ReservationFacts, reservation_facts
from apps.entitlements.services.turns import MONEY, take_turn
from apps.usage import selectors as usage
from apps.usage import services as usage_services
from apps.usage.checking import NewEvent
from apps.usage.selectors import MeterFacts

DEFAULT_EXPIRY = timedelta(minutes=5)
LONGEST_EXPIRY = timedelta(hours=1)
MOST_EVENTS = 1000
PLACES = 12
SOURCE = "entitlements.reservation"
"""The source of the events that commits write; their ids are made of the reservation's."""

Status = Reservation.Status


@transaction.atomic
def reserve(
    organization_id: int,
    *,
    feature: str,
    amount: Decimal,
    expires_in: timedelta = DEFAULT_EXPIRY,
    key: str = "",
    actor: Actor,
    at: datetime,
) -> ReservationFacts:
    """Set the amount aside until it is committed, released, or `expires_in` (at most an hour) over.

    Safe to repeat with a `key`: the same one again is the same reservation, as it is by then.
    Raises NotAllowed when `decide` says no, NotReservable for what no meter adds up,
    ReservationKeyReused for a key that came with something else, and Invalid for an amount or a
    time out of bounds.
    """
    require("write_usage", actor=actor, organization_id=organization_id)
    _check(amount, expires_in)
    found = selectors.holdings(organization_id, at=at)
    held = found.held(feature)
    if not isinstance(held, Held):
        raise _not_allowed(selectors.refused(feature, held, amount))
    _refuse_unreservable(held, amount)
    _take_turns(found, held)
    again = _known(organization_id, key, feature, amount)
    if again is not None:
        return again
    _expire(organization_id, at)
    decision = selectors.judge(found, held, amount)
    if not decision.allowed:
        raise _not_allowed(decision)
    row = Reservation(
        organization_id=organization_id,
        feature_id=held.feature.id,
        subscription_id=held.facts.id,
        key=key,
        amount=amount,
        on_limit=held.rules.on_limit,
        reserved_at=at,
        expires_at=at + expires_in,
    )
    return _stored(row)


@transaction.atomic
def commit(
    reservation_id: str,
    *,
    amount: Decimal | None = None,
    data: Mapping[str, object] | None = None,
    actor: Actor,
    at: datetime,
) -> ReservationFacts:
    """Count what was used of a reservation, all of it unless `amount` says otherwise, as an event.

    The event is stored in the same transaction under an id made of the reservation's, so that it
    counts once; `data` are further facts for it. Less than was reserved is fine, and so is nothing;
    more only where the limit does not block. Safe to repeat with the same amount. Raises
    UnknownReservation, ReservationExpired, ReservationSettled, ExceedsReservation, NotAllowed when
    money leaves no room for the excess, and Invalid.
    """
    row = _mine(reservation_id, actor=actor)
    used = row.amount if amount is None else amount
    _check_used(used)
    if row.status == Status.COMMITTED and row.committed == used:
        return reservation_facts(row)
    _refuse_settled(row, at)
    if used > row.amount:
        _check_excess(row, EXACT.subtract(used, row.amount), at)
    _count(row, used, data or {}, actor=actor, at=at)
    return _settle(row, Status.COMMITTED, at, committed=used)


@transaction.atomic
def release(reservation_id: str, *, actor: Actor, at: datetime) -> ReservationFacts:
    """Give the amount free. Safe to repeat, also when it has expired by itself.

    Raises UnknownReservation, and ReservationSettled when it was committed.
    """
    row = _mine(reservation_id, actor=actor)
    if row.status in {Status.RELEASED, Status.EXPIRED}:
        return reservation_facts(row)
    if row.status == Status.COMMITTED:
        raise ReservationSettled("The reservation was committed; what was used stays counted.")
    return _settle(row, Status.RELEASED, at)


def expire_reservations(*, actor: Actor, at: datetime) -> int:
    """Settle the reservations that have run out, of every organization; return how many.

    Their amounts are free already: this only says so in the rows. Safe to repeat.
    """
    require("write_usage", actor=actor)
    with rls.ops_scope("expire reservations"):
        return _run_out(Reservation.objects.all(), at)


def _check(amount: Decimal, expires_in: timedelta) -> None:
    _check_units(amount)
    if amount <= 0:
        raise Invalid("Reserve more than nothing.", param="amount")
    if not timedelta(seconds=1) <= expires_in <= LONGEST_EXPIRY:
        raise Invalid("A reservation lasts from a second to an hour.", param="expires_in")


def _check_used(amount: Decimal) -> None:
    _check_units(amount)
    if amount < 0:
        raise Invalid("No less than nothing was used.", param="amount")


def _check_units(amount: Decimal) -> None:
    places = amount.as_tuple().exponent if amount.is_finite() else "none"
    if not isinstance(places, int) or places < -PLACES or abs(amount) >= HIGHEST:
        raise Invalid("An amount lies below 10^18, with at most 12 decimals.", param="amount")


def _not_allowed(decision: Decision) -> NotAllowed:
    left = decision.remaining
    return NotAllowed(
        decision.sentence,
        param="amount",
        reason=str(decision.reason),
        remaining=None if left is None else f"{left.normalize():f}",
    )


def _refuse_unreservable(held: Held, amount: Decimal) -> None:
    meter = None if held.feature.meter_key is None else usage.get_meter(held.feature.meter_key)
    if meter is None:
        raise NotReservable(
            f"'{held.feature.key}' is counted by the application itself.", param="feature"
        )
    if meter.aggregation not in {Aggregation.COUNT, Aggregation.SUM}:
        raise NotReservable(
            f"'{held.feature.key}' counts different values: an amount says nothing.",
            param="feature",
        )
    if meter.aggregation is Aggregation.COUNT:
        _check_whole(amount)


def _check_whole(amount: Decimal) -> None:
    if amount != amount.to_integral_value() or amount > MOST_EVENTS:
        raise Invalid(f"Its meter counts events: up to {MOST_EVENTS} at a time.", param="amount")


def _take_turns(found: Holdings, held: Held) -> None:
    if selectors.hard_money(found, held):
        take_turn(found.organization_id, MONEY)
    take_turn(found.organization_id, held.feature.id)


def _known(
    organization_id: int, key: str, feature: str, amount: Decimal
) -> ReservationFacts | None:
    """Return the reservation that was made with this key; raise when it is another one."""
    if not key:
        return None
    rows = Reservation.objects.filter(organization_id=organization_id, key=key)
    row = rows.select_related("feature").first()
    if row is None:
        return None
    if (row.feature.key, row.amount) != (feature, amount):
        raise ReservationKeyReused("This key was used to reserve something else.", param="key")
    return reservation_facts(row)


def _stored(row: Reservation) -> ReservationFacts:
    """Store it, unless somebody used its key for another feature at this very moment."""
    Reservation.objects.bulk_create([row], ignore_conflicts=True)
    found = Reservation.objects.filter(public_id=row.public_id).select_related("feature").first()
    if found is None:
        raise ReservationKeyReused("This key was used to reserve something else.", param="key")
    return reservation_facts(found)


def _expire(organization_id: int, at: datetime) -> None:
    """Settle what has run out, so that nobody commits it after its amount was given away."""
    _run_out(Reservation.objects.filter(organization_id=organization_id), at)


def _run_out(rows: Any, at: datetime) -> int:
    due = rows.filter(status=Status.OPEN, expires_at__lte=at)
    return int(due.update(status=Status.EXPIRED, settled_at=F("expires_at")))


def _mine(reservation_id: str, *, actor: Actor) -> Reservation:
    """Return the reservation, locked after its feature's turn, for somebody who may settle it."""
    rows = Reservation.objects.filter(public_id=reservation_id)
    if actor.organization_id is not None:  # row-level security says the same
        rows = rows.filter(organization_id=actor.organization_id)
    found = rows.first()
    if found is None:
        raise UnknownReservation("There is no such reservation.")
    require("write_usage", actor=actor, organization_id=found.organization_id)
    take_turn(found.organization_id, found.feature_id)
    locked = Reservation.objects.select_for_update(of=("self",)).select_related("feature")
    return locked.get(pk=found.pk)


def _refuse_settled(row: Reservation, at: datetime) -> None:
    if row.status == Status.EXPIRED or (row.status == Status.OPEN and row.expires_at <= at):
        raise ReservationExpired(
            "The reservation has run out. Send what was used as an event: usage is always counted."
        )
    if row.status != Status.OPEN:
        raise ReservationSettled(f"The reservation was {row.status} before.")


def _check_excess(row: Reservation, excess: Decimal, at: datetime) -> None:
    if row.on_limit == Behaviour.BLOCK:
        raise ExceedsReservation(
            f"{row.amount.normalize():f} were reserved, and the limit allows no more.",
            param="amount",
        )
    decision = selectors.decide(row.organization_id, row.feature.key, excess, at=at)
    if not decision.allowed:
        raise _not_allowed(decision)


def _count(
    row: Reservation, used: Decimal, data: Mapping[str, object], *, actor: Actor, at: datetime
) -> None:
    counted_by = row.feature.meter
    if counted_by is None:
        raise TypeError(f"{row.feature.key} lost its meter")  # the database keeps it
    meter = usage.get_meter(counted_by.key)
    events = list(_events(row, meter, used, data, at))
    if events and not _passes(meter, events[0].data):
        raise Invalid(f"The meter '{meter.key}' counts no event with such data.", param="data")
    outcome = usage_services.ingest(row.organization_id, events=events, actor=actor, at=at)
    _refuse_uncounted(outcome.results)


def _events(
    row: Reservation, meter: MeterFacts, used: Decimal, data: Mapping[str, object], at: datetime
) -> Iterable[NewEvent]:
    """Yield the events whose count, or whose value, is what was used."""
    if meter.aggregation is Aggregation.COUNT:
        _check_whole(used)
        for number in range(1, int(used) + 1):
            yield NewEvent(SOURCE, f"{row.public_id}/{number}", meter.event_type, at, data)
    elif used:
        valued = _at_path(data, meter.value.split("."), used)
        yield NewEvent(SOURCE, row.public_id, meter.event_type, at, valued)


def _at_path(data: Mapping[str, object], path: Sequence[str], value: Decimal) -> dict[str, object]:
    first, *rest = path
    if not rest:
        return {**data, first: value}
    inner = data.get(first)
    below = inner if isinstance(inner, Mapping) else {}
    return {**data, first: _at_path(below, rest, value)}


def _passes(meter: MeterFacts, data: Mapping[str, object]) -> bool:
    include = meter.filter.get("include", {})
    exclude = meter.filter.get("exclude", ())
    filtered = EventFilter(_sets(include), tuple(_sets(one) for one in exclude))
    names = {name for one in (include, *exclude) for name in one}
    return filtered.passes({name: _found(data, name) for name in names})


def _sets(values: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(found) for name, found in values.items()}


def _found(data: Mapping[str, object], path: str) -> object:
    found: object = data
    for step in path.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _refuse_uncounted(results: Sequence[Any]) -> None:
    """Refuse a commit whose event was not stored: nothing of it stands then."""
    for result in results:
        if result.status not in {usage_services.Status.ACCEPTED, usage_services.Status.DUPLICATE}:
            raise Invalid(result.reason, param="data", event_code=result.code)


def _settle(
    row: Reservation, status: str, at: datetime, *, committed: Decimal | None = None
) -> ReservationFacts:
    row.status, row.settled_at, row.committed = status, at, committed
    row.save(update_fields=["status", "settled_at", "committed"])
    return reservation_facts(row)
