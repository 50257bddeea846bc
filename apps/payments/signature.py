"""Whether the provider said it: the signature over an event's raw bytes, and its age.

The scheme is Stripe's (https://docs.stripe.com/webhooks#verify-manually): `t=<unix>,v1=<hex>`, an
HMAC-SHA256 over `<t>.<body>`. While a secret is changed there are several `v1`.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

from apps.payments.errors import BadSignature

OLDEST = timedelta(seconds=300)
# Clocks differ by seconds, not by minutes.
AHEAD = timedelta(seconds=60)
LONGEST_HEADER = 2000
LONGEST_TIME = 12  # digits


def verify(body: bytes, *, header: str, secrets: Sequence[str], at: datetime) -> None:
    """Raise BadSignature unless one of the secrets signed these bytes within five minutes."""
    said_at, signatures = _parts(header)
    age = at.timestamp() - int(said_at)
    if not -AHEAD.total_seconds() <= age <= OLDEST.total_seconds():
        raise BadSignature("The signature is too old, or of the future.")
    expected = [_signed(body, said_at, secret) for secret in secrets if secret]
    # Every pair is compared: how long it takes tells nothing.
    matches = [hmac.compare_digest(one, given) for one in expected for given in signatures]
    if not any(matches):
        raise BadSignature("The signature is not the provider's.")


def _parts(header: str) -> tuple[str, list[bytes]]:
    """Return the time as it is written, and every signature of the scheme that counts."""
    pairs = [part.strip().partition("=") for part in header[:LONGEST_HEADER].split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    signatures = [value.encode() for name, _, value in pairs if name == "v1"]
    if len(times) != 1 or not signatures or not _is_time(times[0]):
        raise BadSignature("The request carries no signature of the provider.")
    return times[0], signatures


def _is_time(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_TIME


def _signed(body: bytes, said_at: str, secret: str) -> bytes:
    signed = said_at.encode() + b"." + body
    return hmac.new(secret.encode(), signed, "sha256").hexdigest().encode()
