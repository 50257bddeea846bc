"""Everything that changes what may be used: reservations, overrides and spend caps."""

from __future__ import annotations

from apps.entitlements.services.capping import remove_spend_cap, set_spend_cap
from apps.entitlements.services.overriding import end_override, override_entitlement
from apps.entitlements.services.reserving import (
    DEFAULT_EXPIRY,
    LONGEST_EXPIRY,
    MOST_EVENTS,
    commit,
    expire_reservations,
    release,
    reserve,
)

__all__ = [
    "DEFAULT_EXPIRY",
    "LONGEST_EXPIRY",
    "MOST_EVENTS",
    "commit",
    "end_override",
    "expire_reservations",
    "override_entitlement",
    "release",
    "remove_spend_cap",
    "reserve",
    "set_spend_cap",
]
