"""What this room refuses."""

from __future__ import annotations

from apps.core.errors import Conflict, DomainError


class AlreadySubscribed(Conflict):
    """The organization has a live subscription for this application."""

    code = "already_subscribed"


class WrongCurrency(DomainError):
    """The plan is sold in another currency than the organization pays in."""

    code = "wrong_currency"


class NoWayToPay(DomainError):
    """The chosen collection cannot collect anything."""

    code = "no_way_to_pay"
    status = 402


class PriceNotAgreed(DomainError):
    """A custom plan needs its prices agreed."""

    code = "price_not_agreed"


class WrongState(Conflict):
    """The subscription's state does not allow this."""

    code = "wrong_state"


class AlreadyBilled(Conflict):
    """The change would reach into a period that has been billed."""

    code = "already_billed"
