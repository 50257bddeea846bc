"""The facts this room tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LicenseIssued:
    """An organization, or one of its instances, got a licence; it takes the last one's place."""

    license_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class LicenseRevoked:
    """A licence counts no more, before its time."""

    license_id: str
    organization_id: int
    reason: str
