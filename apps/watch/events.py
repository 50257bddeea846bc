"""The facts this room tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AlertRaised:
    """What a rule watches has crossed its limit."""

    alert_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class AnomalyFound:
    """An organization's usage of a meter is not what it usually is."""

    anomaly_id: str
    organization_id: int
