"""What a moment of the database could see, as PostgreSQL writes it: `xmin:xmax:running,…`.

Ids and times cannot say what came since: a transaction takes its ids early and commits late, so a
reader who remembers the largest id it saw misses what is committed behind it. A snapshot names the
transactions themselves. It means something in the cluster that took it only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

TEXT = re.compile(r"([0-9]{1,20}):([0-9]{1,20}):([0-9]{1,20}(?:,[0-9]{1,20})*)?")
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every transaction below `xmax` had ended, but for those in `running`, in ascending order."""

    xmax: int
    running: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read PostgreSQL's text; ValueError when it would not accept it."""
        found = TEXT.fullmatch(text)
        if found is None:
            raise ValueError("this is no snapshot")
        xmin, xmax = int(found[1]), int(found[2])
        running = tuple(int(one) for one in found[3].split(",")) if found[3] else ()
        ordered = all(a < b for a, b in pairwise((xmin - 1, *running, xmax)))
        if not (0 < xmin <= xmax <= LARGEST and ordered):
            raise ValueError("the numbers of this snapshot are in no order")
        return cls(xmax, running)

    def __str__(self) -> str:
        running = ",".join(map(str, self.running))
        return f"{self.running[0] if self.running else self.xmax}:{self.xmax}:{running}"

    def sees(self, transaction: int) -> bool:
        """Tell whether the transaction had committed, or had failed, by then."""
        return transaction < self.xmax and transaction not in self.running

    def union(self, other: Snapshot) -> Snapshot:
        """Return a snapshot that sees what either of the two sees."""
        low, high = sorted((self, other), key=lambda one: one.xmax)
        return Snapshot(high.xmax, tuple(one for one in high.running if not low.sees(one)))
