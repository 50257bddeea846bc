"""Questions about agreements. Rooms above get typed answers and the engine's `Agreement`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from django.db.models import F, Min, Model, Q, QuerySet

from apps.audit import selectors as audit
from apps.core.errors import NotFound
from apps.engine.agreement import Agreement, QuantityStep
from apps.engine.calendar import Cycle, Interval, Unit, zone
from apps.engine.daycount import Proration
from apps.engine.grid import Grid
from apps.engine.prices import parse_terms
from apps.plans import selectors as plans
from apps.plans.offers import CouponRules, coupon_rules
from apps.plans.selectors import PriceTerms, VersionTerms
from apps.subscriptions import changes, guards, parts, states
from apps.subscriptions.changes import Considered
from apps.subscriptions.facts import (
    ChangeFacts,
    DiscountFacts,
    During,
    ItemFacts,
    PhaseFacts,
    SubscriptionFacts,
    engine_item,
    grid_of,
)
from apps.subscriptions.models import Change, Discount, Subscription
from apps.subscriptions.parts import Parts, with_parts

__all__ = [
    "ChangeFacts",
    "Considered",
    "DiscountFacts",
    "Due",
    "ItemFacts",
    "PhaseFacts",
    "Share",
    "SubscriptionFacts",
    "by_id",
    "by_ids",
    "changes_due",
    "changes_of",
    "considered",
    "discount",
    "discounts_of",
    "due",
    "facts",
    "get",
    "has_moved",
    "has_scheduled",
    "next_due",
    "of_organization",
    "on_plan",
    "preview",
    "preview_cancel",
    "preview_pause",
    "public_ids",
    "trial_days",
    "trial_end",
]


R = TypeVar("R", bound=Model)


@dataclass(frozen=True, slots=True)
class Share:
    """One of several disjoint parts of all organizations, for runs that share the work."""

    number: int
    of: int


@dataclass(frozen=True, slots=True)
class Due:
    """A subscription whose next boundary has been reached, and that boundary where it is known."""

    subscription_id: int
    organization_id: int
    at: datetime | None = None


def due(
    as_of: datetime,
    *,
    scheduled: bool,
    leave_out: Collection[int] = (),
    organization_ids: Collection[int] | None = None,
    share: Share | None = None,
    limit: int | None = None,
) -> list[Due]:
    """Return what is due at `as_of`, oldest boundary first; needs the ops scope.

    A scheduled run leaves alone what lay in the past when the subscription was entered: backdated
    periods are billed by an operator who says so, never as a side effect of the clock. `leave_out`
    are subscriptions; `organization_ids` and `share` restrict it to these. Whoever lives by a test
    clock has a time of its own and is left alone unless it is named so.
    """
    rows = Subscription.objects.filter(status__in=states.BILLED, next_boundary_at__lte=as_of)
    if share is not None:
        mine = rows.alias(place=F("organization_id") % share.of)
        rows = mine.filter(place=share.number)
    if scheduled:
        rows = rows.filter(next_boundary_at__gte=F("recorded_at"))
    if leave_out:
        rows = rows.exclude(pk__among=leave_out)
    found = (
        _of(rows, organization_ids)
        .order_by("next_boundary_at", "id")
        .values_list("id", "organization_id", "next_boundary_at")
    )
    return [Due(*found_one) for found_one in found[:limit]]


def with_thresholds(*, organization_ids: Collection[int] | None = None) -> list[Due]:
    """Return the billed subscriptions whose plan version bills usage at thresholds; needs the ops
    scope. `organization_ids` as for `due`.
    """
    rows = Subscription.objects.filter(status__in=states.BILLED).exclude(
        plan_version__thresholds={}
    )
    mine = _of(rows, organization_ids).order_by("organization_id", "id")
    return [Due(*pair) for pair in mine.values_list("id", "organization_id")]


def get(public_id: str, *, organization_id: int | None = None) -> SubscriptionFacts:
    """Return the subscription with this public id (of the organization), or raise NotFound.

    A door that serves one organization names it, although row-level security says the same.
    """
    rows = _rows().filter(public_id=public_id)
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    found = facts(rows)
    if not found:
        raise NotFound(f"There is no subscription '{public_id}'.")
    return found[0]


def by_id(subscription_id: int) -> SubscriptionFacts:
    """Return the subscription with this integer id."""
    return facts(_rows().filter(pk=subscription_id))[0]


def by_ids(subscription_ids: Iterable[int]) -> dict[int, SubscriptionFacts]:
    """Return many subscriptions by their integer ids, in a handful of statements."""
    return {found.id: found for found in facts(_rows().filter(pk__among=set(subscription_ids)))}


def public_ids(subscription_ids: Iterable[int]) -> dict[int, str]:
    """Return what the outside world calls these subscriptions, by their integer ids."""
    rows = Subscription.objects.filter(pk__among=set(subscription_ids))
    return dict(rows.values_list("pk", "public_id"))


def of_organization(
    organization_id: int, *, live: bool = False, known: Iterable[VersionTerms] = ()
) -> list[SubscriptionFacts]:
    """Return the organization's subscriptions, newest first; only those that stand when `live`.

    Plan versions that are `known` are not read again.
    """
    rows = _rows().filter(organization_id=organization_id)
    return facts(rows.filter(status__in=states.LIVE) if live else rows, known=known)


def of_organizations(organization_ids: Collection[int]) -> list[SubscriptionFacts]:
    """Return the billed subscriptions of many organizations in a handful of statements; needs a
    scope that shows them.
    """
    rows = _rows().filter(organization_id__among=organization_ids, status__in=states.BILLED)
    return facts(rows)


def meter_names(organization_id: int) -> dict[str, str]:
    """Return what invoices call what the organization's live subscriptions meter, by key."""
    names: dict[str, str] = {}
    for found in of_organization(organization_id, live=True):
        for one in found.standing:
            if one.item.meter is not None:
                names.setdefault(one.item.meter, one.price.name)
    return names


@dataclass(frozen=True, slots=True)
class Summary:
    """A subscription in a list: what it is called, and when it is billed next."""

    public_id: str
    status: str
    version_public_id: str
    plan_name: str
    application_name: str
    next_boundary_at: datetime
    timezone: str


def summaries(organization_id: int, *, live: bool = False) -> list[Summary]:
    """Return the organization's subscriptions for a list, newest first, in one statement."""
    rows = _rows().filter(organization_id=organization_id)
    names = ("plan_version__public_id", "plan_version__plan__name", "application__name")
    columns = ("public_id", "status", *names, "next_boundary_at", "timezone")
    found = rows.filter(status__in=states.LIVE) if live else rows
    return [Summary(*one) for one in found.values_list(*columns)]


def is_collected_by_card(organization_id: int) -> bool:
    """Tell whether a live subscription of the organization is collected through Stripe."""
    rows = Subscription.objects.filter(organization_id=organization_id, status__in=states.LIVE)
    return rows.exclude(collection=Subscription.Collection.MANUAL).exists()


def preview(
    subscription_id: str,
    wish: changes.Wish,
    *,
    behaviour: changes.Behaviour,
    at: datetime,
    effective_at: datetime | None = None,
    organization_id: int | None = None,
) -> Considered:
    """Return what `services.change` would make of the subscription; stores nothing.

    Raises what that would, NotFound too.
    """
    found = get(subscription_id, organization_id=organization_id)
    considered = changes.consider(
        found, wish, behaviour=behaviour, at=at, effective_at=effective_at
    )
    guards.check(considered.before, considered.after, considered.effective_at)
    return considered


def preview_cancel(
    subscription_id: str,
    *,
    at: datetime,
    when: changes.When = changes.PERIOD_END,
    prorate: bool = True,
    organization_id: int | None = None,
) -> SubscriptionFacts:
    """Return the facts that `services.cancel` would leave; stores nothing."""
    found = get(subscription_id, organization_id=organization_id)
    return _without_later(changes.canceled(found, when=when, at=at, prorate=prorate))


def preview_pause(
    subscription_id: str,
    *,
    at: datetime,
    when: changes.When = changes.PERIOD_END,
    prorate: bool = True,
    organization_id: int | None = None,
) -> SubscriptionFacts:
    """Return the facts that `services.pause` would leave; stores nothing."""
    found = get(subscription_id, organization_id=organization_id)
    return _without_later(changes.paused(found, when=when, at=at, prorate=prorate))


def _without_later(facts: SubscriptionFacts) -> SubscriptionFacts:
    """Leave out the changes that an end or a pause calls off."""
    ends = facts.pause_at or facts.cancel_at
    kept = [one for one in facts.scheduled if ends is None or one.effective_at < ends]
    return facts.rebuilt(scheduled=tuple(kept))


def changes_due(as_of: datetime, *, organization_ids: Collection[int] | None = None) -> list[Due]:
    """Return whose scheduled changes are due, the earliest first; needs the ops scope.

    `organization_ids` as for `due`.
    """
    rows = Change.objects.filter(status="scheduled", effective_at__lte=as_of)
    rows = _of(rows, organization_ids).order_by("effective_at", "id")
    pairs = rows.values_list("subscription_id", "organization_id")
    return [Due(*pair) for pair in dict.fromkeys(pairs)]


def _of(rows: QuerySet[R], organization_ids: Collection[int] | None) -> QuerySet[R]:
    """Return the rows of these organizations, or else of all that live by the real time."""
    if organization_ids is None:
        return rows.filter(organization__test_clock=None)
    return rows.filter(organization_id__among=organization_ids)


def next_due(organization_ids: Collection[int], *, after: datetime) -> datetime | None:
    """Return when the organizations next have a boundary or a scheduled change to come.

    Needs a scope that shows them. None when nothing comes any more.
    """
    mine = {"organization_id__in": list(organization_ids)}
    boundaries = Subscription.objects.filter(
        **mine, status__in=states.BILLED, next_boundary_at__gt=after
    ).aggregate(first=Min("next_boundary_at"))
    changed = Change.objects.filter(**mine, status="scheduled", effective_at__gt=after).aggregate(
        first=Min("effective_at")
    )
    found = [one["first"] for one in (boundaries, changed) if one["first"] is not None]
    return min(found, default=None)


def on_plan(plan_id: int, *, after: int = 0, limit: int = 200) -> list[SubscriptionFacts]:
    """Return live subscriptions to the plan, whatever version, by their integer ids from `after`.

    Needs the ops scope. Ask again after the last one's id until there are none.
    """
    rows = Subscription.objects.filter(
        plan_version__plan_id=plan_id, status__in=states.LIVE, pk__gt=after
    )
    return facts(rows.order_by("pk")[:limit])


def has_scheduled(subscription_id: int) -> bool:
    """Whether a change of the subscription (its integer id) is still to come."""
    return Change.objects.filter(subscription_id=subscription_id, status="scheduled").exists()


def changes_of(subscription_id: int) -> list[ChangeFacts]:
    """Return everything that was changed, or is to be, of one subscription; the latest first."""
    rows = Change.objects.filter(subscription_id=subscription_id).order_by("-effective_at", "-id")
    return [_change(row) for row in rows]


def has_moved(facts: SubscriptionFacts, *, since: datetime, until: datetime) -> bool:
    """Whether anything was done to the subscription after `since`, or began in (since, until].

    Changes, discounts, and what only the record tells: cancellations, pauses, and their withdrawal.
    """
    changes = Change.objects.filter(subscription_id=facts.id)
    return (
        any(since < moment <= until for moment in facts.beginnings())
        or changes.filter(Q(requested_at__gt=since) | Q(settled_at__gt=since)).exists()
        or _discounts_moved(facts, since)
        or any(
            entry.at > since
            for entry in audit.latest(facts.organization_id, target=facts.public_id)
        )
    )


def _discounts_moved(facts: SubscriptionFacts, since: datetime) -> bool:
    among = Discount.objects.filter(
        Q(subscription_id=facts.id) | Q(subscription_id=None),
        organization_id=facts.organization_id,
    )
    moved = Q(during__startswith__gt=since) | Q(removed_at__gt=since) | Q(spent_at__gt=since)
    return among.filter(moved).exists()


def discount(public_id: str) -> DiscountFacts:
    """Return the discount with this public id, or raise NotFound."""
    row = Discount.objects.filter(public_id=public_id).first()
    if row is None:
        raise NotFound(f"There is no discount '{public_id}'.")
    return _discount_of(row)


def discounts_of(organization_id: int) -> list[DiscountFacts]:
    """Return every discount of the organization, its subscriptions' too, over or not."""
    return [_discount_of(row) for row in Discount.objects.filter(organization_id=organization_id)]


def _rows() -> QuerySet[Subscription]:
    return Subscription.objects.order_by("-id")


def facts(
    rows: Iterable[Subscription], *, known: Iterable[VersionTerms] = ()
) -> list[SubscriptionFacts]:
    """Return the facts of these rows, in as many statements for many as for one."""
    found = with_parts(rows)
    versions = {version.version_id: version for version in known}
    wanted = {row.plan_version_id for row, _ in found}.union(
        *(under.versions for _, under in found)
    )
    terms = _Terms(versions | plans.terms_of(wanted - versions.keys()))
    return [_facts(row, under, terms) for row, under in found]


class _Terms:
    """Plan versions by their integer ids, in the currencies asked for; each is made once."""

    def __init__(self, versions: Mapping[int, VersionTerms]) -> None:
        self._versions = versions
        self._known: dict[tuple[int, str], VersionTerms] = {}

    def version(self, version_id: int, currency: str) -> VersionTerms:
        key = version_id, currency
        if key not in self._known:
            self._known[key] = self._versions[version_id].in_currency(currency)
        return self._known[key]


def _facts(row: Subscription, under: Parts, terms: _Terms) -> SubscriptionFacts:
    items = tuple(
        _item(item, terms.version(item.version_id, row.currency), row.timezone)
        for item in under.items
    )
    phases = tuple(
        _phase(phase, terms.version(phase.plan_version_id, row.currency)) for phase in under.phases
    )
    return SubscriptionFacts(
        id=row.pk,
        public_id=row.public_id,
        organization_id=row.organization_id,
        status=row.status,
        collection=row.collection,
        version=terms.version(row.plan_version_id, row.currency),
        started_at=row.started_at,
        trial_end=row.trial_end,
        next_boundary=row.next_boundary,
        next_boundary_at=row.next_boundary_at,
        recorded_at=row.recorded_at,
        cancel_at=row.cancel_at,
        cancel_reason=row.cancel_reason,
        ended_at=row.ended_at,
        agreement=Agreement(_grid(row, phases), row.currency, tuple(i.item for i in items)),
        items=items,
        phases=phases,
        pause_at=row.pause_at,
        follows_id=row.follows_id,
        scheduled=under.changes,
        discounts=tuple(_discount(one, (one.since, one.until)) for one in under.discounts),
    )


def _grid(row: Subscription, phases: Sequence[PhaseFacts]) -> Grid:
    return grid_of(phases, begins=row.trial_end or row.started_at, timezone=row.timezone)


def _phase(row: parts.Phase, version: VersionTerms) -> PhaseFacts:
    interval = Interval(Unit(row.interval_unit), row.interval_count)
    return PhaseFacts(row.id, version, row.anchor, interval, (row.since, row.until))


def _item(row: parts.Item, version: VersionTerms, timezone: str) -> ItemFacts:
    price = next(price for price in version.prices if price.id == row.price_id)
    agreed = row.terms is not None
    if agreed:
        price = replace(price, terms=parse_terms(row.terms))
    if row.included is not None:
        price = replace(price, included=row.included)
    item = engine_item(
        row.id,
        price,
        group=version.version_id,
        during=(row.since, row.until),
        timezone=timezone,
        steps=tuple(_step(step) for step in row.steps),
        starts=row.starts,
        ends=row.ends,
    )
    return ItemFacts(row.id, row.public_id, price, item, agreed, version, row.position)


def _step(row: parts.Step) -> QuantityStep:
    proration = Proration(row.proration) if row.proration else None
    return QuantityStep(row.id, row.effective_at, row.quantity, proration)


def _change(row: Change) -> ChangeFacts:
    return ChangeFacts(
        id=row.id,
        public_id=row.public_id,
        action=row.action,
        behaviour=row.behaviour,
        arguments=row.arguments,
        effective_at=row.effective_at,
        status=row.status,
        reason=row.reason,
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        quoted_amount=row.quoted_amount,
    )


def _discount_of(row: Discount) -> DiscountFacts:
    return _discount(row, (row.during.lower, row.during.upper))


def _discount(row: Discount | parts.Discount, during: During) -> DiscountFacts:
    return DiscountFacts(
        id=row.id,
        public_id=row.public_id,
        subscription_id=row.subscription_id,
        coupon=coupon_rules(row.terms),
        promotion_code=row.promotion_code,
        during=during,
        position=row.position,
        spent_at=row.spent_at,
        removed_at=row.removed_at,
    )


def trial_days(organization_id: int, version: VersionTerms) -> int:
    """Return how many days the organization may try the plan: none after a first trial of it or of
    another plan of the same application.
    """
    tried = Subscription.objects.filter(
        organization_id=organization_id,
        application_id=version.application_id,
        trial_end__isnull=False,
    )
    return 0 if version.trial_days and tried.exists() else version.trial_days


def trial_end(start: datetime, days: int, timezone: str) -> datetime | None:
    """Return when a trial of that many local days ends; None when there is none."""
    if not days:
        return None
    local = start.astimezone(zone(timezone))
    return (local.replace(tzinfo=None) + timedelta(days=days)).replace(tzinfo=zone(timezone))


def considered(
    organization_id: int,
    version: VersionTerms,
    *,
    start: datetime,
    timezone: str,
    seats: int | None = None,
    coupon: CouponRules | None = None,
) -> SubscriptionFacts:
    """Return the facts that subscribing to the version would make; stores nothing.

    `coupon` is one that would be redeemed at once. Ids are negative: no row has them, so nothing
    counts as billed.
    """
    ends = trial_end(start, trial_days(organization_id, version), timezone)
    anchor = ends or start
    items = tuple(
        _considered_item(-position, price, version, start=start, seats=seats, timezone=timezone)
        for position, price in enumerate(version.prices, 1)
    )
    phases = (PhaseFacts(-1, version, anchor, version.interval, (start, None)),)
    grid = Grid.of(Cycle(anchor, version.interval, timezone))
    return SubscriptionFacts(
        id=-1,
        public_id="",
        organization_id=organization_id,
        status=states.ACTIVE if ends is None else states.TRIALING,
        collection="manual",
        version=version,
        started_at=start,
        trial_end=ends,
        next_boundary=0,
        next_boundary_at=anchor,
        recorded_at=start,
        cancel_at=None,
        cancel_reason="",
        ended_at=None,
        agreement=Agreement(grid, version.currency, tuple(facts.item for facts in items)),
        items=items,
        phases=phases,
        discounts=() if coupon is None else (_considered_discount(coupon, start),),
    )


def _considered_discount(coupon: CouponRules, start: datetime) -> DiscountFacts:
    return DiscountFacts(
        id=-1,
        public_id="",
        subscription_id=-1,
        coupon=coupon,
        promotion_code="",
        during=(start, None),
        position=coupon.position,
        spent_at=None,
        removed_at=None,
    )


def _considered_item(
    item_id: int,
    price: PriceTerms,
    version: VersionTerms,
    *,
    start: datetime,
    seats: int | None,
    timezone: str,
) -> ItemFacts:
    quantity = price.included if seats is None else Decimal(seats)
    steps = (QuantityStep(item_id, start, quantity),) if price.type == "licensed" else ()
    item = engine_item(
        item_id,
        price,
        group=version.version_id,
        during=(start, None),
        timezone=timezone,
        steps=steps,
    )
    return ItemFacts(item_id, "", price, item, False, version, -item_id - 1)
