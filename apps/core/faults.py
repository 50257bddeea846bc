"""Named points at which a harness may kill the process; in production they do nothing.

`FAULT_POINT=billing.before_number` kills the process with SIGKILL the first time it gets there;
`FAULT_POINT=billing.before_number:3` the third time.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

_reached: Counter[str] = Counter()


def point(name: str) -> None:
    """Die here when the environment says so, and only outside production."""
    wanted = os.environ.get("FAULT_POINT", "")
    if not wanted or os.environ.get("ENVIRONMENT") == "production":
        return
    chosen, _, count = wanted.partition(":")
    if chosen != name:
        return
    _reached[name] += 1
    if _reached[name] >= int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
