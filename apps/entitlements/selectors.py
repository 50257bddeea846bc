"""Questions about what may be used. Every door asks `decide`, and so do the services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Sum

from apps.core.errors import NotFound
from apps.engine.decimals import ZERO
from apps.engine.entitlements import Behaviour, Standing
from apps.entitlements.decisions import Caution, Decision, Held, NextUnits, Reason, refused
from apps.entitlements.errors import UnknownReservation
from apps.entitlements.holding import Holdings, holdings
from apps.entitlements.models import Override, Reservation, SpendCap
from apps.entitlements.spending import Spending
from apps.plans.content import Value
from apps.usage import selectors as usage

__all__ = [
    "CapStanding",
    "Caution",
    "Decision",
    "Held",
    "Holdings",
    "NextUnits",
    "OverrideFacts",
    "Reason",
    "ReservationFacts",
    "cap_standings",
    "decide",
    "hard_money",
    "holdings",
    "judge",
    "limits_of",
    "overrides_of",
    "refused",
    "reservation",
    "reservations_of",
]

AHEAD = timedelta(days=1)
"""Events may be a little ahead of the clock; what counts since ever is counted up to here."""


@dataclass(frozen=True, slots=True)
class ReservationFacts:
    """A reservation, for the doors."""

    id: int
    public_id: str
    feature: str
    subscription_id: int
    key: str
    amount: Decimal
    committed: Decimal | None
    status: str
    reserved_at: datetime
    expires_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class OverrideFacts:
    """What one subscription is granted in place of what its plan says, from `starts` to `ends`."""

    id: int
    public_id: str
    subscription: str
    feature: str
    value: Value
    reset: str
    on_limit: str
    prepaid: bool
    starts: datetime
    ends: datetime | None
    reason: str
    set_by: str


@dataclass(frozen=True, slots=True)
class CapStanding:
    """A spend cap and what is spent of it, in minor units; `subscription` None: all of them."""

    public_id: str
    subscription: str | None
    currency: str
    amount: int
    on_limit: str
    spent: int
    reserved: int
    set_at: datetime

    @property
    def remaining(self) -> int:
        """What may still be spent, never below zero."""
        return max(0, self.amount - self.spent - self.reserved)


# --- the one answer -----------------------------------------------------------------------------
def decide(
    organization_id: int, feature_key: str, amount: Decimal = Decimal(1), *, at: datetime
) -> Decision:
    """Say whether the organization may use so much of the feature now, and what is left of it.

    Of a limit that a meter counts against, `amount` is what would be used beyond what was counted
    and is set aside; of any other limit what there would be in all. Nothing is ever an error here:
    what is unknown is not allowed, and the reason says so. Works in the organization's scope.
    """
    found = holdings(organization_id, at=at)
    held = found.held(feature_key)
    if not isinstance(held, Held):
        return refused(feature_key, held, amount)
    return judge(found, held, amount)


def judge(found: Holdings, held: Held, amount: Decimal) -> Decision:
    """Decide on a grant that was found: count what is set aside and used, and what it costs.

    Whoever has to be sure holds the turns of the feature, and of the money where caps are hard.
    """
    if held.counting is None:
        return _uncounted(held, amount)
    [standing] = _standings(found, [held])
    caps = _caps(found.organization_id)
    spending = _spending(found, held, caps)
    reason, warnings = _within_limit(held, standing, amount)
    if reason is Reason.OK:
        reason, more = _within_money(caps, spending, held, amount)
        warnings = (*warnings, *more)
    return Decision(
        held.feature.key,
        reason is Reason.OK,
        reason,
        amount,
        held,
        standing,
        spending.next_units(held, amount),
        warnings,
    )


def hard_money(found: Holdings, held: Held) -> bool:
    """Whether an amount of money is in the feature's way, so that reserving it needs a turn."""
    return held.rules.prepaid or any(
        cap.on_limit == Behaviour.BLOCK for cap in _caps(found.organization_id)
    )


def limits_of(organization_id: int, *, at: datetime) -> list[Decision]:
    """Return how each limit that a meter counts against stands, measured in one statement."""
    found = holdings(organization_id, at=at)
    counted = found.metered()
    return [
        Decision(held.feature.key, True, Reason.OK, ZERO, held, standing)
        for held, standing in zip(counted, _standings(found, counted), strict=True)
    ]


def cap_standings(organization_id: int, *, at: datetime) -> list[CapStanding]:
    """Return the organization's spend caps with what is spent of them."""
    caps = _caps(organization_id)
    if not caps:
        return []
    found = holdings(organization_id, at=at)
    spending = Spending(organization_id, found.live, at=at)
    names = {facts.id: facts.public_id for facts in found.live}
    return [
        CapStanding(
            cap.public_id,
            None if cap.subscription_id is None else names.get(cap.subscription_id, ""),
            cap.currency,
            cap.amount,
            cap.on_limit,
            spending.spent(cap),
            spending.set_aside(cap),
            cap.set_at,
        )
        for cap in caps
    ]


def _uncounted(held: Held, amount: Decimal) -> Decision:
    """Decide on what no meter counts: a switch, a setting, or a number the application counts."""
    reason = Reason.OK
    if held.value is False:
        reason = Reason.NOT_INCLUDED
    elif held.limit is not None and amount > held.limit:
        reason = Reason.LIMIT_REACHED
    return Decision(held.feature.key, reason is Reason.OK, reason, amount, held)


def _within_limit(
    held: Held, standing: Standing, amount: Decimal
) -> tuple[Reason, tuple[Caution, ...]]:
    if standing.has_room_for(amount) or held.behaviour is Behaviour.ALLOW:
        return Reason.OK, ()
    if held.behaviour is Behaviour.WARN:
        return Reason.OK, (Caution.LIMIT_PASSED,)
    return Reason.LIMIT_REACHED, ()


def _within_money(
    caps: Sequence[SpendCap], spending: Spending, held: Held, amount: Decimal
) -> tuple[Reason, tuple[Caution, ...]]:
    """Hold the amount against spend caps and credit; what costs nothing passes both."""
    if not (caps or held.rules.prepaid) or not spending.costs_more(held, amount):
        return Reason.OK, ()
    passed = {cap.on_limit for cap in caps if spending.passes(cap, held, amount)}
    if Behaviour.BLOCK in passed:
        return Reason.SPEND_CAP_REACHED, ()
    if held.rules.prepaid and not spending.credit_covers(held, amount):
        return Reason.CREDIT_USED_UP, ()
    return Reason.OK, (Caution.SPEND_CAP_PASSED,) if passed else ()


def _spending(found: Holdings, held: Held, caps: Sequence[SpendCap]) -> Spending:
    """Measure what has to be priced: everything where money is in the way, else the one meter."""
    if held.rules.prepaid or caps:
        return Spending(found.organization_id, found.live, at=found.at)
    meters = [str(held.feature.meter_key)]
    return Spending(found.organization_id, [held.facts], at=found.at, meters=meters)


def _standings(found: Holdings, counted: Sequence[Held]) -> list[Standing]:
    reserved = _reserved(found)  # before what is used: see `Spending`
    measured = usage.measure(found.organization_id, [_want(held, found.at) for held in counted])
    return [
        Standing(held.limit, one.quantity, reserved.get(held.feature.id, ZERO))
        for held, one in zip(counted, measured, strict=True)
    ]


def _want(held: Held, at: datetime) -> usage.Want:
    counting = held.counting
    if counting is None:
        raise TypeError(f"{held.feature.key} has no meter")
    return usage.Want(str(held.feature.meter_key), counting.start, counting.end or at + AHEAD)


def _reserved(found: Holdings) -> Mapping[int, Decimal]:
    rows = Reservation.objects.filter(
        organization_id=found.organization_id,
        status=Reservation.Status.OPEN,
        expires_at__gt=found.at,
    )
    return dict(rows.order_by().values_list("feature_id").annotate(units=Sum("amount")))


def _caps(organization_id: int) -> list[SpendCap]:
    return list(SpendCap.objects.filter(organization_id=organization_id))


# --- lists --------------------------------------------------------------------------------------
def reservation(public_id: str, *, organization_id: int | None = None) -> ReservationFacts:
    """Return the reservation with this public id (of the organization), or raise."""
    rows = Reservation.objects.filter(public_id=public_id).select_related("feature")
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    row = rows.first()
    if row is None:
        raise UnknownReservation("There is no such reservation.")
    return reservation_facts(row)


def reservations_of(organization_id: int, *, limit: int = 100) -> list[ReservationFacts]:
    """Return the organization's latest reservations."""
    rows = Reservation.objects.filter(organization_id=organization_id).select_related("feature")
    return [reservation_facts(row) for row in rows[:limit]]


def reservation_facts(row: Reservation) -> ReservationFacts:
    """Return a row's facts; its feature comes with it."""
    return ReservationFacts(
        id=row.pk,
        public_id=row.public_id,
        feature=row.feature.key,
        subscription_id=row.subscription_id,
        key=row.key,
        amount=row.amount,
        committed=row.committed,
        status=row.status,
        reserved_at=row.reserved_at,
        expires_at=row.expires_at,
        settled_at=row.settled_at,
    )


def overrides_of(organization_id: int) -> list[OverrideFacts]:
    """Return everything that was agreed beside the plans, the latest first."""
    rows = Override.objects.filter(organization_id=organization_id)
    return [override_facts(row) for row in rows.select_related("feature", "subscription")]


def override(public_id: str, *, organization_id: int | None = None) -> OverrideFacts:
    """Return the override with this public id (of the organization), or raise NotFound."""
    rows = Override.objects.filter(public_id=public_id)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    row = rows.select_related("feature", "subscription").first()
    if row is None:
        raise NotFound("There is no such override.")
    return override_facts(row)


def override_facts(row: Override) -> OverrideFacts:
    """Return a row's facts; its feature and subscription come with it."""
    return OverrideFacts(
        id=row.pk,
        public_id=row.public_id,
        subscription=row.subscription.public_id,
        feature=row.feature.key,
        value=row.value,
        reset=row.reset,
        on_limit=row.on_limit,
        prepaid=row.prepaid,
        starts=row.during.lower,
        ends=row.during.upper,
        reason=row.reason,
        set_by=row.set_by,
    )
