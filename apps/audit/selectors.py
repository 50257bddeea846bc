"""Questions to the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Subquery

from apps.audit.models import AuditEntry

BROKEN = """
WITH chained AS (
  SELECT public_id, coalesce(organization_id, 0) AS chain, seq, previous, hash,
    lag(hash, 1, ''::bytea) OVER w AS expected_previous,
    lag(seq, 1, 0::bigint) OVER w AS expected_seq,
    audit_entry_hash(previous, audit_auditentry) AS expected_hash
  FROM audit_auditentry WINDOW w AS (PARTITION BY coalesce(organization_id, 0) ORDER BY seq)
), tails AS (
  SELECT h.chain, h.seq, e.last FROM audit_audithead h LEFT JOIN (
    SELECT coalesce(organization_id, 0) AS chain, max(seq) AS last
    FROM audit_auditentry GROUP BY 1
  ) e ON e.chain = h.chain
)
SELECT chain, seq, public_id,
  CASE WHEN hash IS DISTINCT FROM expected_hash THEN 'was altered'
       WHEN seq <> expected_seq + 1 THEN 'follows a gap'
       ELSE 'does not follow the one before it' END
FROM chained
WHERE hash IS DISTINCT FROM expected_hash OR previous IS DISTINCT FROM expected_previous
   OR seq <> expected_seq + 1
UNION ALL
SELECT chain, seq, '', 'the chain was cut: its last entry is missing'
FROM tails WHERE last IS DISTINCT FROM seq
ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One act, for a page or a client."""

    id: str
    at: datetime
    actor_kind: str
    actor_id: str
    actor: str
    action: str
    target: str
    before: dict[str, Any]
    after: dict[str, Any]


def latest(
    organization_id: int, *, limit: int = 50, target: str = "", before: str = ""
) -> list[Entry]:
    """Return the organization's latest entries, newest first.

    `before` is the public id of the last entry of the page before.
    """
    rows = AuditEntry.objects.filter(organization_id=organization_id)
    if before:
        rows = rows.filter(id__lt=Subquery(rows.filter(public_id=before).values("id")))
    if target:
        rows = rows.filter(target=target)
    return [
        Entry(
            r.public_id,
            r.at,
            r.actor_kind,
            r.actor_id,
            r.actor_label,
            r.action,
            r.target,
            r.before,
            r.after,
        )
        for r in rows.order_by("-id")[:limit]
    ]


def count() -> int:
    """Return how many entries there are; needs the ops scope for all of them."""
    return AuditEntry.objects.count()


def broken_links() -> Sequence[str]:
    """Return a sentence for every entry whose chain does not hold; needs the ops scope."""
    with connection.cursor() as cursor:
        cursor.execute(BROKEN)
        rows = cursor.fetchall()
    return [
        f"audit entry {public_id or '-'} (chain {chain}, number {seq}) {why}"
        for chain, seq, public_id, why in rows
    ]
