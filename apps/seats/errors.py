"""What this room refuses."""

from __future__ import annotations

from apps.core.errors import Conflict, DomainError, NotFound
from apps.subscriptions.errors import WrongState


class SeatLimitReached(Conflict):
    """As many seats are assigned as are bought, or as a scheduled change leaves."""

    code = "seat_limit_reached"


class SeatsInUse(WrongState):
    """Fewer seats are wanted than are assigned; `extra` says how many would have to go."""

    code = "seats_in_use"


class BilledByPeople(WrongState):
    """How many are bought follows how many are assigned; nobody buys or releases them."""

    code = "billed_by_people"


class UnknownSeat(NotFound):
    """There is no such seat."""

    code = "unknown_seat"


class UnknownPerson(NotFound):
    """The organization has no member by this id or address."""

    code = "unknown_person"


class SeatReleasedBefore(Conflict):
    """The seat is nobody's any more; assign another one."""

    code = "seat_released"


class NoSeats(DomainError):
    """The subscription has no seats that people could be given, or is in no state for it."""

    code = "no_seats"


class ClaimInvalid(DomainError):
    """The link was altered, used, withdrawn, or is not for this person."""

    code = "claim_invalid"


class BulkRefused(DomainError):
    """Rows of the file are wrong; nothing of it was applied. `extra` has the rows."""

    code = "bulk_refused"
