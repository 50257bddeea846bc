"""An organization that draws maps."""

from __future__ import annotations

import pytest

from apps.tenants.models import Organization
from tests.entitlements import maps


@pytest.fixture
def shop(db: None) -> None:
    """What is on sale."""
    maps.load()


@pytest.fixture
def drawer(shop: None, organization: Organization) -> Organization:
    """A customer of the plan `maps`, in USD and UTC, since 1 March."""
    maps.subscribe(organization)
    return organization
