"""Which events a metered line counted: its evidence, read back from its explanation.

A line, a correction and a correction's line keep it in the same places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from apps.engine.period import Period
from apps.invoicing.models import Correction, InvoiceLine
from apps.usage import selectors as usage

Explanation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A measurement as a line tells it: what was counted, and how to count it again."""

    claim: usage.Claim
    event_count: int
    events_hash: str

    def agrees_with(self, found: usage.Measured) -> bool:
        """Tell whether a measurement counted the same events, in any order."""
        return (found.event_count, found.hash) == (self.event_count, self.events_hash)


def of_line(row: InvoiceLine) -> Evidence:
    """Return the evidence of a metered line."""
    return evidence(row.explanation, row.usage_epoch or 0, row.usage_snapshot)


def of_correction(row: Correction) -> Evidence:
    """Return the evidence of what a line would have been when it was corrected."""
    return evidence(row.explanation, row.usage_epoch, row.usage_snapshot)


def evidence(explanation: Explanation, epoch: int, snapshot: str) -> Evidence:
    """Return what an explanation says of its usage, measured in that epoch and snapshot."""
    said, period = explanation["usage"], measured_period(explanation)
    asked = said.get("filter", {})
    want = usage.Want.filtered(explanation["meter"], period.start, period.end, asked)
    claim = usage.Claim(want, epoch, snapshot)
    return Evidence(claim, said["event_count"], said["events_hash"])


def measured_period(explanation: Explanation) -> Period:
    """Return the part of the period that was lived and measured."""
    window = explanation.get("window") or explanation["period"]
    return _period(window["start"], window["end"])


@lru_cache(maxsize=1024)  # most customers have the same months
def _period(start: str, end: str) -> Period:
    return Period(datetime.fromisoformat(start), datetime.fromisoformat(end))
