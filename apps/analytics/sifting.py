"""Which events of a file count: those that the door would take, each once, without voided ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from apps.analytics.offered import Gauge
from apps.usage.checking import (
    PUBLIC_ID,
    VOID,
    Door,
    MeterRule,
    NewEvent,
    Refusal,
    Unread,
    dedupe_key,
)

# A simulation may try usage that is still to come, so the door's clock stands at the end of it.
END_OF_TIME = datetime(2200, 1, 1, tzinfo=UTC)


class Fate(StrEnum):
    """What became of an event."""

    COUNTED = "counted"
    UNPRICED = "unpriced"
    OUTSIDE = "outside"
    VOIDED = "voided"
    VOIDING = "voiding"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


@dataclass(slots=True)
class Sieve:
    """Lets through what intake would store; says of the rest what became of it.

    `voided` is what `voided_in` returns of the file. Of duplicates the first counts; to know them
    it keeps sixteen bytes of each event. An event's id is its customer's own, as at intake: the
    same id of another subject is another event, unless all are of `one_customer`.
    """

    door: Door
    voided: frozenset[str]
    one_customer: bool = False
    fates: Counter[Fate] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    _seen: set[bytes] = field(default_factory=set)

    def events(self, stream: Iterable[NewEvent | Unread]) -> Iterator[NewEvent]:
        """Yield the events that stand."""
        for one in stream:
            fate = self._fate(one)
            if fate is None and isinstance(one, NewEvent):
                yield one
            elif fate is not None:
                self.fates[fate] += 1

    def _fate(self, one: NewEvent | Unread) -> Fate | None:
        if isinstance(one, Unread):
            return self._refused(one.refusal)
        if one.type not in self.door.meters and one.type != VOID:
            return Fate.UNPRICED
        judged = self.door.judge(one)
        if isinstance(judged, Refusal):
            return self._refused(judged)
        key = _identity(one, dedupe_key(one.source, one.key), one_customer=self.one_customer)
        if self._is_known(key):
            return Fate.DUPLICATE
        if one.type == VOID:
            return Fate.VOIDING
        return Fate.VOIDED if key in self.voided else None

    def _refused(self, refusal: Refusal) -> Fate:
        self.refusals[refusal.code] += 1
        return Fate.REFUSED

    def _is_known(self, key: str) -> bool:
        short = bytes.fromhex(key)
        if short in self._seen:
            return True
        self._seen.add(short)
        return False


def door_of(gauges: Iterable[Gauge]) -> Door:
    """Return the door that events would pass if just these meters existed, whenever they lie."""
    meters: dict[str, list[MeterRule]] = {}
    for gauge in gauges:
        rules = meters.setdefault(gauge.event_type, [])
        if gauge.path:
            rules.append(MeterRule(gauge.key, gauge.aggregation, gauge.path, gauge.allow_negative))
    return Door(meters, END_OF_TIME, None)


def _identity(one: NewEvent, key: str, *, one_customer: bool) -> str:
    """Return what the dedupe key comes to within the customer whose event it is."""
    return key if one_customer or not one.subject else dedupe_key(one.subject, key)


def voided_in(
    stream: Iterable[NewEvent | Unread],
    meters: Mapping[str, object],
    *,
    one_customer: bool = False,
) -> frozenset[str]:
    """Return what the stream's events take back of their own customers, for a `Sieve` of the same.

    A void cannot be taken back itself, so the order of the file does not matter.
    """
    found: set[str] = set()
    for one in stream:
        if isinstance(one, NewEvent) and one.voids and (one.type == VOID or one.type in meters):
            keys = {dedupe_key(one.voids_source or one.source, one.voids)}
            public = PUBLIC_ID.fullmatch(one.voids)
            if public and not one.voids_source:
                keys.add(public["key"])
            found |= {_identity(one, key, one_customer=one_customer) for key in keys}
    return frozenset(found)
