"""Everything that changes what is watched, and what was found."""

from __future__ import annotations

from apps.watch.services.alerts import Evaluated, evaluate_alerts
from apps.watch.services.anomalies import Detected, detect_anomalies
from apps.watch.services.decisions import (
    acknowledge_anomaly,
    hold_for_anomaly,
    ignore_anomaly,
    resolve_anomaly,
)
from apps.watch.services.rules import MOST_RULES, end_rule, set_rule, set_terms

__all__ = [
    "MOST_RULES",
    "Detected",
    "Evaluated",
    "acknowledge_anomaly",
    "detect_anomalies",
    "end_rule",
    "evaluate_alerts",
    "hold_for_anomaly",
    "ignore_anomaly",
    "resolve_anomaly",
    "set_rule",
    "set_terms",
]
