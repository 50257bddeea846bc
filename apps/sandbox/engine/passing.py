"""Time that passes: what falls due happens in order, each at its own instant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apps.sandbox.engine.handling import Sandbox

# No subscription has that much to do in one go: something would be due again at once for ever.
MOST_STEPS = 100_000


def tick(sandbox: Sandbox) -> int:
    """Do what is due by now: on the global clock, and on test clocks that are advancing."""
    done = _run_until(sandbox, None, sandbox.now)
    for identity, target in _advancing(sandbox):
        done += _run_until(sandbox, identity, target)
        _arrive(sandbox, identity, target)
    return done


def advance(sandbox: Sandbox, seconds: int) -> int:
    """Move the global clock forward by `seconds`; return the instant that it shows then."""
    if seconds < 0:
        raise ValueError("the time machine goes forward only")
    target = sandbox.now + seconds
    _run_until(sandbox, None, target)
    with sandbox.store.transaction():
        sandbox.store.set_note("offset", int(sandbox.store.note("offset", 0)) + seconds)
    return sandbox.now


def _run_until(sandbox: Sandbox, clock: str | None, until: int) -> int:
    """Do one thing after the other, each in a transaction of its own."""
    for step in range(MOST_STEPS):
        with sandbox.store.lock:
            identity = sandbox.store.earliest_due(clock, until)
            if identity is None:
                return step
            sandbox.happen(identity)
    raise RuntimeError(f"the sandbox never gets past {until}: something is due again and again")


def _advancing(sandbox: Sandbox) -> list[tuple[str, int]]:
    with sandbox.store.transaction():
        world = sandbox.world()
        moving = world.find("test_helpers.test_clock", status="advancing", oldest_first=True)
        return [(clock["id"], int(clock["_target"])) for clock in moving]


def _arrive(sandbox: Sandbox, identity: str, target: int) -> None:
    sandbox.act(
        lambda world: world.change(
            world.get("test_helpers.test_clock", identity),
            "test_helpers.test_clock.ready",
            status="ready",
            frozen_time=target,
        )
    )
