"""Something watched and found, for those who only look at it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from apps.core.actor import Actor
from apps.watch import services
from apps.watch.models import Alert, Anomaly


def watched(organization_id: int, *, meter: str, actor: Actor, at: datetime) -> Anomaly:
    """Set a rule and terms of an organization and leave it an alert and an open spike; needs a
    scope that may write them. Both are written as the room's services would find them.
    """
    rule = services.set_rule(
        organization_id, kind="percent_of_included", percent=Decimal(80), actor=actor, at=at
    )
    services.set_terms(organization_id, hold_from="critical", actor=actor, at=at)
    Alert.objects.create(
        organization_id=organization_id,
        rule=rule.public_id,
        kind=rule.kind,
        subject="sub/requests/2023-12-01",
        name="Requests",
        meter=meter,
        figure=Decimal("81.5"),
        limit=Decimal(80),
        quantity=Decimal(815),
        included=Decimal(1000),
        window_start=at - timedelta(days=9),
        window_end=at + timedelta(days=22),
        raised_at=at,
    )
    return spike(organization_id, meter=meter, at=at)


def spike(organization_id: int, *, meter: str, at: datetime) -> Anomaly:
    """Leave an open spike of the hour before."""
    hour = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    return Anomaly.objects.create(
        organization_id=organization_id,
        meter=meter,
        direction="spike",
        severity="critical",
        basis="hour_of_week",
        samples=6,
        first_hour=hour,
        last_hour=hour,
        judged_hour=hour,
        worst_hour=hour,
        seen=Decimal(900),
        expected=Decimal(100),
        low=Decimal(70),
        high=Decimal(130),
        score=Decimal("80.0"),
        dimension="region",
        dimension_value="us",
        dimension_share=Decimal("98.7"),
        found_at=at,
    )
