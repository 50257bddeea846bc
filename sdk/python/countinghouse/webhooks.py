"""Webhooks, checked as Standard Webhooks says (HMAC-SHA256, standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from countinghouse.errors import WebhookInvalid

PREFIX, VERSION = "whsec_", "v1"
TOLERANCE = 300.0  # seconds that a webhook may be old, or ahead of this clock


class WebhookVerifier:
    """Tells webhooks of the platform from those of anybody else.

    Several secrets may be given while they are rotated.
    """

    def __init__(
        self,
        *secrets: str,
        tolerance: float = TOLERANCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not secrets:
            raise ValueError("a webhook is verified with a secret")
        self._keys = [_key(secret) for secret in secrets]
        self._tolerance, self._clock = tolerance, clock

    def verify(self, body: bytes, headers: Mapping[str, str]) -> Any:
        """Return the JSON of a genuine webhook; raises WebhookInvalid for any other.

        `body` are the bytes as they came. `webhook-id` tells one that came twice from another.
        """
        found = {name.lower(): value for name, value in headers.items()}
        sent = [found.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
        if not all(sent):
            raise WebhookInvalid("It lacks a webhook-id, webhook-timestamp or webhook-signature.")
        message_id, timestamp, signatures = sent
        self._judge_time(timestamp)
        signed = f"{message_id}.{timestamp}.".encode() + body
        if not self._is_genuine(signed, signatures.split()):
            raise WebhookInvalid("Its signature is not made with this secret.")
        return json.loads(body)

    def _judge_time(self, timestamp: str) -> None:
        if not (timestamp.isascii() and timestamp.isdigit()):
            raise WebhookInvalid("Its webhook-timestamp is no number of seconds.")
        if abs(self._clock() - int(timestamp)) > self._tolerance:
            raise WebhookInvalid("It is too old, or ahead of this clock.")

    def _is_genuine(self, signed: bytes, signatures: Sequence[str]) -> bool:
        expected = [hmac.new(key, signed, hashlib.sha256).digest() for key in self._keys]
        return any(
            hmac.compare_digest(given, wanted)
            for given in map(_signature, signatures)
            for wanted in expected
        )


def _signature(text: str) -> bytes:
    """Return the bytes of `v1,<base64>`; nothing for what is of another version, or none."""
    version, _, encoded = text.partition(",")
    if version != VERSION:
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a webhook's secret is whsec_ and base64") from None
