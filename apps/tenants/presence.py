"""What a browser's session says about who is in it: how they came in, and how long ago."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime, timedelta
from typing import Any

Session = MutableMapping[str, Any]  # what Django's sessions are, as far as is needed here

SHOWN = "second_factor_shown"
CONFIRMED = "confirmed_at"
SEEN = "seen_at"
SEEN_GRAIN = timedelta(minutes=15)  # how exactly the list of sessions says when each was used
FRESH = timedelta(minutes=15)  # how long whoever came in may change what protects the account


def begin(session: Session, *, second_factor: bool, at: datetime) -> None:
    """Note that somebody came in now, and whether by two factors (a passkey is both)."""
    session[SHOWN] = second_factor
    session[SEEN] = int(at.timestamp())
    confirm(session, at=at)


def confirm(session: Session, *, at: datetime) -> None:
    """Note that whoever is in has just shown again that it is they."""
    session[CONFIRMED] = int(at.timestamp())


def show_second_factor(session: Session, *, at: datetime) -> None:
    """Note that whoever is in has just shown a second factor."""
    begin(session, second_factor=True, at=at)


def has_shown_second_factor(session: Session) -> bool:
    """Tell whether a second factor was shown in this session."""
    return bool(session.get(SHOWN))


def is_fresh(session: Session, *, at: datetime) -> bool:
    """Tell whether they have shown so lately that it is they."""
    confirmed = session.get(CONFIRMED)
    return confirmed is not None and 0 <= at.timestamp() - confirmed < FRESH.total_seconds()


def see(session: Session, *, at: datetime) -> bool:
    """Note a visit; tell whether it is one that the list of sessions should hear of."""
    seen = session.get(SEEN)
    if seen is not None and 0 <= at.timestamp() - seen < SEEN_GRAIN.total_seconds():
        return False
    session[SEEN] = int(at.timestamp())
    return True
