"""What rooms above have to say before an agreement changes, and what they keep in step with it.

A fact tells them what has happened. Some things must not happen at all, such as fewer seats than
people sit on: a room above registers a check, which every preview and every change asks, and a
follower, which runs in the transaction that stores the change. Neither door nor job can go past.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from apps.subscriptions.facts import SubscriptionFacts

Guard = Callable[[SubscriptionFacts, SubscriptionFacts, datetime], None]
"""Takes how a subscription is, how it would be, and from when; a check raises WrongState."""

_checks: list[Guard] = []
_followers: list[Guard] = []


def checks(guard: Guard) -> Guard:
    """Ask the decorated function before anything is changed or scheduled, and in previews."""
    _checks.append(guard)
    return guard


def follows(guard: Guard) -> Guard:
    """Call the decorated function when a change has been stored, under the subscription's lock."""
    _followers.append(guard)
    return guard


def check(before: SubscriptionFacts, after: SubscriptionFacts, moment: datetime) -> None:
    """Raise what a room above has against the change."""
    for guard in _checks:
        guard(before, after, moment)


def follow(before: SubscriptionFacts, after: SubscriptionFacts, moment: datetime) -> None:
    """Let the rooms above keep in step with what has been stored."""
    for guard in _followers:
        guard(before, after, moment)
