"""Pools of seats and the people in them: what is held at an instant is a range, never a flag."""

from __future__ import annotations

from django.contrib.postgres.fields import DateTimeRangeField
from django.db import models
from django.db.models import F, Q

from apps.core.fields import PublicIdField, TenantForeignKey
from apps.core.models import TenantRow

STANDS = ("invited", "active")
"""The states in which a seat counts as assigned."""
TRANSITIONS = (("invited", "active"), ("invited", "released"), ("active", "released"))


class Pool(TenantRow):
    """The seats of one licensed item: how many are bought, and how many are somebody's.

    `bought` follows the quantity of the item, in the transaction that changes it. `assigned` is
    counted by a trigger on the seats. The database refuses more of the second than of the first,
    whoever writes either.
    """

    public_id = PublicIdField("pool")
    subscription = TenantForeignKey("subscriptions.Subscription")
    subscription_id: int
    application = models.ForeignKey(
        "tenants.Application", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    application_id: int
    item = models.CharField(max_length=50, db_collation="C", help_text="key of the licensed item")
    bought = models.PositiveIntegerField()
    assigned = models.PositiveIntegerField(default=0)
    by_people = models.BooleanField(
        default=False, help_text="billed by how many are assigned: the quantity follows them"
    )
    expand_up_to = models.PositiveIntegerField(
        null=True, help_text="assigning to nobody's seat buys one more, up to so many; empty: never"
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "subscription", "item"], name="one_pool_an_item"
            ),
            models.CheckConstraint(
                condition=Q(assigned__gte=0, assigned__lte=F("bought")),
                name="no_more_seats_than_bought",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.assigned} of {self.bought} {self.item}"

    @property
    def free(self) -> int:
        """How many are bought and nobody's."""
        return self.bought - self.assigned


class Seat(TenantRow):
    """One person's place, from an instant to another.

    An invited one waits for the person behind `email` to claim it; then it is that user's. A
    released one is a fact and stays as it is: whoever gets a seat again gets another row.
    """

    class Status(models.TextChoices):
        INVITED = "invited", "Invited"
        ACTIVE = "active", "Active"
        RELEASED = "released", "Released"

    class Because(models.TextChoices):
        NOTHING = "", "Not released"
        REVOKED = "revoked", "Revoked"
        REASSIGNED = "reassigned", "Given to somebody else"
        FEWER = "fewer", "Fewer seats were bought"
        MEMBER_REMOVED = "member_removed", "The person left the organization"
        ENDED = "subscription_ended", "The subscription ended"
        UNPAID = "unpaid", "The subscription was not paid"

    public_id = PublicIdField("seat")
    pool = TenantForeignKey(Pool, related_name="seats")
    pool_id: int
    subscription = TenantForeignKey("subscriptions.Subscription")
    subscription_id: int
    application = models.ForeignKey(
        "tenants.Application", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    application_id: int
    user = models.ForeignKey(
        "tenants.User", on_delete=models.PROTECT, null=True, related_name="+", db_index=False
    )
    user_id: int | None
    email = models.EmailField(blank=True, default="", help_text="who may claim it, in lower case")
    status = models.CharField(max_length=8, choices=Status)
    during = DateTimeRangeField()
    assigned_by = models.CharField(max_length=200)
    because = models.CharField(max_length=18, choices=Because, blank=True, default="")
    released_by = models.CharField(max_length=200, blank=True, default="")
    leaves_at = models.DateTimeField(
        null=True, help_text="it goes when a change scheduled for then leaves fewer"
    )
    last_seen_at = models.DateTimeField(null=True, help_text="to within some minutes")
    follows = TenantForeignKey("self", null=True)
    follows_id: int | None

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "pool", "user"],
                name="one_seat_a_person",
                condition=Q(status__in=STANDS, user__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["organization", "pool", "email"],
                name="one_seat_an_address",
                condition=Q(status="invited"),
            ),
            models.CheckConstraint(
                condition=Q(status="invited", user=None) & ~Q(email="")
                | Q(status="active", user__isnull=False)
                | Q(status="released"),
                name="a_seat_is_somebodys",
            ),
            models.CheckConstraint(
                condition=Q(status="released") & ~Q(because="")
                | ~Q(status="released") & Q(because=""),
                name="a_released_seat_says_why",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="seats_latest"),
            models.Index(
                fields=["organization", "application", "user"],
                name="seats_that_stand",
                condition=Q(status__in=STANDS),
            ),
            models.Index(fields=["organization", "pool"], name="seats_of_a_pool"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def stands(self) -> bool:
        """Whether it is somebody's."""
        return self.status in STANDS
