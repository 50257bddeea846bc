"""The sandbox as a process: its store on disk, time that passes, webhooks that go out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from apps.sandbox import delivery
from apps.sandbox.engine import Sandbox
from apps.sandbox.errors import LiveKey
from apps.sandbox.resources import webhook_endpoints
from apps.sandbox.store import Store
from apps.sandbox.transports import MOUNT

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
SENDERS = 2


def open_sandbox(path: Path | str, *, port: int) -> Sandbox:
    """Return the sandbox of this system, which tells our web server what happens.

    Raises LiveKey where real money moves.
    """
    refuse_live(settings.STRIPE_SECRET_KEY)
    sandbox = Sandbox(store=Store(path), base_url=f"http://127.0.0.1:{port}{MOUNT}")
    if settings.STRIPE_WEBHOOK_SECRET:
        address = f"http://127.0.0.1:{settings.PORT}/api/v1/webhooks/stripe"
        secret = settings.STRIPE_WEBHOOK_SECRET
        sandbox.act(lambda world: webhook_endpoints.register(world, address, secret=secret))
    return sandbox


def refuse_live(key: str) -> None:
    """Raise LiveKey for a key of Stripe's live mode."""
    if key.startswith(("sk_live_", "rk_live_")):
        raise LiveKey("The sandbox does not run on a system with a live key of Stripe.")


def keep_going(sandbox: Sandbox) -> None:
    """Let time pass and webhooks go out, in threads that end with the process."""
    wake = threading.Event()
    sandbox.wake = wake.set
    threading.Thread(target=_pass_time, args=(sandbox,), daemon=True).start()
    for _ in range(SENDERS):
        threading.Thread(target=_send, args=(sandbox, wake), daemon=True).start()


def _pass_time(sandbox: Sandbox) -> None:
    pause = threading.Event()
    while not pause.wait(PAUSE_SECONDS):
        _carry_on(sandbox.tick)


def _send(sandbox: Sandbox, wake: threading.Event) -> None:
    while True:
        wake.wait(PAUSE_SECONDS)
        wake.clear()
        _carry_on(lambda: delivery.deliver_due(sandbox))


def _carry_on(work: Callable[[], object]) -> None:
    """Do some work; a failure is logged, and tried again with the next round."""
    try:
        work()
    except Exception:
        logger.exception("the sandbox could not go on")
