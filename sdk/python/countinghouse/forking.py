"""What a child process begins anew: locks and connections of before the fork are its parent's."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Beginner(Protocol):
    """Something that a fork must not share."""

    def begin_anew(self) -> None:
        """Let go of what is the parent's, without touching it."""


_living: weakref.WeakSet[Beginner] = weakref.WeakSet()


def after_fork(one: Beginner) -> None:
    """Have it begin anew in every child process, for as long as it lives."""
    _living.add(one)


def _begin_anew() -> None:
    for one in list(_living):
        one.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
