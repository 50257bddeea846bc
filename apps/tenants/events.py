"""The facts this room tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberInvited:
    """Somebody was offered a role; the mail carries a signed link to take it up."""

    invitation_id: str
    organization_id: int
