"""The facts this room tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeatInvited:
    """A seat waits for somebody who has no account; the mail carries a signed link to claim it."""

    seat_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class SeatAssigned:
    """A person has a seat from now on."""

    seat_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class SeatReleased:
    """A seat is nobody's any more; `because` is one of `Seat.Because`."""

    seat_id: str
    organization_id: int
    because: str
