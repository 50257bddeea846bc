"""Requests of one kind that come at once are served together, in one transaction.

Whoever finds nobody at work for the same key serves itself at once, so that a lone request waits
for nothing and a server of one thread never gathers. Who comes meanwhile waits, and the first of
those serves them all. Each gets its own answer, after the commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from apps.api.errors import Unavailable

Item = TypeVar("Item")
Found = TypeVar("Found")
Work = Callable[[Sequence[Item]], Sequence[Found]]


class _Place(Generic[Item, Found]):
    """One request's place in the queue: first a wait, then the lead or the outcome."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.called = threading.Event()
        self.leads = False
        self.found: Found | None = None
        self.error: Exception | None = None

    def outcome(self) -> Found:
        if self.error is not None:
            raise self.error
        if self.found is None:
            raise Unavailable("This took too long; send the same request again.")
        return self.found


class Gathering(Generic[Item, Found]):
    """Serves items by key: never two groups of one key at a time."""

    def __init__(self, *, patience: float) -> None:
        self._patience = patience  # seconds
        self._lock = threading.Lock()
        self._queues: dict[str, list[_Place[Item, Found]]] = {}

    def serve(self, key: str, item: Item, work: Work[Item, Found]) -> Found:
        """Return what `work` finds for the item, alone or among others that came at once.

        `work` takes items and returns as many findings, all or nothing; when it fails for several,
        each is tried alone, so that one bad item fails alone. Raises what `work` raised, and
        Unavailable when nobody has come to it in time: it may or may not be done then.
        """
        place: _Place[Item, Found] = _Place(item)
        with self._lock:
            waiting = self._queues.get(key)
            if waiting is None:
                self._queues[key] = []
            else:
                waiting.append(place)
        if waiting is None:
            self._lead(key, [place], work)
        elif self._wait(key, place):
            self._lead(key, self._take(key), work)
        return place.outcome()

    def _wait(self, key: str, place: _Place[Item, Found]) -> bool:
        """Wait for the lead (True), for the outcome, or until patience ends."""
        if not place.called.wait(self._patience):
            with self._lock:
                if not place.leads and place in self._queues.get(key, ()):
                    self._queues[key].remove(place)
        return place.leads

    def _take(self, key: str) -> list[_Place[Item, Found]]:
        with self._lock:
            group, self._queues[key] = self._queues[key], []
        return group

    def _lead(
        self, key: str, group: Sequence[_Place[Item, Found]], work: Work[Item, Found]
    ) -> None:
        try:
            _serve(group, work)
        finally:
            self._hand_over(key)
            for place in group:
                place.called.set()

    def _hand_over(self, key: str) -> None:
        """Give the lead to the first who waits; nobody has it when nobody does."""
        with self._lock:
            waiting = self._queues[key]
            if not waiting:
                del self._queues[key]
                return
            waiting[0].leads = True
            waiting[0].called.set()


def _serve(group: Sequence[_Place[Item, Found]], work: Work[Item, Found]) -> None:
    try:
        found = work([place.item for place in group])
    except Exception as error:  # noqa: BLE001 - it is raised again, where the request waits
        if len(group) == 1:
            group[0].error = error
            return
        for place in group:
            _serve([place], work)
        return
    for place, one in zip(group, found, strict=True):
        place.found = one
