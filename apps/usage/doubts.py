"""Usage that may not be so: hours of a meter that whoever bills them has to wait for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.usage.models import UsageDoubt


@dataclass(frozen=True, slots=True)
class Doubt:
    """The hours of a meter that are in doubt, and why."""

    meter: str
    since: datetime
    until: datetime
    reason: str

    def touches(self, meter: str, start: datetime, end: datetime) -> bool:
        """Tell whether usage of the meter from `start` until `end` is in doubt."""
        return meter == self.meter and start < self.until and self.since < end


def standing(organization_ids: Collection[int]) -> Mapping[int, Sequence[Doubt]]:
    """Return what nobody has settled yet, by organization, oldest first, in one statement."""
    rows = UsageDoubt.objects.filter(organization_id__in=organization_ids, settled_at=None)
    found: defaultdict[int, list[Doubt]] = defaultdict(list)
    for row in rows.order_by("id"):
        found[row.organization_id].append(Doubt(row.meter, row.since, row.until, row.reason))
    return found
