"""How a subscription ends, rests and goes on."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.schema import operation
from apps.api.shapes import Body, Flag, Instant, Moment, NoBody, Text
from apps.api.v1.subscriptions import TAG, SubscriptionShape, seen
from apps.subscriptions import services
from apps.subscriptions.changes import PERIOD_END
from apps.subscriptions.facts import SubscriptionFacts
from apps.subscriptions.models import Subscription

REASON = "kept with the subscription"


class Cancellation(Body):
    """When, and why."""

    when = Moment(default=PERIOD_END, help_text="now, period_end or an instant to come")
    prorate = Flag(default=True, help_text="give back what was paid for later than the end")
    reason = Text(max_length=200, default="", allow_blank=True)


class Rest(Body):
    """When it begins, and when it ends by itself."""

    when = Moment(default=PERIOD_END, help_text="now, period_end or an instant to come")
    until = Instant(required=False, help_text="taken up again then, with a new cycle")
    prorate = Flag(default=True, help_text="give back what was paid for the time of the pause")
    reason = Text(max_length=200, default="", allow_blank=True, help_text=REASON)


class GoingOn(Body):
    """In which cycle."""

    restart = Flag(default=True, help_text="a new cycle begins now; false: in the one it had")


class TrialExtension(Body):
    """Until when."""

    until = Instant(help_text="later than the trial ends now, and within a year")


class _Verb(ApiView):
    """What is done to a subscription as a whole."""

    def mine(self, subscription: str) -> str:
        """Return the public id of the caller's subscription, or refuse."""
        return self.own(Subscription.objects.all(), subscription, "subscription").public_id

    def shown(self, facts: SubscriptionFacts, *, status: int = 200) -> Response:
        """Answer what became of it."""
        return self.answer(SubscriptionShape, seen(facts, self.at), status=status)


class Cancel(_Verb):
    """Its end."""

    @operation(
        "cancel_subscription",
        tag=TAG,
        scope="subscriptions:write",
        body=Cancellation,
        answers={200: SubscriptionShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Cancel at the end of the current period or trial, now, or at an instant to come.

        The boundary that ends it bills the usage behind it and nothing ahead. Safe to repeat.
        """
        public_id = self.mine(subscription)
        wanted = self.body()
        return self.shown(services.cancel(public_id, **wanted, actor=self.actor, at=self.at))


class Uncancel(_Verb):
    """Its end, taken back."""

    @operation(
        "uncancel_subscription",
        tag=TAG,
        scope="subscriptions:write",
        body=NoBody,
        answers={200: SubscriptionShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Take back a cancellation that has not come into force. Safe to repeat."""
        public_id = self.mine(subscription)
        self.body()
        return self.shown(services.uncancel(public_id, actor=self.actor, at=self.at))


class Pause(_Verb):
    """Its rest."""

    @operation(
        "pause_subscription",
        tag=TAG,
        scope="subscriptions:write",
        body=Rest,
        answers={200: SubscriptionShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Pause when the current period ends, now, or at an instant to come.

        Paused time is not billed. Safe to repeat.
        """
        public_id = self.mine(subscription)
        wanted = self.body()
        return self.shown(services.pause(public_id, **wanted, actor=self.actor, at=self.at))


class Resume(_Verb):
    """Its going on after a pause."""

    @operation(
        "resume_subscription",
        tag=TAG,
        scope="subscriptions:write",
        body=GoingOn,
        answers={200: SubscriptionShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Take up a paused subscription, or take back a pause that has not begun.

        By default a new cycle starts now. One that paused when its trial ended is paid by manual
        collection from now on.
        """
        public_id = self.mine(subscription)
        wanted = self.body()
        return self.shown(services.resume(public_id, **wanted, actor=self.actor, at=self.at))


class Reactivate(_Verb):
    """Its going on after its end."""

    @operation(
        "reactivate_subscription",
        tag=TAG,
        scope="subscriptions:write",
        body=NoBody,
        answers={201: SubscriptionShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Begin a canceled subscription anew, as a new one that follows it.

        With the quantities and agreed prices of its end, the version for sale now, and no trial.
        """
        public_id = self.mine(subscription)
        self.body()
        facts = services.reactivate(public_id, actor=self.actor, at=self.at)
        return self.shown(facts, status=201)


class ExtendTrial(_Verb):
    """Its trial."""

    @operation(
        "extend_trial",
        tag=TAG,
        scope="subscriptions:write",
        platform_only=True,
        body=TrialExtension,
        answers={200: SubscriptionShape},
    )
    def post(self, request: Request, subscription: str) -> Response:
        """Let a trial last longer; its first cycle begins then. Safe to repeat."""
        public_id = self.mine(subscription)
        wanted = self.body()
        return self.shown(services.extend_trial(public_id, **wanted, actor=self.actor, at=self.at))
