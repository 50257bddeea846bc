"""What becomes of a subscription whose invoices are not paid, and that are paid after all."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.core.actor import Actor
from apps.subscriptions import states
from apps.subscriptions.services.rows import go, mine


@transaction.atomic
def fall_past_due(subscription_id: str, *, actor: Actor, at: datetime) -> str:
    """Say that an invoice of an active subscription is past due; access stays. Return its status.

    One that is anything else stays what it is. Safe to repeat.
    """
    row = mine(subscription_id, actor=actor)
    if row.status == states.ACTIVE:
        go(row, states.PAST_DUE, actor=actor, at=at)
    return row.status


@transaction.atomic
def fall_unpaid(subscription_id: str, *, actor: Actor, at: datetime) -> str:
    """End the access of a subscription that is active or past due. Return its status.

    It goes on being billed. One that is anything else stays what it is. Safe to repeat.
    """
    row = mine(subscription_id, actor=actor)
    if row.status == states.ACTIVE:
        go(row, states.PAST_DUE, actor=actor, at=at)
    if row.status == states.PAST_DUE:
        go(row, states.UNPAID, actor=actor, at=at)
    return row.status


@transaction.atomic
def recover(
    subscription_id: str, *, actor: Actor, at: datetime, still_past_due: bool = False
) -> str:
    """Give a subscription that was past due or unpaid its access back. Return its status.

    `still_past_due` is one of which another invoice is: it is active first, so that whoever follows
    its status gives back what being unpaid took. One that is anything else stays what it is.
    """
    row = mine(subscription_id, actor=actor)
    if row.status == states.UNPAID or (row.status == states.PAST_DUE and not still_past_due):
        go(row, states.ACTIVE, actor=actor, at=at)
        if still_past_due:
            go(row, states.PAST_DUE, actor=actor, at=at)
    return row.status
