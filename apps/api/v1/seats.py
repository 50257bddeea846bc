"""Seats: who sits where, assigning, and buying more of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.authentication import LONGEST_REFERENCE
from apps.api.door import ApiView
from apps.api.pagination import ListQuery, page
from apps.api.schema import operation
from apps.api.shapes import (
    Body,
    Choice,
    Flag,
    Kind,
    LiveMode,
    NoBody,
    Shape,
    Text,
    Whole,
    list_of,
    public_id,
)
from apps.api.v1.changes import (
    OutcomeShape,
    QuotedBody,
    QuoteShape,
    QuoteView,
    confirmed,
    outcome_of,
)
from apps.seats import bulk, quoting, selectors, services
from apps.seats.models import STANDS, Seat
from apps.seats.selectors import PoolFacts
from apps.subscriptions.changes import MAX_QUANTITY, Behaviour
from apps.subscriptions.models import Change, Subscription

TAG = "Seats"
PERSON = "member: `usr_…`, e-mail or the application's own id; or an address to invite"
MOST_CSV = 200_000  # characters


class SeatShape(Shape):
    """One person's place, from an instant to another."""

    object = Kind("seat")
    id = public_id("seat", source="public_id")
    created_at = serializers.DateTimeField(source="during.lower")
    livemode = LiveMode()
    organization = public_id("org", source="organization.public_id")
    subscription = public_id("sub", source="subscription.public_id")
    application = serializers.CharField(source="application.slug")
    item = serializers.CharField(source="pool.item", help_text="key of the licensed item")
    status = Choice(choices=Seat.Status.choices)
    user = public_id("usr", source="user.public_id", default=None, allow_null=True)
    email = serializers.SerializerMethodField(help_text="of the person, or of who may claim it")
    assigned_by = serializers.CharField()
    last_seen_at = serializers.DateTimeField(
        allow_null=True, help_text="when the product last asked, to within some minutes"
    )
    leaves_at = serializers.DateTimeField(
        allow_null=True, help_text="when it goes with a change that is scheduled"
    )
    released_at = serializers.DateTimeField(source="during.upper", allow_null=True)
    because = Choice(
        choices=Seat.Because.choices, help_text="why it was released; empty: it was not"
    )

    def get_email(self, seat: Seat) -> str:
        """Return the address."""
        return seat.email if seat.user is None else seat.user.email


class PoolShape(Shape):
    """The seats of one licensed item: bought, assigned and used are three numbers."""

    object = Kind("seat_pool")
    subscription = public_id("sub", source="subscription.public_id")
    item = serializers.CharField(help_text="key of the licensed item")
    name = serializers.CharField()
    bought = serializers.IntegerField()
    assigned = serializers.IntegerField(help_text="somebody's, invited ones too")
    invited = serializers.IntegerField(help_text="of those, not claimed yet")
    used = serializers.IntegerField(help_text="of those, seen in the last 30 days")
    free = serializers.IntegerField()
    by_people = serializers.BooleanField(
        help_text="billed by how many are assigned: `bought` follows them"
    )
    expand_up_to = serializers.IntegerField(
        allow_null=True,
        help_text="assigning buys more up to so many; null: never, or `by_people` without a limit",
    )


SEATS = list_of(SeatShape, "SeatList")
POOLS = list_of(PoolShape, "SeatPoolList")


class AssignBody(Body):
    """Whom, and a seat of what."""

    person = Text(max_length=LONGEST_REFERENCE, help_text=PERSON)
    item = Text(max_length=50, default="", help_text="key of the item, where there are several")


class ReassignBody(Body):
    """Who gets it."""

    person = Text(max_length=LONGEST_REFERENCE, help_text=PERSON)


class BulkBody(Body):
    """A file of seats to give and to take."""

    csv = Text(
        max_length=MOST_CSV,
        help_text="heading `person,action`; actions: assign (usual), revoke; up to 1,000 rows",
    )
    item = Text(max_length=50, default="", help_text="key of the item, where there are several")
    dry_run = Flag(default=False, help_text="only say what would come of every row")


class BulkRowShape(Shape):
    """What comes of one row."""

    row = serializers.IntegerField(source="row.number", help_text="line of the file")
    person = serializers.CharField(source="row.person")
    outcome = Choice(
        choices=[
            ("assign", "Gets a seat"),
            ("invite", "Is sent a link to claim one"),
            ("keep", "Has one already"),
            ("revoke", "Loses the seat"),
            ("", "Nothing: there is a problem"),
        ]
    )
    problem = serializers.CharField(help_text="why it cannot be done; empty: it can")


class BulkShape(Shape):
    """What comes of a file; with a problem in any row nothing is applied."""

    object = Kind("seat_bulk")
    applied = serializers.BooleanField()
    bought = serializers.IntegerField()
    before = serializers.IntegerField(help_text="assigned before")
    after = serializers.IntegerField(help_text="assigned after")
    buys = serializers.IntegerField(help_text="seats bought for it, where the pool may grow")
    rows = BulkRowShape(many=True)


class QuoteBody(Body):
    """How many more, or fewer, and billed how."""

    count = Whole(
        min_value=-MAX_QUANTITY, max_value=MAX_QUANTITY, help_text="more; below zero: fewer"
    )
    item = Text(max_length=50, default="", help_text="key of the item, where there are several")
    behaviour = Choice(
        Change.Behaviour.choices,
        required=False,
        help_text="usual: more are bought now, fewer with the next period",
    )
    seats = serializers.ListField(
        child=Text(max_length=40),
        default=list,
        max_length=1000,
        help_text="of fewer: seats whose people go, by id",
    )


class BuyBody(QuoteBody):
    """What was previewed, and what it was quoted at."""

    quoted = QuotedBody(
        required=False, help_text="as the preview said it; refused when the amount has moved"
    )


class ExpandBody(Body):
    """Up to how many a pool may grow by itself."""

    up_to = Whole(
        min_value=1, max_value=MAX_QUANTITY, allow_null=True, help_text="null: not any more"
    )
    item = Text(max_length=50, default="", help_text="key of the item, where there are several")


class SubscriptionSeatQuery(ListQuery):
    """Which."""

    status = Choice([*Seat.Status.choices, ("standing", "Invited or active")], required=False)


class SeatQuery(SubscriptionSeatQuery):
    """Whose, and which."""

    organization = serializers.CharField(
        required=False, help_text="only this organization's: id, slug or `ext:` id"
    )


class _SeatsView(ApiView):
    """What is about seats."""

    def mine(self, subscription: str) -> Subscription:
        """Return the caller's subscription, or refuse."""
        rows = Subscription.objects.select_related("organization")
        return self.own(rows, subscription, "subscription")

    def seat(self, seat: str) -> Seat:
        """Return the caller's seat, or refuse."""
        return self.own(_rows(), seat, "seat")

    def listed(self, rows: QuerySet[Seat], query: Mapping[str, Any]) -> Response:
        """Return a page of seats."""
        found = page(_in(rows, query.get("status", "")), dict(query), among=rows)
        return self.listing(SeatShape, found, found.rows)


class Seats(_SeatsView):
    """All of them."""

    @operation(
        "list_seats",
        tag=TAG,
        scope="seats:read",
        query=SeatQuery,
        answers={200: SEATS},
    )
    def get(self, request: Request) -> Response:
        """List seats, newest first: those that are somebody's, and those that were."""
        query = self.query()
        return self.listed(self.theirs(_rows(), organization=query.get("organization", "")), query)


class OneSeat(_SeatsView):
    """One of them."""

    @operation("get_seat", tag=TAG, scope="seats:read", answers={200: SeatShape})
    def get(self, request: Request, seat: str) -> Response:
        """Get a seat."""
        return self.answer(SeatShape, self.seat(seat))


class RevokeSeat(_SeatsView):
    """Taking it away."""

    @operation("revoke_seat", tag=TAG, scope="seats:write", body=NoBody, answers={200: SeatShape})
    def post(self, request: Request, seat: str) -> Response:
        """Take a seat away: the next answer to the product says no. Safe to repeat."""
        row = self.seat(seat)
        self.body()
        services.revoke_seat(row.public_id, actor=self.actor, at=self.at)
        return self.answer(SeatShape, self.seat(seat))


class ReassignSeat(_SeatsView):
    """Giving it to somebody else."""

    @operation(
        "reassign_seat", tag=TAG, scope="seats:write", body=ReassignBody, answers={200: SeatShape}
    )
    def post(self, request: Request, seat: str) -> Response:
        """Take a seat from one person and give it to another, at one instant.

        Answers the other person's seat, which has an id of its own.
        """
        row, said = self.seat(seat), self.body()
        given = services.reassign_seat(
            row.public_id, person=said["person"], actor=self.actor, at=self.at
        )
        return self.answer(SeatShape, self.seat(given.public_id))


class ResendSeat(_SeatsView):
    """Asking again."""

    @operation(
        "resend_seat_claim", tag=TAG, scope="seats:write", body=NoBody, answers={200: SeatShape}
    )
    def post(self, request: Request, seat: str) -> Response:
        """Mail the link to claim a seat once more."""
        row = self.seat(seat)
        self.body()
        services.resend_claim(row.public_id, actor=self.actor, at=self.at)
        return self.answer(SeatShape, row)


class SubscriptionSeats(_SeatsView):
    """Those of one subscription."""

    @operation(
        "list_subscription_seats",
        tag=TAG,
        scope="seats:read",
        query=SubscriptionSeatQuery,
        answers={200: SEATS},
    )
    def get(self, request: Request, subscription: str) -> Response:
        """List the seats of a subscription, newest first."""
        return self.listed(_rows().filter(subscription=self.mine(subscription)), self.query())

    @operation(
        "assign_seat", tag=TAG, scope="seats:write", body=AssignBody, answers={201: SeatShape}
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Give a person a seat.

        A member has it at once; an address without an account is mailed a link to claim it. Where
        no seat is free it is refused (`seat_limit_reached`), or one more is bought where the pool
        may grow by itself. Safe to repeat: who has a seat keeps it.
        """
        row, said = self.mine(subscription), self.body()
        made = services.assign_seat(row.public_id, **said, actor=self.actor, at=self.at)
        return self.answer(SeatShape, self.seat(made.public_id), status=201)


class BulkSeats(_SeatsView):
    """Many at once."""

    @operation(
        "assign_seats_in_bulk",
        tag=TAG,
        scope="seats:write",
        body=BulkBody,
        answers={200: BulkShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Give and take seats by a CSV file, all of it or nothing.

        With `dry_run` every row is looked at and nothing is done. Without it a file with a problem
        in any row is refused (`bulk_refused`), and the problems are named.
        """
        row, said = self.mine(subscription), self.body()
        rows, item = bulk.read(said["csv"]), said["item"]
        if said["dry_run"]:
            found = services.preview_bulk(row.public_id, rows=rows, item=item, actor=self.actor)
        else:
            found = services.apply_bulk(
                row.public_id, rows=rows, item=item, actor=self.actor, at=self.at
            )
        names = ("rows", "bought", "before", "after", "buys")
        seen = {name: getattr(found, name) for name in names}
        return self.answer(BulkShape, {**seen, "applied": not said["dry_run"]})


class Pools(_SeatsView):
    """The numbers."""

    @operation("list_seat_pools", tag=TAG, scope="seats:read", answers={200: POOLS})
    def get(self, request: Request, subscription: str) -> Response:
        """List how many seats a subscription has: bought, assigned, used, by item."""
        row = self.mine(subscription)
        return self.envelope(PoolShape, selectors.pools(
            row.organization_id, at=self.at, subscription_id=row.public_id
        ))  # fmt: skip


class PreviewSeats(_SeatsView):
    """What they would cost."""

    @operation(
        "preview_seats", tag=TAG, scope="invoices:read", body=QuoteBody, answers={200: QuoteShape}
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Preview buying seats, or releasing some: the invoice at once and the next one.

        Send `quoted` back with `POST …/seat-pools/buy` to confirm. Writes nothing.
        """
        row, said = self.mine(subscription), self.body()
        quote = quoting.quote_seats(
            row.public_id,
            count=said["count"],
            item=said["item"],
            behaviour=_behaviour(said),
            releasing=said["seats"],
            at=self.at,
        )
        return self.answer(QuoteShape, QuoteView(quote, row.public_id, row.organization.public_id))


class BuySeats(_SeatsView):
    """Buying them."""

    @operation(
        "buy_seats",
        tag=TAG,
        scope="subscriptions:write",
        body=BuyBody,
        answers={200: OutcomeShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Buy more seats, or release some.

        More are billed at once, fewer count from the next period on, unless `behaviour` says
        otherwise. Fewer than are assigned is refused (`seats_in_use`), unless `seats` says whose
        go. With `quoted` it is done at that amount or not at all.
        """
        row, said = self.mine(subscription), self.body()
        options: dict[str, Any] = {"item": said["item"], "actor": self.actor, "at": self.at}
        options["confirmed"] = confirmed(said.get("quoted"), row.currency)
        behaviour = _behaviour(said)
        if behaviour is not None:
            options["behaviour"] = behaviour
        count = said["count"]
        if count < 0:
            done = services.release_seats(
                row.public_id, count=-count, seats=said["seats"], **options
            )
        else:
            done = services.buy_seats(row.public_id, count=count, **options)
        return self.answer(OutcomeShape, outcome_of(done, row, self))


class ExpandSeats(_SeatsView):
    """Letting a pool grow by itself."""

    @operation(
        "set_auto_expand",
        tag=TAG,
        scope="subscriptions:write",
        body=ExpandBody,
        answers={200: PoolShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Let assigning buy one more seat where none is free, up to so many; null: never again."""
        row, said = self.mine(subscription), self.body()
        made = services.set_auto_expand(row.public_id, **said, actor=self.actor, at=self.at)
        found: PoolFacts = selectors.pool(
            row.organization_id, row.public_id, item=made.item, at=self.at
        )
        return self.answer(PoolShape, found)


def _rows() -> QuerySet[Seat]:
    """Return the seats with what their shape shows."""
    return Seat.objects.select_related(
        "organization", "subscription", "application", "pool", "user"
    )


def _in(rows: QuerySet[Seat], status: str) -> QuerySet[Seat]:
    if status == "standing":
        return rows.filter(status__in=STANDS)
    return rows.filter(status=status) if status else rows


def _behaviour(said: Mapping[str, Any]) -> Behaviour | None:
    return Behaviour(said["behaviour"]) if "behaviour" in said else None
