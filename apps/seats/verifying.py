"""May this person use this application now? Asked on every login of every product.

One statement without a scope, by a function of the schema (`seats_verify`): exact on every call, so
that a seat that was taken away is gone with the very next answer. What was seen is noted in the
process (`seeing`), never on the way of an answer.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from apps.core import statements
from apps.core.statements import instant
from apps.seats.seeing import BOOK

LONGEST = 220
ASK = """SELECT reason, seat_id, subscription_status,
  (extract(epoch FROM expires_at) * 1000000)::bigint, seat_key, owner,
  (extract(epoch FROM seen_at) * 1000000)::bigint, (extract(epoch FROM moment) * 1000000)::bigint
FROM seats_verify($1::text, $2::text, $3::text, $4::bigint, $5::timestamptz)"""


class Reason(StrEnum):
    """Why there is no access, or that there is."""

    GRANTED = "granted"
    UNKNOWN_APPLICATION = "unknown_application"
    UNKNOWN_ORGANIZATION = "unknown_organization"
    UNKNOWN_USER = "unknown_user"
    NO_SUBSCRIPTION = "no_subscription"
    NO_SEAT = "no_seat"
    NOT_STARTED = "subscription_not_started"
    INCOMPLETE = "subscription_incomplete"
    PAUSED = "subscription_paused"
    UNPAID = "subscription_unpaid"
    CANCELED = "subscription_canceled"


SENTENCES = {
    Reason.GRANTED: "The person has a seat.",
    Reason.UNKNOWN_APPLICATION: "There is no such application.",
    Reason.UNKNOWN_ORGANIZATION: "The application knows no such organization.",
    Reason.UNKNOWN_USER: "The organization has no such person.",
    Reason.NO_SUBSCRIPTION: "The organization has not subscribed to the application.",
    Reason.NO_SEAT: "The person has no seat.",
    Reason.NOT_STARTED: "The subscription has not started yet.",
    Reason.INCOMPLETE: "The subscription waits for its first payment.",
    Reason.PAUSED: "The subscription is paused.",
    Reason.UNPAID: "The subscription was not paid, and its grace is over.",
    Reason.CANCELED: "The subscription has ended.",
}


class Access(NamedTuple):
    """The answer. `expires_at` is until when it holds if nothing happens; None where there is no
    access, and for the moments in which a renewal is about to be billed. `organization_id` and `at`
    say about whom, and what time it is there; None for nobody.
    """

    has_access: bool
    reason: Reason
    seat_id: str | None
    subscription_status: str | None
    expires_at: datetime | None
    organization_id: int | None
    at: datetime | None


UNKNOWN = Access(False, Reason.UNKNOWN_USER, None, None, None, None, None)


def verify(
    user: str,
    *,
    application: str,
    organization: str,
    caller: int | None,
    at: datetime,
    seen: bool = True,
) -> Access:
    """Return whether a person may use an application of an organization now; never raises for what
    is unknown.

    Person and organization by public id or by the application's own id of them; `application` is
    its slug. `caller` is the only organization (integer id) that may be answered about; None: any.
    Not `seen` is whom somebody else asks about.
    """
    if not all(map(_is_plain, (user, application, organization))):
        return UNKNOWN
    whose = None if caller is None else str(caller)
    said = (user, application, organization, whose, at.isoformat())
    reason, seat, status, expires, key, owner, last, moment = statements.one_row(ASK, said)
    now = instant(moment)
    if reason:
        about = None if owner is None else int(owner)
        return Access(False, Reason(reason), None, status, None, about, now)
    if seen and key is not None and now is not None:
        BOOK.note(int(key), now, before=instant(last))
    return Access(True, Reason.GRANTED, seat, status, instant(expires), int(owner or 0), now)


def _is_plain(text: str) -> bool:
    """Whether it is something that a row could hold; libpq ends texts at a NUL."""
    return len(text) <= LONGEST and "\x00" not in text and text.isprintable()
