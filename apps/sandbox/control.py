"""The switches of the sandbox, under `/_sandbox`: not Stripe's, for harnesses and pages.

All take and answer JSON. `POST faults` scripts a fault, `DELETE faults` ends them all; `POST chaos`
disturbs deliveries; `POST advance` moves the clock; `POST cards` makes a saved card answer
differently; `POST authenticate` does the customer's part of 3-D Secure; `POST deliver` sends what
waits; `GET state` tells how things are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from apps.sandbox import delivery
from apps.sandbox.delivery import Chaos
from apps.sandbox.engine import Sandbox
from apps.sandbox.engine.faults import Fault
from apps.sandbox.errors import Refusal
from apps.sandbox.resources import intents, payment_methods
from apps.sandbox.store import Body

Switch = Callable[[Sandbox, Body], Body]


def control(sandbox: Sandbox, method: str, name: str, wanted: Body) -> Body:
    """Turn a switch. Raises Refusal when there is none of this name, or its values are wrong."""
    switch = _SWITCHES.get((method, name))
    if switch is None:
        raise Refusal(404, f"The sandbox has no switch {method} {name}.")
    try:
        return switch(sandbox, wanted)
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(400, f"{name}: {error}") from error


def _add_fault(sandbox: Sandbox, wanted: Body) -> Body:
    return asdict(sandbox.faults.add(Fault(**wanted)))


def _clear_faults(sandbox: Sandbox, _wanted: Body) -> Body:
    sandbox.faults.clear()
    return {}


def _set_chaos(sandbox: Sandbox, wanted: Body) -> Body:
    chaos = Chaos(**wanted)
    with sandbox.store.transaction():
        sandbox.store.set_note("chaos", asdict(chaos))
    return asdict(chaos)


def _advance(sandbox: Sandbox, wanted: Body) -> Body:
    return {"now": sandbox.advance(int(wanted["seconds"]))}


def _set_card(sandbox: Sandbox, wanted: Body) -> Body:
    card = str(wanted["payment_method"])
    shown: Body = sandbox.act(
        lambda world: payment_methods.behave_like(world, card, str(wanted["number"]))
    )
    return shown


def _authenticate(sandbox: Sandbox, wanted: Body) -> Body:
    intent, passed = str(wanted["intent"]), bool(wanted.get("passed", True))
    shown: Body = sandbox.act(lambda world: intents.authenticate(world, intent, passed=passed))
    return shown


def _deliver(sandbox: Sandbox, wanted: Body) -> Body:
    return {"sent": delivery.deliver_due(sandbox, at_once=bool(wanted.get("at_once")))}


def _tick(sandbox: Sandbox, _wanted: Body) -> Body:
    return {"done": sandbox.tick(), "now": sandbox.now}


def _state(sandbox: Sandbox, _wanted: Body) -> Body:
    return {
        "now": sandbox.now,
        "waiting_deliveries": sandbox.store.waiting_deliveries(),
        "chaos": sandbox.store.note("chaos", {}),
        "violations": [asdict(each) for each in sandbox.violations],
    }


_SWITCHES: dict[tuple[str, str], Switch] = {
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "chaos"): _set_chaos,
    ("POST", "advance"): _advance,
    ("POST", "tick"): _tick,
    ("POST", "cards"): _set_card,
    ("POST", "authenticate"): _authenticate,
    ("POST", "deliver"): _deliver,
    ("GET", "state"): _state,
}
