"""A sandbox of its own for every test: in memory, strict, reached as Stripe is reached."""

from __future__ import annotations

import pytest
import stripe

from apps.sandbox.engine import Sandbox
from apps.sandbox.transports import SandboxClient
from tests.sandbox.shop import KEY, Shop


@pytest.fixture
def sandbox() -> Sandbox:
    """Return an empty sandbox that fails the test on anything that contradicts the contract."""
    return Sandbox(strict=True)


@pytest.fixture
def client(sandbox: Sandbox) -> stripe.StripeClient:
    """Return stripe-python's own client, talking to the sandbox."""
    return stripe.StripeClient(KEY, http_client=SandboxClient(sandbox))


@pytest.fixture
def shop(client: stripe.StripeClient, sandbox: Sandbox) -> Shop:
    """Return short words for what the tests set up again and again."""
    return Shop(client, sandbox)
