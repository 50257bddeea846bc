"""Where a listener stands: the id of every message, and what it sends to go on from there.

A cursor is a snapshot of the database: everything it sees has been told. Facts that are told one by
one between two snapshots need more: the later snapshot, and the last fact told of those it sees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from apps.core.outbox import Told
from apps.core.snapshots import Snapshot

TEXT = re.compile(r"([0-9]{1,9})\.([0-9:,]+)(?:\.([0-9:,]+)\.([0-9]{1,19}))?")
LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Cursor:
    """What was told: all that `seen` sees, and of what `batch` sees the facts up to `last`.

    `epoch` numbers the database cluster whose transactions the snapshots speak of.
    """

    epoch: int
    seen: Snapshot
    batch: Snapshot | None = None
    last: int = 0

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read a message's id; ValueError when it is none."""
        found = TEXT.fullmatch(text) if len(text) <= LONGEST else None
        if found is None:
            raise ValueError("this is no id of a message")
        epoch, seen = int(found[1]), Snapshot.parse(found[2])
        if found[3] is None:
            return cls(epoch, seen)
        return cls(epoch, seen, Snapshot.parse(found[3]), int(found[4]))

    def __str__(self) -> str:
        base = f"{self.epoch}.{self.seen}"
        return base if self.batch is None else f"{base}.{self.batch}.{self.last}"

    def within(self, batch: Snapshot, last: int) -> Cursor:
        """Return the cursor after the fact `last` of those that `batch` sees."""
        return Cursor(self.epoch, self.seen, batch, last)

    def after(self, batch: Snapshot) -> Cursor:
        """Return the cursor once everything that `batch` sees is told."""
        return Cursor(self.epoch, self.seen.union(batch))

    def has_told(self, fact: Told) -> bool:
        """Tell whether the fact was among what the listener got."""
        if self.seen.sees(fact.xid):
            return True
        return self.batch is not None and fact.id <= self.last and self.batch.sees(fact.xid)
