"""Idempotency like Stripe's: a key gets the first answer again, whatever it was.

An answer is saved once the operation has begun, errors included; what the contract refuses before
that is not. The same key with other parameters is refused, and so is a second request while the
first one runs.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from apps.sandbox.errors import Refusal
from apps.sandbox.store import Body, Store

LONGEST_KEY = 255
KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class Saved:
    """The first answer to a key."""

    status: int
    body: Body
    request_id: str


class KeysInUse:
    """The keys of the requests that run now."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._lock = threading.Lock()

    def __contains__(self, key: str) -> bool:
        """Tell whether a request with this key runs now."""
        return key in self._running

    @contextmanager
    def hold(self, key: str | None) -> Iterator[None]:
        """Run a request with this key. Raises Refusal (409) when one runs already."""
        if key is None:
            yield
            return
        with self._lock:
            if key in self._running:
                raise Refusal(
                    409,
                    "There is currently another in-progress request using this Idempotent Key "
                    f"(that probably means you submitted twice, and the other request is still "
                    f"going through): {key}. Please try again later.",
                    kind="idempotency_error",
                    code="idempotency_key_in_use",
                )
            self._running.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(key)


def fingerprint(method: str, path: str, params: Mapping[str, Any]) -> str:
    """Return what has to be the same for a request to be the same."""
    return json.dumps([method, path, params], sort_keys=True)


def find(store: Store, key: str, expected: str, *, now: int) -> Saved | None:
    """Return the saved answer. Raises Refusal (400) when the request is another one."""
    row = store.answer(key)
    if row is None or row["at"] < now - KEPT_SECONDS:
        return None
    if row["fingerprint"] != expected:
        raise Refusal(
            400,
            "Keys for idempotent requests can only be used with the same parameters they were "
            f"first used with. Try using a key other than '{key}' if you meant to execute a "
            "different request.",
            kind="idempotency_error",
        )
    return Saved(row["status"], json.loads(row["body"]), row["request_id"])


def save(store: Store, key: str, expected: str, saved: Saved, *, now: int) -> None:
    """Keep the first answer to a key."""
    store.save_answer(key, expected, (saved.status, json.dumps(saved.body), saved.request_id, now))


def check(key: str) -> None:
    """Raise Refusal when a key is too long."""
    if len(key) > LONGEST_KEY:
        raise Refusal(400, f"Idempotency keys have at most {LONGEST_KEY} characters.")
