"""Who comes first: one row a feature is locked by whoever reserves or settles."""

from __future__ import annotations

from django.db.models import Q

from apps.entitlements.models import Turn

MONEY = None
"""Stands for no feature: the turn in which an organization's money is looked at."""


def take_turn(organization_id: int, feature_id: int | None) -> None:
    """Wait until nobody else decides on the feature; the turn ends with the transaction.

    The turn of the money comes before that of any feature: always in this order.
    """
    row = Turn(organization_id=organization_id, feature_id=feature_id)
    about = Q(feature=None) if feature_id is None else Q(feature_id=feature_id)
    mine = Turn.objects.filter(about, organization_id=organization_id)
    if mine.select_for_update(no_key=True).first() is None:
        Turn.objects.bulk_create([row], ignore_conflicts=True)
        mine.select_for_update(no_key=True).get()
