"""What this room refuses."""

from __future__ import annotations

from apps.core.errors import Conflict, DomainError, NotFound


class UnknownReservation(NotFound):
    """There is no such reservation."""

    code = "unknown_reservation"


class UnknownFeature(NotFound):
    """No catalogue defines this feature."""

    code = "unknown_feature"


class NotAllowed(Conflict):
    """A limit, a cap or the state of the agreement is in the way; `extra` says which."""

    code = "access_not_allowed"


class NotReservable(DomainError):
    """The feature has no meter to which a reservation could be added."""

    code = "not_reservable"


class ReservationKeyReused(DomainError):
    """The key came before, for something else."""

    code = "reservation_key_reused"


class ReservationSettled(Conflict):
    """The reservation was committed (otherwise) or released."""

    code = "reservation_settled"


class ReservationExpired(Conflict):
    """The reservation has run out; its amount is free for others."""

    code = "reservation_expired"


class ExceedsReservation(Conflict):
    """More was used than was set aside, and the limit blocks."""

    code = "exceeds_reservation"
