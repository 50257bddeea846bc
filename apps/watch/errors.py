"""What this room refuses."""

from __future__ import annotations

from apps.core.errors import Conflict, NotFound


class UnknownRule(NotFound):
    """No alert rule has this id."""

    code = "unknown_alert_rule"


class UnknownAnomaly(NotFound):
    """No anomaly has this id."""

    code = "unknown_anomaly"


class AnomalyDecided(Conflict):
    """The anomaly was ignored or resolved: nothing is left to be decided."""

    code = "anomaly_decided"


class TooManyRules(Conflict):
    """The organization has as many alert rules as it may have."""

    code = "too_many_alert_rules"
