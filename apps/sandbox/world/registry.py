"""Which function stands in for which operation, draws which object, does what falls due.

The modules of `apps.sandbox.resources` register themselves here when they are imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from apps.sandbox.world.objects import World

Body = dict[str, Any]
Handler = Callable[..., Body]
Draw = Callable[["World", Body, Body], None]
Grow = Callable[["World", Body], Any]
Due = Callable[["World", Body], None]
Registered = TypeVar("Registered", bound=Callable[..., Any])

OPERATIONS: dict[str, Handler] = {}
DRAWN: dict[str, Draw] = {}
GROWN: dict[tuple[str, str], Grow] = {}
DUE: dict[str, Due] = {}


def operation(*keys: str) -> Callable[[Registered], Registered]:
    """Register what stands in for operations: `(world, params, *ids of the path) -> answer`."""

    def register(function: Registered) -> Registered:
        OPERATIONS.update(dict.fromkeys(keys, function))
        return function

    return register


def drawn(kind: str) -> Callable[[Draw], Draw]:
    """Register what completes the picture of an object: `(world, body, shown)` adds to `shown`."""

    def register(function: Draw) -> Draw:
        DRAWN[kind] = function
        return function

    return register


def grown(kind: str, field: str) -> Callable[[Grow], Grow]:
    """Register what a field is that is shown on request only (`expand[]`)."""

    def register(function: Grow) -> Grow:
        GROWN[kind, field] = function
        return function

    return register


def falls_due(kind: str) -> Callable[[Due], Due]:
    """Register what happens when an object's `_due` has come; it has to set the next one."""

    def register(function: Due) -> Due:
        DUE[kind] = function
        return function

    return register
