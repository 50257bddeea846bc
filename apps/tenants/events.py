"""The facts this room tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberInvited:
    """Somebody was offered a role; the mail carries a signed link to take it up."""

    invitation_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class MemberRemoved:
    """A person (`user`, an integer id) left an organization, or was made to."""

    organization_id: int
    user: int


@dataclass(frozen=True, slots=True)
class TestClockMoved:
    """A sandbox's clock was set forward; instants are ISO 8601."""

    clock_id: str
    before: str
    now: str
