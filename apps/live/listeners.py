"""One connection's side: what waits to be sent, and where its listener stands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from apps.core import clock
from apps.live.access import Refused, Viewer
from apps.live.cursors import Cursor
from apps.live.messages import (
    CONNECTED,
    PING,
    RESYNC,
    USAGE_UPDATED,
    Message,
    Usage,
    stories,
    usage_of,
)
from apps.live.reading import News, Opening

# A listener that lets so many messages wait is too slow; it may come back and resume.
MOST_WAITING = 256
TOO_SLOW = Refused(1013, 503, "This listener is too slow; it may resume.")


class Listener:
    """A queue of messages for one viewer, bounded; ends with what it was `cut` for."""

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer
        self._cursor: Cursor | None = None
        self._shown: Usage | None = None
        self._early: list[News] = []
        self._waiting: asyncio.Queue[Message | None] = asyncio.Queue()
        self._refused: Refused | None = None

    def open(self, opening: Opening, *, heartbeat: float, at: datetime) -> None:
        """Begin: say where the listener stands and what it has missed, then what came meanwhile."""
        self._cursor = opening.cursor
        about = {"organization": self.viewer.organization, "heartbeat": heartbeat}
        self._put(Message(CONNECTED, self._cursor, at, about))
        if opening.lost:
            self._put(Message(RESYNC, self._cursor, at, {"reason": opening.lost}))
        for news in (opening.news, *self._early):
            self.tell(news)
        self._early.clear()

    def tell(self, news: News) -> None:
        """Put in line what of the news the viewer may know and does not know yet.

        Figures come last: until they are sent the cursor says that they are still to be.
        """
        if self._cursor is None:
            self._early.append(news)
            return
        before, after = self._cursor, self._cursor.after(news.upto)
        new = [fact for fact in news.facts if not before.has_told(fact)]
        heard = list(stories(new, self.viewer.capabilities))
        figures = self._moved(news)
        for place, (fact, kind, content) in enumerate(heard, start=1):
            last = figures is None and place == len(heard)
            cursor = after if last else before.within(news.upto, fact.id)
            self._put(Message(kind, cursor, fact.occurred_at, content))
        if figures is not None:
            self._put(Message(USAGE_UPDATED, after, news.at, {"usage": figures}))
        self._cursor = after

    def _moved(self, news: News) -> Usage | None:
        """Return the figures if they are others than those that the viewer has."""
        if news.figures is None:
            return None
        figures = usage_of(news.figures, self.viewer.capabilities)
        if figures == self._shown:
            return None
        self._shown = figures
        return figures

    def _put(self, message: Message) -> None:
        if self._waiting.qsize() >= MOST_WAITING:
            self.cut(TOO_SLOW)
        else:
            self._waiting.put_nowait(message)

    def cut(self, why: Refused) -> None:
        """End the connection; what waits is not sent any more."""
        if self._refused is None:
            self._refused = why
            self._waiting.put_nowait(None)

    async def messages(self, *, heartbeat: float) -> AsyncIterator[Message]:
        """Yield what there is to send; a ping when nothing was for `heartbeat` seconds.

        Raises Refused once the listener is cut.
        """
        while self._refused is None:
            try:
                message = await asyncio.wait_for(self._waiting.get(), heartbeat)
            except TimeoutError:
                message = self._ping()
            if message is not None and self._refused is None:
                yield message
        raise self._refused

    def _ping(self) -> Message | None:
        # Nothing waits, so everything up to the cursor was sent.
        return None if self._cursor is None else Message(PING, self._cursor, clock.now(), {})
