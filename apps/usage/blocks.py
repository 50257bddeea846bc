"""How far events are shipped: blocks of transactions that ClickHouse has, one after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

from apps.core import rls
from apps.usage.store import rows

LAST_ID, LAST_XID = 2**63 - 1, 2**64 - 1

# How far events are shipped. Until the first backfill was done, nothing is read from there.
BOUNDARY = f"""SELECT s.number, s.until::text, x.base_event_id,
  coalesce(y.base_event_id, {LAST_ID}), y.number IS NULL
FROM usage_shipment s
JOIN usage_epoch x ON x.number = s.epoch
LEFT JOIN usage_epoch y ON y.number = s.epoch + 1
WHERE EXISTS (SELECT FROM usage_shipment WHERE complete)
ORDER BY s.number DESC LIMIT 1"""  # noqa: S608 - constants

# Two bounds on the transaction, for the planner: see counting.tail().
UNSHIPPED = """({0}.xid >= %(lowest)s::xid8 AND {0}.xid < '18446744073709551615'::xid8
    AND {0}.id + 0 > %(shipped_base)s
    AND ({0}.id + 0 > %(shipped_next_base)s OR {0}.xid >= %(shipped_until)s::xid8))"""


class Boundary(NamedTuple):
    """How far events are shipped: up to `block`, which ends before transaction `until`."""

    block: int
    until: str
    base: int
    next_base: int
    is_current: bool

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of UNSHIPPED."""
        return {
            "lowest": self.until if self.is_current else "0",
            "shipped_until": self.until,
            "shipped_base": self.base,
            "shipped_next_base": self.next_base,
        }


def boundary() -> Boundary | None:
    """Return how far events are shipped; None before a backfill was done."""
    found = rows(BOUNDARY, {})
    return Boundary(*found[0]) if found else None


def is_visible(organization_id: int) -> bool:
    """Tell whether the scope shows the organization: what row-level security decides elsewhere."""
    scope = rls.current()
    return scope.ops or scope.organization_id == organization_id
