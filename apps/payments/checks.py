"""System checks: what would be misunderstood at the payment provider stops the start."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from apps.payments import gateway

KEY = re.compile(r"^(sk|rk)_(test|live)_[A-Za-z0-9_]{16,}$")
LIVE = ("sk_live_", "rk_live_")


@register()
def provider(**_: Any) -> list[CheckMessage]:
    """Refuse another version of the API, a key that is none, and real money where it is not due."""
    key: str = settings.STRIPE_SECRET_KEY
    found = [
        (
            gateway.SPOKEN != settings.STRIPE_API_VERSION,
            "payments.E001",
            f"The stripe package speaks {gateway.SPOKEN}, not {settings.STRIPE_API_VERSION}.",
            "Install the locked version: the two change together, with the tests.",
        ),
        (
            bool(key) and not KEY.match(key),
            "payments.E002",
            "STRIPE_SECRET_KEY is no secret key.",
            "Set it to a key that begins with sk_test_, sk_live_, rk_test_ or rk_live_.",
        ),
        (
            key.startswith(LIVE) and not settings.PRODUCTION,
            "payments.E003",
            "STRIPE_SECRET_KEY moves real money outside production.",
            "Use a key of the test mode, or set ENVIRONMENT=production.",
        ),
        (
            key.startswith(LIVE) and bool(settings.STRIPE_API_BASE),
            "payments.E004",
            "A key that moves real money would be sent to STRIPE_API_BASE.",
            "Leave STRIPE_API_BASE empty with a live key.",
        ),
        (
            bool(key) and settings.PRODUCTION and not settings.STRIPE_WEBHOOK_SECRET,
            "payments.E005",
            "STRIPE_SECRET_KEY is set and STRIPE_WEBHOOK_SECRET is not: no payment would be heard.",
            "Make an endpoint at Stripe as in docs/stripe.md, and set its secret.",
        ),
    ]
    return [Error(text, hint=hint, id=code) for wrong, code, text, hint in found if wrong]
