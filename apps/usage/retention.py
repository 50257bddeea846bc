"""What is sealed: up to where an organization's events may be gone, and whether its seals hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.audit import selectors as audit
from apps.usage.models import EARLIEST, UsageSeal
from apps.usage.store import owners_in, rows, thinned

# Order-free, as an event's lanes are: each row by its own digest, the digests summed.
BUCKETS = """SELECT encode(sha256(convert_to(concat_ws(' ', count(*),
    coalesce(sum(usage_lane(digest, 0)), 0), coalesce(sum(usage_lane(digest, 8)), 0)
  ), 'UTF8')), 'hex')
FROM (
  SELECT sha256(convert_to(ROW(meter_id, extract(epoch FROM hour), slice, event_count, value_count,
    total, maximum, minimum, moment, extract(epoch FROM latest_at), latest_id, latest_value,
    lane_a, lane_b)::text, 'UTF8'))
  FROM usage_bucket
  WHERE organization_id = %(organization)s AND hour >= %(since)s AND hour < %(until)s
  UNION ALL
  SELECT sha256(convert_to(ROW(meter_id, extract(epoch FROM hour), value)::text, 'UTF8'))
  FROM usage_distinct
  WHERE organization_id = %(organization)s AND hour >= %(since)s AND hour < %(until)s
) found (digest)"""


@dataclass(frozen=True, slots=True)
class SealFacts:
    """A seal: `events` from `since` to `until` had done their work at `sealed_at`.

    `closed_until` is where new events begin; `proof` covers what the rooms above had billed.
    """

    id: str
    organization_id: int
    since: datetime
    until: datetime
    closed_until: datetime
    events: int
    proof: str
    sealed_at: datetime


def organizations() -> list[int]:
    """Return the integer ids of the organizations that have events; needs the ops scope.

    Where PostgreSQL is thinned, also of those that ClickHouse alone may have events of.
    """
    tables = ["usage_event"] if thinned() is None else ["usage_event", "usage_pruned_event"]
    return owners_in(*tables)


def last_seal(organization_id: int) -> SealFacts | None:
    """Return the organization's seal in force."""
    row = UsageSeal.objects.filter(organization_id=organization_id).order_by("-until").first()
    return None if row is None else facts(row)


def seals(organization_id: int | None = None) -> list[SealFacts]:
    """Return the seals of an organization, or (None) of all, in their order."""
    chosen = UsageSeal.objects.order_by("organization_id", "until")
    if organization_id is not None:
        chosen = chosen.filter(organization_id=organization_id)
    return [facts(row) for row in chosen]


def closed_until(organization_id: int) -> datetime:
    """Return the instant before which no event of the organization is taken or voided any more."""
    found = UsageSeal.objects.filter(organization_id=organization_id).order_by("-closed_until")
    return found.values_list("closed_until", flat=True).first() or EARLIEST


def is_sealed(meter_id: int) -> bool:
    """Tell whether buckets of the meter are sealed; needs the ops scope."""
    found = rows(
        """SELECT 1 FROM usage_seal s JOIN usage_bucket b
          ON b.organization_id = s.organization_id AND b.hour >= s.since AND b.hour < s.until
        WHERE b.meter_id = %(meter)s LIMIT 1""",
        {"meter": meter_id},
    )
    return bool(found)


def altered_seals(organization_id: int | None = None) -> list[tuple[str, str]]:
    """Return (public id, sentence) of the seals that are not what was recorded of them.

    Each against its entry in the audit chain, and against the buckets as they stand.
    """
    found = UsageSeal.objects.order_by("organization_id", "until")
    if organization_id is not None:
        found = found.filter(organization_id=organization_id)
    return [(row.public_id, problem) for row in found if (problem := _problem(row))]


def _problem(row: UsageSeal) -> str:
    entries = audit.latest(row.organization_id, target=row.public_id)
    recorded = next((entry.after for entry in entries if entry.action == "usage.sealed"), None)
    if recorded is None:
        return f"the audit log knows nothing of seal {row.public_id}"
    if recorded != document(row):
        return f"seal {row.public_id} is not what the audit log recorded"
    if row.buckets != bucket_hash(row.organization_id, row.since, row.until):
        return f"buckets under seal {row.public_id} ({row.until:%Y-%m-%d}) were altered"
    return ""


def bucket_hash(organization_id: int, since: datetime, until: datetime) -> str:
    """Return the SHA-256 over an organization's buckets and different values of these hours."""
    [(found,)] = rows(BUCKETS, {"organization": organization_id, "since": since, "until": until})
    return str(found)


def document(row: UsageSeal) -> Mapping[str, Any]:
    """Return the facts of a seal as its audit entry keeps them."""
    return {
        "since": row.since.isoformat(),
        "until": row.until.isoformat(),
        "closed_until": row.closed_until.isoformat(),
        "events": row.events,
        "buckets": row.buckets,
        "proof": row.proof,
        "sealed_at": row.sealed_at.isoformat(),
    }


def facts(row: UsageSeal) -> SealFacts:
    """Return a seal for the rooms above."""
    return SealFacts(
        id=row.public_id,
        organization_id=row.organization_id,
        since=row.since,
        until=row.until,
        closed_until=row.closed_until,
        events=row.events,
        proof=row.proof,
        sealed_at=row.sealed_at,
    )
