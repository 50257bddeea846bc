"""May it be used now? Asked of the platform, remembered for moments, and answered in an outage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Generic, TypeVar

from countinghouse.calls import Calls
from countinghouse.errors import ConnectionFailed, UnexpectedAnswer
from countinghouse.forking import after_fork

OPEN, CLOSED = "open", "closed"
MOST_KEPT = 10_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """How answers are remembered, and what is said when the platform cannot be asked.

    An answer counts for `fresh` seconds; in an outage the last one counts for `stale` seconds.
    Where there is none, `fail="open"` allows and `fail="closed"` refuses: choose by what costs
    more, a customer who is kept out or usage that nobody agreed to.
    """

    fresh: float = 5.0
    stale: float = 3600.0
    fail: str = CLOSED

    def __post_init__(self) -> None:
        if self.fail not in (OPEN, CLOSED):
            raise ValueError(f"fail must be {OPEN!r} or {CLOSED!r}, not {self.fail!r}")


@dataclass(frozen=True, slots=True)
class Decision:
    """The platform's answer. `source`: asked, remembered, stale (in an outage), or failed.

    `remaining` is what is left of a limit, None where there is none; `facts` is the whole answer.
    """

    allowed: bool
    reason: str
    remaining: Decimal | None
    facts: Mapping[str, Any]
    source: str = "asked"


@dataclass(frozen=True, slots=True)
class Reservation:
    """An amount set aside."""

    id: str
    feature: str
    amount: Decimal
    status: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class Seat:
    """Whether somebody may use an application, and why."""

    has_access: bool
    seat_id: str | None
    subscription_status: str | None
    expires_at: str | None
    reason: str
    source: str = "asked"


class Memory(Generic[T]):
    """Answers with the time they came, the oldest forgotten first. Safe between threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.begin_anew()
        after_fork(self)

    def begin_anew(self) -> None:
        """Forget everything, and whoever held the lock."""
        self._lock = threading.Lock()
        self._kept: dict[Any, tuple[float, T]] = {}

    def get(self, key: Any, within: float) -> T | None:
        """Return the answer if it is not older than so many seconds."""
        with self._lock:
            found = self._kept.get(key)
        return found[1] if found is not None and self._clock() - found[0] < within else None

    def put(self, key: Any, value: T) -> None:
        """Remember an answer."""
        with self._lock:
            self._kept.pop(key, None)
            if len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (self._clock(), value)

    def forget(self, matches: Callable[[Any], bool]) -> None:
        """Forget what may have changed."""
        with self._lock:
            for key in [key for key in self._kept if matches(key)]:
                del self._kept[key]


class Access:
    """`client.access`: check, reserve, commit, release."""

    def __init__(
        self,
        calls: Calls,
        options: AccessOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls, self._options = calls, options
        self._memory: Memory[Decision] = Memory(clock)

    def check(self, feature: str, *, organization: str = "", amount: Decimal | int = 1) -> Decision:
        """Ask whether so much of a feature may be used now.

        Remembered for `fresh` seconds: what has to be exact is reserved. In an outage answers as
        the options say. Raises Refused, and UnexpectedAnswer for a wrong key: that is no outage.
        """
        asked = (organization, feature, str(amount))
        known = self._memory.get(asked, self._options.fresh)
        if known is not None:
            return replace(known, source="remembered")
        try:
            said = self._calls.post("/api/v1/access/check", _question(*asked))
        except (ConnectionFailed, UnexpectedAnswer) as error:
            return self._without(asked, error)
        found = Decision(said["allowed"], said["reason"], _decimal(said["remaining"]), said)
        self._memory.put(asked, found)
        return found

    def reserve(
        self,
        feature: str,
        *,
        organization: str = "",
        amount: Decimal | int = 1,
        expires_in: int = 300,
        key: str = "",
    ) -> Reservation:
        """Set an amount aside: of many who ask at once no more get some than there is.

        Never answered from memory. `key` is your own id of what it is for. Raises Refused
        (`access_not_allowed`) and, in an outage, ConnectionFailed or UnexpectedAnswer.
        """
        body: dict[str, Any] = {"expires_in": expires_in}
        body |= _question(organization, feature, str(amount))
        if key:
            body["key"] = key
        said = self._calls.post("/api/v1/access/reservations", body)
        self._memory.forget(lambda asked: asked[:2] == (organization, feature))
        return _reservation(said)

    def commit(self, reservation: str, *, amount: Decimal | int | None = None) -> Reservation:
        """Count what was used of a reservation, all of it unless said; send no event for it."""
        body = {} if amount is None else {"amount": str(amount)}
        return self._settle(reservation, "commit", body)

    def release(self, reservation: str) -> Reservation:
        """Give a reservation free."""
        return self._settle(reservation, "release", {})

    def _settle(self, reservation: str, how: str, body: Mapping[str, Any]) -> Reservation:
        path = f"/api/v1/access/reservations/{reservation}/{how}"
        found = _reservation(self._calls.post(path, body, key=f"{reservation}-{how}"))
        self._memory.forget(lambda asked: asked[1] == found.feature)
        return found

    def _without(
        self, asked: tuple[str, str, str], error: ConnectionFailed | UnexpectedAnswer
    ) -> Decision:
        """Answer without the platform, where it is an outage."""
        raise_unless_outage(error)
        known = self._memory.get(asked, self._options.stale)
        if known is not None:
            return replace(known, source="stale")
        return Decision(self._options.fail == OPEN, "unavailable", None, {}, "failed")


class Seats:
    """`client.seats`: may this person use this application?"""

    def __init__(
        self,
        calls: Calls,
        options: AccessOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls, self._options = calls, options
        self._memory: Memory[Seat] = Memory(clock)

    def verify(self, user: str, *, application: str, organization: str) -> Seat:
        """Ask whether somebody has a seat; remembered, and answered in an outage, as `check` is.

        `user` and `organization` are ids of yours or of the platform, `application` is a slug.
        """
        asked = (user, application, organization)
        known = self._memory.get(asked, self._options.fresh)
        if known is not None:
            return replace(known, source="remembered")
        body = dict(zip(("user_id", "application_slug", "external_org_id"), asked, strict=True))
        try:
            said = self._calls.post("/api/v1/verify-seat", body)
        except (ConnectionFailed, UnexpectedAnswer) as error:
            raise_unless_outage(error)
            stale = self._memory.get(asked, self._options.stale)
            if stale is not None:
                return replace(stale, source="stale")
            fails_open = self._options.fail == OPEN
            return Seat(fails_open, None, None, None, "unavailable", "failed")
        names = ("has_access", "seat_id", "subscription_status", "expires_at", "reason")
        found = Seat(*(said[name] for name in names))
        self._memory.put(asked, found)
        return found


def raise_unless_outage(error: ConnectionFailed | UnexpectedAnswer) -> None:
    """Raise again what no waiting will mend: a wrong key, or a page of somebody else's."""
    if isinstance(error, UnexpectedAnswer) and error.status < 500 and error.status != 429:
        raise error


def _question(organization: str, feature: str, amount: str) -> dict[str, str]:
    whose = {"organization": organization} if organization else {}
    return {"feature": feature, "amount": amount, **whose}


def _reservation(said: Mapping[str, Any]) -> Reservation:
    amount = Decimal(said["amount"])
    return Reservation(said["id"], said["feature"], amount, said["status"], said["expires_at"])


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
