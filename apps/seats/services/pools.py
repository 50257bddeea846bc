"""Pools: opened at the first assignment, locked by whoever assigns, in step with what is bought."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.core.actor import Actor, require, system
from apps.core.errors import Invalid, NotFound
from apps.seats import guarding, selectors
from apps.seats.errors import NoSeats
from apps.seats.models import STANDS, Pool, Seat
from apps.seats.services.rows import let_go
from apps.subscriptions import changes
from apps.subscriptions import selectors as subscription_selectors
from apps.subscriptions import services as subscriptions
from apps.subscriptions.facts import SubscriptionFacts
from apps.tenants import services as tenants

MOST_SEATS = changes.MAX_QUANTITY


def lock(pool_id: int) -> Pool:
    """Lock a pool's row: after the organization's and the subscription's, before the record's.

    Those two are held as well, so that who locks them, and then the pool, is not waited for.
    """
    owner, subscription = Pool.objects.values_list("organization_id", "subscription_id").get(
        pk=pool_id
    )
    tenants.hold(owner)
    subscriptions.hold(subscription)
    rows = Pool.objects.select_for_update(of=("self",), no_key=True)
    return rows.select_related("subscription").get(pk=pool_id)


def pool_of(subscription_id: str, *, item: str, actor: Actor) -> Pool:
    """Return the pool of a subscription's item, opened if it is the first time.

    Raises NotFound, NoSeats, and Invalid when it must be said which item is meant.
    """
    known = _pools(subscription_id, actor) or _opened(subscription_id, actor)
    chosen = [pool for pool in known if item in {"", pool.item}]
    if not known:
        raise NoSeats("The subscription has nothing that people could be given seats of.")
    if len(chosen) != 1:
        keys = ", ".join(sorted(pool.item for pool in known))
        raise Invalid(f"Say which item's seats are meant: {keys}.", param="item")
    return chosen[0]


@transaction.atomic
def set_auto_expand(
    subscription_id: str, *, up_to: int | None, item: str = "", actor: Actor, at: datetime
) -> Pool:
    """Let assigning buy one more seat where none is free, up to so many; None: never again.

    Safe to repeat. Raises Invalid, NoSeats and NotFound.
    """
    pool = pool_of(subscription_id, item=item, actor=actor)
    require("manage_billing", actor=actor, organization_id=pool.organization_id)
    if up_to is not None and not 0 < up_to <= MOST_SEATS:
        raise Invalid(f"Seats grow up to a number from 1 to {MOST_SEATS}.", param="up_to")
    pool = lock(pool.pk)
    before, pool.expand_up_to = pool.expand_up_to, up_to
    pool.save(update_fields=["expand_up_to"])
    if before != up_to:
        audit.record(
            action="pool.auto_expand_set",
            target=pool.public_id,
            actor=actor,
            at=at,
            organization_id=pool.organization_id,
            before={"up_to": before},
            after={"up_to": up_to},
        )
    return pool


def follow(before: SubscriptionFacts, after: SubscriptionFacts, moment: datetime) -> None:
    """Keep the pools of a subscription in step with what it stands at now.

    Subscriptions calls this in the transaction that stores a change, under its locks. The seats
    that were to go with the change go now. Raises SeatsInUse rather than take anybody else's.
    """
    mine = {"organization_id": after.organization_id, "subscription_id": after.id}
    known = list(Pool.objects.filter(**mine).order_by("pk").values_list("pk", flat=True))
    for pool in map(lock, known):
        item = selectors.item_in(pool, before, after)
        quantity = guarding.quantity_in(pool, before, after, moment)
        if quantity < pool.bought:
            _let_leave(pool, moment)
            guarding.refuse_fewer(pool, quantity, moment)
        pool.item, pool.bought = item, quantity
        pool.by_people = item in selectors.by_people(after)
        pool.save(update_fields=["item", "bought", "by_people"])
    if known:
        _add(after, moment)


def _pools(subscription_id: str, actor: Actor) -> list[Pool]:
    rows = Pool.objects.filter(subscription__public_id=subscription_id)
    if actor.organization_id is not None:  # row-level security says the same
        rows = rows.filter(organization_id=actor.organization_id)
    return list(rows.select_related("subscription"))


def _opened(subscription_id: str, actor: Actor) -> list[Pool]:
    """Open the pools of a subscription as it stands under its locks."""
    facts = subscription_selectors.get(subscription_id, organization_id=actor.organization_id)
    tenants.lock(facts.organization_id)
    subscriptions.lock(facts.id)
    facts = subscription_selectors.by_id(facts.id)
    _add(facts, max(facts.started_at, facts.recorded_at))
    return _pools(subscription_id, actor)


def _add(facts: SubscriptionFacts, moment: datetime) -> None:
    by_people = selectors.by_people(facts)
    rows = [
        Pool(
            organization_id=facts.organization_id,
            subscription_id=facts.id,
            application_id=facts.version.application_id,
            item=item,
            bought=quantity,
            by_people=item in by_people,
        )
        for item, quantity in selectors.bought(facts, moment).items()
    ]
    Pool.objects.bulk_create(rows, ignore_conflicts=True)


def _let_leave(pool: Pool, moment: datetime) -> None:
    """Release the seats that were to go by this moment, and count anew what is left."""
    rows = Seat.objects.filter(pool=pool, status__in=STANDS, leaves_at__lte=moment)
    for seat in rows.order_by("pk"):
        let_go(seat, because=Seat.Because.FEWER, actor=system("seats"), at=moment)
    pool.refresh_from_db(fields=["assigned"])


def mark_leaving(pool: Pool, seat_ids: Collection[str], moment: datetime) -> None:
    """Note which seats, by public id, go when a change of that moment is carried out."""
    rows = Seat.objects.filter(pool=pool, status__in=STANDS, public_id__in=list(seat_ids))
    if rows.update(leaves_at=moment) != len(set(seat_ids)):
        raise NotFound("One of these seats is not assigned, or is of another item.", param="seats")
