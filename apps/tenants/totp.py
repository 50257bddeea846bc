"""Codes of authenticator apps (RFC 6238: SHA-1, six digits, thirty seconds), by allauth's sums."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime

from allauth.mfa.adapter import get_adapter
from allauth.mfa.totp.internal import auth as allauth_totp
from django.utils.crypto import constant_time_compare

from apps.tenants.models import User

STEP = 30
TOLERANCE = 1  # of steps, for clocks that differ


@dataclass(frozen=True, slots=True)
class Setup:
    """What an authenticator app needs: the secret in base32, also as a picture (a data: URI)."""

    secret: str
    picture: str

    @property
    def spelled(self) -> str:
        """The secret in groups of four, for typing."""
        return " ".join(self.secret[at : at + 4] for at in range(0, len(self.secret), 4))


def new_secret() -> str:
    """Return a secret of 160 bits in base32."""
    return str(allauth_totp.generate_totp_secret())


def setup(user: User, secret: str) -> Setup:
    """Return what to show to the user so that their app takes the secret."""
    adapter = get_adapter()
    picture = adapter.build_totp_svg(adapter.build_totp_url(user, secret)).encode()
    return Setup(secret, f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}")


def step_of(secret: str, code: str, *, at: datetime, after: int = -1) -> int | None:
    """Return the step of time whose code this is, later than `after`; None for any other code.

    A step before the last one that was used is gone: so no code counts twice.
    """
    now = int(at.timestamp()) // STEP
    given = "".join(code.split())
    for step in range(max(now - TOLERANCE, after + 1), now + TOLERANCE + 1):
        if constant_time_compare(given, code_of(secret, step)):
            return step
    return None


def code_of(secret: str, step: int) -> str:
    """Return the code of a step."""
    return str(allauth_totp.format_hotp_value(allauth_totp.hotp_value(secret, step)))
