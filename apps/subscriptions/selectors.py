"""Questions about agreements. Rooms above get typed answers and the engine's `Agreement`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import F, Prefetch, QuerySet

from apps.core.errors import Invalid, NotFound
from apps.engine.agreement import Agreement, Item, QuantityStep
from apps.engine.calendar import Cycle, zone
from apps.engine.period import Period
from apps.engine.prices import parse_terms
from apps.plans import selectors as plans
from apps.plans.selectors import PriceTerms, VersionTerms
from apps.subscriptions import states
from apps.subscriptions.models import QuantityStep as StepRow
from apps.subscriptions.models import Subscription, SubscriptionItem


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """An item with the price it stands for; `agreed` when its terms are this customer's own."""

    id: int
    public_id: str
    price: PriceTerms
    item: Item
    agreed: bool


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """All that a page, a client or an invoice needs to know of a subscription."""

    id: int
    public_id: str
    organization_id: int
    status: str
    collection: str
    version: VersionTerms
    started_at: datetime
    trial_end: datetime | None
    next_boundary: int
    next_boundary_at: datetime
    recorded_at: datetime
    cancel_at: datetime | None
    cancel_reason: str
    ended_at: datetime | None
    agreement: Agreement
    items: tuple[ItemFacts, ...]

    @property
    def is_live(self) -> bool:
        """Whether it still stands."""
        return self.status in states.LIVE

    def item(self, item_id: int) -> ItemFacts:
        """Return the item with this integer id."""
        return next(facts for facts in self.items if facts.id == item_id)

    def current_period(self, at: datetime) -> Period:
        """Return the trial, the billing period that holds `at`, or the last one of an ended one."""
        cycle = self.agreement.cycle
        at = max(at, self.started_at)
        if at < cycle.anchor:
            return Period(self.started_at, cycle.anchor)
        if self.ended_at is not None and at >= self.ended_at:
            at = max(cycle.anchor, self.ended_at - timedelta(microseconds=1))
        return cycle.period(cycle.index_at(at))

    def licensed(self, key: str = "") -> ItemFacts:
        """Return the licensed item (of that key, where there are several), or raise Invalid."""
        found = [i for i in self.items if i.price.type == "licensed" and key in {"", i.item.key}]
        if len(found) != 1:
            raise Invalid("Say which item's quantity to change, by its key.", param="item")
        return found[0]

    def with_quantity(self, quantity: Decimal, *, at: datetime, key: str = "") -> SubscriptionFacts:
        """Return these facts as they would be with another quantity from `at` on."""
        chosen = self.licensed(key)
        latest = max((step.id for step in chosen.item.steps), default=0)
        step = QuantityStep(latest + 1, at, quantity)
        changed = replace(chosen.item, steps=(*chosen.item.steps, step))
        items = tuple(
            replace(facts, item=changed) if facts is chosen else facts for facts in self.items
        )
        agreement = replace(self.agreement, items=tuple(facts.item for facts in items))
        return replace(self, items=items, agreement=agreement)

    def quantities(self, at: datetime) -> dict[str, Decimal]:
        """Return the quantity of every licensed item in force at `at`, by key."""
        return {
            facts.item.key: facts.item.quantity_at(at)
            for facts in self.items
            if facts.price.type == "licensed"
        }


@dataclass(frozen=True, slots=True)
class Due:
    """A subscription whose next boundary has been reached."""

    subscription_id: int
    organization_id: int


def due(as_of: datetime, *, scheduled: bool) -> list[Due]:
    """Return what is due at `as_of`, oldest boundary first; needs the ops scope.

    A scheduled run leaves alone what lay in the past when the subscription was entered: backdated
    periods are billed by an operator who says so, never as a side effect of the clock.
    """
    rows = Subscription.objects.filter(status__in=states.BILLED, next_boundary_at__lte=as_of)
    if scheduled:
        rows = rows.filter(next_boundary_at__gte=F("recorded_at"))
    found = rows.order_by("next_boundary_at", "id").values_list("id", "organization_id")
    return [Due(*pair) for pair in found]


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
    return {found.id: found for found in facts(_rows().filter(pk__in=set(subscription_ids)))}


def of_organization(organization_id: int, *, live: bool = False) -> list[SubscriptionFacts]:
    """Return the organization's subscriptions, newest first; only those that stand when `live`."""
    rows = _rows().filter(organization_id=organization_id)
    return facts(rows.filter(status__in=states.LIVE) if live else rows)


def _rows() -> QuerySet[Subscription]:
    items = SubscriptionItem.objects.prefetch_related(
        Prefetch("steps", StepRow.objects.order_by("effective_at", "id"))
    ).order_by("position", "id")
    return Subscription.objects.prefetch_related(Prefetch("items", items)).order_by("-id")


def facts(rows: Iterable[Subscription]) -> list[SubscriptionFacts]:
    """Return the facts of these rows; plans are read in one go."""
    rows = list(rows)
    versions = plans.terms_of([row.plan_version_id for row in rows])
    return [_facts(row, versions[row.plan_version_id]) for row in rows]


def cycle_of(row: Subscription, version: VersionTerms) -> Cycle:
    """Return the grid of the subscription's boundaries."""
    return Cycle(row.anchor, version.interval, row.timezone)


def _facts(row: Subscription, version: VersionTerms) -> SubscriptionFacts:
    prices = {price.id: price for price in version.prices}
    items = tuple(_item(item, prices[item.price_id]) for item in row.items.all())
    cycle = cycle_of(row, version)
    return SubscriptionFacts(
        id=row.pk,
        public_id=row.public_id,
        organization_id=row.organization_id,
        status=row.status,
        collection=row.collection,
        version=version,
        started_at=row.started_at,
        trial_end=row.trial_end,
        next_boundary=row.next_boundary,
        next_boundary_at=row.next_boundary_at,
        recorded_at=row.recorded_at,
        cancel_at=row.cancel_at,
        cancel_reason=row.cancel_reason,
        ended_at=row.ended_at,
        agreement=Agreement(cycle, row.currency, tuple(facts.item for facts in items)),
        items=items,
    )


def _item(row: SubscriptionItem, price: PriceTerms) -> ItemFacts:
    agreed = row.terms is not None
    item = Item(
        id=row.pk,
        key=row.key,
        kind=price.type,  # type: ignore[arg-type] # the engine reads the word
        timing=price.timing,  # type: ignore[arg-type]
        terms=parse_terms(row.terms) if row.terms is not None else price.terms,
        included=price.included if row.included is None else row.included,
        during=(row.during.lower, row.during.upper),
        steps=_steps(row.steps.all()) if price.type == "licensed" else (),
        meter=price.meter_key,
        meter_id=price.meter_id,
    )
    return ItemFacts(row.pk, row.public_id, price, item, agreed)


def _steps(rows: Iterable[StepRow]) -> tuple[QuantityStep, ...]:
    return tuple(QuantityStep(row.pk, row.effective_at, row.quantity) for row in rows)


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
) -> SubscriptionFacts:
    """Return the facts that subscribing to the version would make; stores nothing.

    Ids are negative: no row has them, so nothing counts as billed.
    """
    ends = trial_end(start, trial_days(organization_id, version), timezone)
    cycle = Cycle(ends or start, version.interval, timezone)
    items = tuple(
        _considered_item(-position, price, start=start, seats=seats)
        for position, price in enumerate(version.prices, 1)
    )
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
        next_boundary_at=ends or start,
        recorded_at=start,
        cancel_at=None,
        cancel_reason="",
        ended_at=None,
        agreement=Agreement(cycle, version.currency, tuple(facts.item for facts in items)),
        items=items,
    )


def _considered_item(
    item_id: int, price: PriceTerms, *, start: datetime, seats: int | None
) -> ItemFacts:
    quantity = price.included if seats is None else Decimal(seats)
    steps = (QuantityStep(item_id, start, quantity),) if price.type == "licensed" else ()
    item = Item(
        id=item_id,
        key=price.key,
        kind=price.type,  # type: ignore[arg-type] # the engine reads the word
        timing=price.timing,  # type: ignore[arg-type]
        terms=price.terms,
        included=price.included,
        during=(start, None),
        steps=steps,
        meter=price.meter_key,
        meter_id=price.meter_id,
    )
    return ItemFacts(item_id, "", price, item, agreed=False)
