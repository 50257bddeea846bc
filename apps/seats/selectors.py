"""Questions about seats: who sits where, how many are left, and who was not seen for long."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core import signing
from django.db.models import Count, Q, QuerySet

from apps.core.errors import Invalid
from apps.engine.agreement import ItemKind, QuantityPolicy
from apps.seats.errors import ClaimInvalid, UnknownSeat
from apps.seats.models import STANDS, Pool, Seat
from apps.subscriptions import changes
from apps.subscriptions import selectors as subscriptions
from apps.subscriptions.facts import SubscriptionFacts

CLAIM_SALT = "seats.claim"
USED_WITHIN = timedelta(days=30)
"""Who was seen within this time uses the seat."""


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """The seats of one item: bought, somebody's, and used: three numbers.

    `invited` of those assigned wait to be claimed. `used` were seen in the last 30 days.
    """

    subscription: SubscriptionFacts
    item: str
    name: str
    bought: int
    assigned: int = 0
    invited: int = 0
    used: int = 0
    expand_up_to: int | None = None
    by_people: bool = False
    id: int | None = None

    @property
    def free(self) -> int:
        """How many are bought and nobody's."""
        return self.bought - self.assigned


def bought(facts: SubscriptionFacts, moment: datetime) -> dict[str, int]:
    """Return how many of each licensed item the subscription stands at, by the item's key.

    What a pause or an end to come takes away counts: until then people sit on it, and after a pause
    it is there again.
    """
    found = sorted(
        (one.item for one in facts.standing if one.item.kind is ItemKind.LICENSED),
        key=lambda item: item.start,
    )
    return {item.key: int(item.quantity_at(max(moment, item.start))) for item in found}


def by_people(facts: SubscriptionFacts) -> set[str]:
    """Return the keys of the items that are billed by how many people have a seat."""
    items = (one.item for one in facts.standing)
    return {item.key for item in items if item.policy is QuantityPolicy.ASSIGNED}


def grows_to(pool: Pool | PoolFacts) -> int:
    """Return up to how many seats assigning buys by itself; 0 when it buys none."""
    if pool.expand_up_to is None:
        return changes.MAX_QUANTITY if pool.by_people else 0
    return pool.expand_up_to


def item_in(pool: Pool, before: SubscriptionFacts, after: SubscriptionFacts) -> str:
    """Return which item a pool's seats belong to after a change.

    Another plan may call the one thing that is counted otherwise; then the seats go with it.
    """
    keys = set(bought(after, after.started_at))
    fresh = keys - set(bought(before, before.started_at))
    return next(iter(fresh)) if pool.item not in keys and len(fresh) == 1 else pool.item


def leaving(pool: Pool, moment: datetime, *, besides: Collection[str] = ()) -> int:
    """Return how many of the pool's seats will have gone by a moment, or are said to go then."""
    going = Q(leaves_at__lte=moment) | Q(public_id__in=list(besides))
    return Seat.objects.filter(going, pool=pool, status__in=STANDS).count()


def least_ahead(pool: Pool) -> tuple[int, datetime] | None:
    """Return how many more may be assigned because of what is scheduled, and what limits them.

    None where nothing that is scheduled leaves fewer seats than there are.
    """
    if not subscriptions.has_scheduled(pool.subscription_id):
        return None
    facts = subscriptions.by_id(pool.subscription_id)
    ahead = []
    for moment in {change.effective_at for change in facts.scheduled}:
        then = changes.foreseen(facts, moment)
        quantity = bought(then, moment).get(item_in(pool, facts, then), 0)
        ahead.append((quantity - pool.assigned + leaving(pool, moment), moment))
    return min(ahead, default=None)


def pools(organization_id: int, *, at: datetime, subscription_id: str = "") -> list[PoolFacts]:
    """Return the seats of the organization's live subscriptions, or of one of any state, by item.

    An item whose seats nobody has been given yet is among them.
    """
    if subscription_id:
        agreements = [subscriptions.get(subscription_id, organization_id=organization_id)]
    else:
        agreements = subscriptions.of_organization(organization_id, live=True)
    rows = Pool.objects.filter(
        organization_id=organization_id, subscription_id__in=[facts.id for facts in agreements]
    ).annotate(**_numbers(at))
    known = {(row.subscription_id, row.item): row for row in rows}
    return [
        _pool_facts(facts, item, quantity, known.get((facts.id, item)))
        for facts in agreements
        for item, quantity in bought(facts, max(at, facts.started_at)).items()
    ]


def pool(organization_id: int, subscription_id: str, *, item: str = "", at: datetime) -> PoolFacts:
    """Return the seats of one item, the only one unless it is said which; NotFound and Invalid."""
    found = pools(organization_id, at=at, subscription_id=subscription_id)
    chosen = [one for one in found if item in {"", one.item}]
    if len(chosen) != 1:
        raise Invalid("Say which item's seats are meant, by its key.", param="item")
    return chosen[0]


def _numbers(at: datetime) -> dict[str, Any]:
    stands = Q(seats__status__in=STANDS)
    return {
        "invited": Count("seats", filter=Q(seats__status="invited")),
        "used": Count("seats", filter=stands & Q(seats__last_seen_at__gt=at - USED_WITHIN)),
    }


def _pool_facts(facts: SubscriptionFacts, item: str, quantity: int, row: Any | None) -> PoolFacts:
    name = next(one.price.name for one in facts.standing if one.item.key == item)
    if row is None:
        return PoolFacts(facts, item, name, quantity, by_people=item in by_people(facts))
    numbers = (row.bought, row.assigned, row.invited, row.used)
    return PoolFacts(facts, item, name, *numbers, row.expand_up_to, row.by_people, row.pk)


def seats(organization_id: int, *, standing: bool = True) -> QuerySet[Seat]:
    """Return the organization's seats with their people and pools, newest first."""
    rows = Seat.objects.filter(organization_id=organization_id)
    rows = rows.select_related("user", "pool", "subscription", "application")
    return rows.filter(status__in=STANDS) if standing else rows


def sitting(pool: Pool) -> QuerySet[Seat]:
    """Return the seats of a pool that are somebody's."""
    return Seat.objects.filter(organization_id=pool.organization_id, pool=pool, status__in=STANDS)


def get(seat_id: str, *, organization_id: int | None = None) -> Seat:
    """Return the seat with this public id (of the organization), or raise UnknownSeat."""
    rows = Seat.objects.select_related("user", "pool", "subscription", "application")
    if organization_id is not None:  # row-level security says the same
        rows = rows.filter(organization_id=organization_id)
    found = rows.filter(public_id=seat_id).first()
    if found is None:
        raise UnknownSeat("There is no such seat.")
    return found


def idle(organization_id: int, *, at: datetime, pool_id: int | None = None) -> Sequence[Seat]:
    """Return the seats whose people were not seen for 30 days, nor given it since; longest first.

    Seats that go anyway are not among them.
    """
    since = at - USED_WITHIN
    unseen = Q(last_seen_at__lte=since) | Q(last_seen_at=None)
    rows = seats(organization_id).filter(unseen, during__startswith__lte=since, leaves_at=None)
    if pool_id is not None:
        rows = rows.filter(pool_id=pool_id)
    return sorted(rows, key=lambda seat: (seat.last_seen_at or seat.during.lower, seat.pk))


def claim_token(seat: Seat) -> str:
    """Return the signed token that the link to claim a seat carries; nothing of it is stored."""
    return signing.dumps(seat.public_id, salt=CLAIM_SALT)


def find_claim(token: str) -> Seat:
    """Return the seat that waits behind a signed token; needs the ops scope. Or ClaimInvalid."""
    try:
        public_id = signing.loads(token, salt=CLAIM_SALT)
    except signing.BadSignature:
        raise ClaimInvalid("This link is not valid; ask for a new one.") from None
    found = seat_for_mail(public_id)
    if found is None:
        raise ClaimInvalid("This seat was claimed or withdrawn; ask for another one.")
    return found


def seat_for_mail(seat_id: str) -> Seat | None:
    """Return the seat that a mail is about, unless it was claimed or withdrawn meanwhile."""
    rows = Seat.objects.select_related("organization", "application")
    return rows.filter(public_id=seat_id, status=Seat.Status.INVITED).first()
