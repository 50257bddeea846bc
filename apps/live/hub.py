"""The heart of a live process: who listens, one look a beat at what changed, one check of rights.

All listeners of an organization share its place in time and one reading. Without listeners the
database is asked nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ParamSpec, TypeVar

from channels.db import database_sync_to_async

from apps.core import clock
from apps.core.snapshots import Snapshot
from apps.live import access, reading
from apps.live.access import Credential, Refused, Viewer
from apps.live.listeners import Listener
from apps.live.reading import News
from apps.usage.errors import UsageNotReady
from apps.usage.selectors import Pulse

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

FIRST_LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen, in seconds."""

    look: float = 0.5
    recheck: float = 3.0
    heartbeat: float = 15.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections a process takes."""

    listeners: int = 1000
    per_organization: int = 100


@dataclass(slots=True)
class Channel:
    """An organization that somebody listens to: up to where it was looked at, and by whom.

    `until` is when a period ends: figures begin anew then without any event.
    """

    seen: Snapshot | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    until: datetime | None = None
    listeners: set[Listener] = field(default_factory=set)


class Hub:
    """One for each process and event loop."""

    def __init__(self, *, pace: Pace | None = None, limits: Limits | None = None) -> None:
        self.pace, self._limits = pace or Pace(), limits or Limits()
        self._channels: dict[int, Channel] = {}
        self._epoch: int | None = None
        self._beats: list[asyncio.Task[None]] = []
        self._hurry = asyncio.Event()
        # Looking is never kept waiting by those who come, nor by the check of rights.
        self._looks, self._checks = Desk(1, "live-look"), Desk(1, "live-check")
        self._arrivals = Desk(4, "live-arrive")

    async def enter(self, credential: Credential, organization: str, *, resumed: str) -> Listener:
        """Return a listener that begins where `resumed`, the id of a message, stands ("": now).

        Raises Refused. Whoever entered leaves.
        """
        viewer = await self._arrivals.ask(_arrive, credential, organization)
        listener = self._seat(viewer)
        try:
            await self._open(listener, resumed)
        except BaseException:
            self.leave(listener)
            raise
        return listener

    async def _open(self, listener: Listener, resumed: str) -> None:
        # Whatever the channel has looked at before, the opening sees; what it sees later, the
        # listener is told. So nothing falls between the two, and what is in both is told once.
        channel, at = self._channels[listener.viewer.organization_id], clock.now()
        try:
            await asyncio.wait_for(channel.ready.wait(), FIRST_LOOK_SECONDS)
            opening = await self._arrivals.ask(
                reading.opening, listener.viewer.organization_id, resumed=resumed, at=at
            )
        except (TimeoutError, UsageNotReady):
            raise Refused(1013, 503, "Not ready yet; try again in a moment.") from None
        channel.until = _earliest([channel.until, *_ends(opening.news)])
        listener.open(opening, heartbeat=self.pace.heartbeat, at=at)

    def _seat(self, viewer: Viewer) -> Listener:
        channel = self._channels.get(viewer.organization_id, Channel())
        count = sum(len(one.listeners) for one in self._channels.values())
        if count >= self._limits.listeners:
            raise Refused(1013, 503, "This process has as many listeners as it takes.")
        if len(channel.listeners) >= self._limits.per_organization:
            raise Refused(4429, 429, "The organization has as many listeners as it may.")
        listener = Listener(viewer)
        channel.listeners.add(listener)
        self._channels[viewer.organization_id] = channel
        if not self._beats:
            self._beats = [
                asyncio.create_task(self._beat(self._look, self.pace.look, self._hurry)),
                asyncio.create_task(self._beat(self._recheck, self.pace.recheck, asyncio.Event())),
            ]
        self._hurry.set()
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget the listener; with the last one the looking ends."""
        channel = self._channels.get(listener.viewer.organization_id)
        if channel is None:
            return
        channel.listeners.discard(listener)
        if not channel.listeners:
            del self._channels[listener.viewer.organization_id]
        if not self._channels:
            for beat in self._beats:
                beat.cancel()
            self._beats = []

    async def _beat(self, act: Callable[[], Any], pause: float, hurry: asyncio.Event) -> None:
        while True:
            hurry.clear()
            try:
                await act()
            except Exception:  # the database may be away: listeners wait and miss nothing
                log.exception("live_beat_failed", extra={"beat": act.__name__})
            try:
                await asyncio.wait_for(hurry.wait(), pause)
            except TimeoutError:
                continue

    async def _look(self) -> None:
        """Ask once for everybody, and read on for those of whom something came."""
        channels = dict(self._channels)
        seen = {key: one.seen for key, one in channels.items() if one.seen is not None}
        pulse, changed = await self._looks.ask(reading.look, seen)
        if self._epoch not in {None, pulse.epoch}:
            self._begin_anew(pulse)
            return
        self._epoch, at = pulse.epoch, clock.now()
        for organization_id, channel in channels.items():
            if channel.seen is None or not (organization_id in changed or _is_due(channel, at)):
                channel.seen = pulse.snapshot
                channel.ready.set()
            else:
                await self._read(organization_id, channel, channel.seen, pulse)

    async def _read(
        self, organization_id: int, channel: Channel, seen: Snapshot, pulse: Pulse
    ) -> None:
        try:
            news = await self._looks.ask(
                reading.news, organization_id, seen=seen, pulse=pulse, at=clock.now()
            )
        except Exception:  # one organization's trouble is nobody else's; the next look tries again
            log.exception("live_reading_failed", extra={"organization_id": organization_id})
            return
        channel.seen, channel.until = pulse.snapshot, _earliest(_ends(news))
        for listener in channel.listeners:
            listener.tell(news)

    def _begin_anew(self, pulse: Pulse) -> None:
        """Send everybody away: transaction numbers are another cluster's. They resume, and resync.

        Not in place: a listener's cursor would mix the numbers of two clusters.
        """
        self._epoch = pulse.epoch
        for listener in self._listeners():
            listener.cut(Refused(1012, 503, "The database is another one; come again."))

    async def _recheck(self) -> None:
        """Cut those who may not listen any more, and those whose rights are others now."""
        held: dict[tuple[Credential, str], list[Listener]] = {}
        for listener in self._listeners():
            viewer = listener.viewer
            held.setdefault((viewer.credential, viewer.organization), []).append(listener)
        for (credential, organization), listeners in held.items():
            before = listeners[0].viewer.capabilities
            refused = await self._checks.ask(_refusal, credential, organization, before)
            if refused is not None:
                for listener in listeners:
                    listener.cut(refused)

    def _listeners(self) -> list[Listener]:
        return [one for channel in self._channels.values() for one in channel.listeners]


class Desk:
    """Threads that ask the database, each with a connection of its own."""

    def __init__(self, size: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(size, name)

    async def ask(self, question: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the question returns."""
        asking = database_sync_to_async(question, thread_sensitive=False, executor=self._threads)
        answer: R = await asking(*args, **kwargs)
        return answer


def _arrive(credential: Credential, organization: str) -> Viewer:
    viewer = access.admit(credential, organization)
    access.note_use(viewer)
    return viewer


def _refusal(credential: Credential, organization: str, before: frozenset[str]) -> Refused | None:
    try:
        now = access.admit(credential, organization)
    except Refused as refused:
        return refused
    if now.capabilities != before:
        return Refused(1012, 503, "The rights of this listener have changed; come again.")
    return None


def _is_due(channel: Channel, at: datetime) -> bool:
    return channel.until is not None and channel.until <= at


def _ends(news: News) -> list[datetime]:
    return [figure.end for figure in news.figures or ()]


def _earliest(moments: Iterable[datetime | None]) -> datetime | None:
    return min((one for one in moments if one is not None), default=None)
