"""Seats: who sits where, taking one away and giving it to somebody else."""

from __future__ import annotations

from collections.abc import Sequence

from django import forms
from django.http import HttpRequest, HttpResponse

from apps.backoffice.access import actor_of, time_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Answers, Ask, Question, act, ask, column
from apps.backoffice.admin.panels import Fact
from apps.backoffice.admin.screen import BigScreen, Screen
from apps.seats import services
from apps.seats.models import Pool, Seat

TONES = {"active": "success", "invited": "info"}


class PersonForm(Question):
    """Who gets it."""

    person = forms.CharField(
        max_length=220, help_text="E-mail, public id, or the application's own id of them."
    )


def _released(row: Seat) -> str:
    return f"{row.public_id} was released and stays as it is."


class SeatScreen(BigScreen):
    """People's places in what is bought."""

    view_capability = "view_members"
    list_display = ("person", "customer", "of", "state", "since", "until", "seen")
    list_select_related = ("organization", "user", "application", "pool")
    list_filter = ("status", "application", "because")
    lookups = ("organization", "subscription", "pool")
    search_fields = (
        "=public_id", "^email", "^user__email", "organization__name", "^organization__slug",
    )  # fmt: skip
    search_help_text = "Person, customer or id"
    ordering = ("-id",)
    actions_detail = ("revoke", "reassign")

    @column("Person")
    def person(self, row: Seat) -> object:
        """Whose it is, or who may claim it."""
        return row.email if row.user is None else row.user.email

    @column("Organization", order="organization__name")
    def customer(self, row: Seat) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Of")
    def of(self, row: Seat) -> object:
        """The application and the item."""
        return f"{row.application.name}: {row.pool.item}"

    @column("State", order="status")
    def state(self, row: Seat) -> object:
        """Whether it is somebody's."""
        return cells.badge(row.status, TONES.get(row.status, ""))

    @column("Since", order="during")
    def since(self, row: Seat) -> object:
        """When it was given."""
        return cells.when(row.during.lower)

    @column("Until")
    def until(self, row: Seat) -> object:
        """When it was released."""
        return cells.when(row.during.upper)

    @column("Last seen", order="last_seen_at")
    def seen(self, row: Seat) -> object:
        """When the product last asked."""
        return cells.when(row.last_seen_at)

    def facts(self, row: Seat) -> Sequence[Fact]:
        """What it is."""
        return [
            Fact("Person", row.email if row.user is None else cells.link_to(row.user)),
            Fact("State", cells.badge(row.status, TONES.get(row.status, ""))),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Subscription", cells.link_to(row.subscription)),
            Fact("Pool", cells.link_to(row.pool)),
            Fact("Since", cells.when(row.during.lower)),
            Fact("Given by", row.assigned_by),
            Fact("Until", cells.when(row.during.upper)),
            Fact("Why it was released", row.get_because_display() if row.because else ""),
            Fact("Released by", row.released_by),
            Fact("Goes with a change on", cells.when(row.leaves_at)),
            Fact("Last seen", cells.when(row.last_seen_at)),
            Fact("Id", cells.code(row.public_id)),
        ]

    @act(
        "Revoke",
        capability="assign_seats",
        icon="event_seat",
        applies=lambda row: row.stands,
        otherwise=_released,
    )
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask whether the seat shall be taken away."""
        row = self.row(request, object_id)
        question = Ask(
            f"Revoke {row.public_id}",
            "The next answer to the product says that there is no access.",
            "Revoke",
            Question,
        )

        def run(answers: Answers) -> str:
            at = time_of(row.organization)
            services.revoke_seat(row.public_id, actor=actor_of(request), at=at)
            return f"{row.public_id} was revoked."

        return ask(self, request, question, run=run, back=cells.url_of(row))

    @act(
        "Give to somebody else",
        capability="assign_seats",
        icon="swap_horiz",
        applies=lambda row: row.stands,
        otherwise=_released,
    )
    def reassign(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask who gets the seat instead."""
        row = self.row(request, object_id)
        question = Ask(
            f"Give {row.public_id} to somebody else",
            "Who has it now loses access at once.",
            "Give",
            PersonForm,
        )

        def run(answers: Answers) -> str:
            given = services.reassign_seat(
                row.public_id,
                person=answers["person"],
                actor=actor_of(request),
                at=time_of(row.organization),
            )
            return f"The seat is {given.public_id} now."

        return ask(self, request, question, run=run, back=cells.url_of(row))


class PoolScreen(Screen):
    """Items of subscriptions whose seats are given to people."""

    view_capability = "view_members"
    list_display = ("customer", "of", "bought", "assigned", "left", "grows")
    list_select_related = ("organization", "application", "subscription")
    list_filter = ("application",)
    lookups = ("organization", "subscription")
    search_fields = ("=public_id", "organization__name", "^organization__slug")
    search_help_text = "Customer or id"
    ordering = ("-id",)

    @column("Organization", order="organization__name")
    def customer(self, row: Pool) -> object:
        """The customer's name."""
        return row.organization.name

    @column("Of")
    def of(self, row: Pool) -> object:
        """The application and the item."""
        return f"{row.application.name}: {row.item}"

    @column("Free")
    def left(self, row: Pool) -> object:
        """How many are nobody's."""
        return row.free

    @column("Grows up to")
    def grows(self, row: Pool) -> object:
        """How many assigning may buy by itself."""
        return cells.EMPTY if row.expand_up_to is None else row.expand_up_to

    def facts(self, row: Pool) -> Sequence[Fact]:
        """What it is."""
        return [
            Fact("Bought", row.bought),
            Fact("Assigned", row.assigned),
            Fact("Free", row.free),
            Fact("Item", cells.code(row.item)),
            Fact("Organization", cells.link_to(row.organization)),
            Fact("Subscription", cells.link_to(row.subscription)),
            Fact("Billed by", "who has a seat" if row.by_people else "what is bought"),
            Fact("Grows up to", "" if row.expand_up_to is None else row.expand_up_to),
            Fact("Id", cells.code(row.public_id)),
        ]
